"""Letting time pass in a partition where nothing arrives.

Absences are found by the time that readings show. Where no reading comes any more that time stands still, and nobody
would ever be found absent. So the owner of an idle partition looks at the clock, once, and writes into the ledger how
far time has come (``time_advanced``); a rebuild and a replay read it there. It does so only where a deadline would pass
by that: an idle partition in which everybody has been found absent writes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from oddtide.domain.observability.controls import ControlApplied
from oddtide.domain.readings import rfc3339
from oddtide.streams.pipeline.processor import PartitionProcessor

__all__ = ["Idling"]


class Idling:
    """Looks at one partition now and then. ``clock`` gives nanoseconds since 1970; ``at_end`` asks the cluster whether
    every record was handed over."""

    def __init__(
        self, processor: PartitionProcessor, clock: Callable[[], int], at_end: Callable[[], Awaitable[bool]]
    ) -> None:
        self._processor = processor
        self._clock = clock
        self._at_end = at_end
        self._position = processor.position
        self._since = 0  # of a partition just taken over nobody here knows: its newest record's timestamp counts

    async def due(self) -> ControlApplied | None:
        """What lets time pass now, if anything is to. Nothing has been folded since the last look then."""
        position = self._processor.position
        if position != self._position:
            self._position, self._since = position, self._clock()
            return None
        to = self._processor.overdue(self._clock(), self._since)
        if to is None or not await self._at_end():
            return None
        return ControlApplied(kind="time_advanced", offset=position, time=rfc3339(to))
