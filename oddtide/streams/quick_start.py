"""A Faust app without tables starts at once.

Faust's table manager lets each app sleep for a second before it subscribes, so that agents have declared their topics
by then: a second a role at each start. Ours have no tables and exactly one agent; the app subscribes as soon as that
agent's topics are known. Were it sooner, they would be missing from the subscription and be added only after 45 s.

This leans on private parts of Faust 0.15.3, pinned for the transport's sake already: ``TableManager.on_start``,
``_update_channels`` and ``recovery``. ``tests/integration/test_transport.py`` holds it to them.
"""

from __future__ import annotations

import asyncio

from faust.tables import TableManager

__all__ = ["NoTables"]

_LOOK_S = 0.002


class NoTables(TableManager):
    """Stands in for the table manager of an app that has agents over topics and no tables."""

    async def on_start(self) -> None:
        """Wait for the agents' topics instead of a second."""
        while not (len(self.app.topics) or self.should_stop):  # noqa: ASYNC110 - Faust tells nobody when they come
            await asyncio.sleep(_LOOK_S)
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()
