"""Falling into step with the log: what an owner is handed first may have been fetched before its position was sought.

What was queued then begins beyond the position, just like what lies behind a hole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

__all__ = ["MOST_PASSING", "Step"]

#: More batches than are ever queued behind one seek.
MOST_PASSING = 100


class Step:
    """Tells one ownership which batches follow on its position. ``seek`` asks for the records from an offset on."""

    def __init__(self, seek: Callable[[int], Awaitable[None]]) -> None:
        self._seek = seek
        self._fallen_in = False
        self._least: int | None = None
        self._passed = 0

    async def fits(self, first: int, position: int) -> bool:
        """Whether a batch that begins at ``first`` is to be folded, or passes by, since it was queued before a seek.

        The position is sought, and what was queued passes by. When the least of it comes again, it was fetched from the
        position on: what lies between is a hole in the log, which is ordinary (compaction, transaction markers)."""
        if self._fallen_in or first in (position, self._least):
            self._fallen_in = True
        elif self._least is None or first < self._least:
            self._least, self._passed = first, 0
            await self._seek(position)
        else:
            self._passed += 1
            if self._passed >= MOST_PASSING:  # compacted away meanwhile, it will never come again: look anew
                self._least = None
        return self._fallen_in
