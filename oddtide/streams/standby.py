"""Waiting for the right to project: on SQLite one process has it, and another takes over when that one is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping

import structlog
from mode import Service

from oddtide.domain.errors import DependencyError
from oddtide.streams.parts import WorkerParts

__all__ = ["EVERY_S", "Standby"]

#: How often it is tried (seconds).
EVERY_S = 10.0

_log = structlog.get_logger(__name__)


class Standby(Service):
    """Tries ``parts.take_over`` now and then. Where it succeeds, each role of ``roles`` in ``host`` is ended and
    ``build`` anew with what was taken over: a role without projections decides already, one with them does both."""

    def __init__(
        self,
        host: Service,
        roles: MutableMapping[str, Service],
        parts: WorkerParts,
        build: Callable[[str, WorkerParts], Service],
        *,
        every_s: float = EVERY_S,
    ) -> None:
        super().__init__()
        self._host = host
        self._roles = roles
        self._parts = parts
        self._build = build
        self._every_s = every_s

    @Service.task
    async def _wait(self) -> None:
        while not self.should_stop:
            await self.sleep(self._every_s)
            taken = None if self.should_stop else await self._take_over()
            if taken is not None:
                await self._swap(taken)
                return

    async def _take_over(self) -> WorkerParts | None:
        if self._parts.take_over is None:
            return None
        try:
            return await asyncio.to_thread(self._parts.take_over)
        except DependencyError as error:
            _log.warning("cannot ask for the right to project", reason=str(error))
            return None

    async def _swap(self, parts: WorkerParts) -> None:
        _log.info("nobody projects any more: this worker does from now on", roles=sorted(self._roles))
        for role, service in list(self._roles.items()):
            await self._host.remove_dependency(service)
            self._roles[role] = self._build(role, parts)
            await self._host.add_runtime_dependency(self._roles[role])
