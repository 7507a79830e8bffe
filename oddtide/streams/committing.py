"""Committing what was folded: in order, everything that waits in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from oddtide.streams.pipeline.outcome import Outcome

__all__ = ["MAX_PENDING", "Acknowledge", "Commit", "CommitQueue"]

Acknowledge: TypeAlias = Callable[[], None]
Commit: TypeAlias = Callable[[list[Outcome]], Awaitable[None]]

#: Batches folded but not yet committed, at most: what bounds memory when Kafka is slow to take results.
MAX_PENDING = 4
COMMIT_TIMEOUT_S = 60.0


class CommitQueue:
    """Outcomes on their way into the log.

    ``stamp`` has the last word on outcomes before they are committed; ``committed`` is told of them after, with the
    seconds that each took; ``failed`` is called once, with the first error: nothing is committed any more then."""

    def __init__(
        self,
        commit: Commit,
        *,
        stamp: Callable[[list[Outcome]], list[Outcome]],
        committed: Callable[[list[Outcome], float], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._commit = commit
        self._stamp = stamp
        self._committed = committed
        self._failed = failed
        self._pending: list[tuple[Outcome, Acknowledge]] = []
        self._busy = self._closed = False
        self._wake, self._room, self._drained = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._drained.set()
        self._task = asyncio.create_task(self._run())

    @property
    def empty(self) -> bool:
        """Whether everything put is committed."""
        return not self._pending and not self._busy

    async def room(self) -> None:
        """Wait until another outcome may be put; also returns when the queue is closed."""
        while len(self._pending) >= MAX_PENDING and not self._closed:
            self._room.clear()
            await self._room.wait()

    def put(self, outcome: Outcome, acknowledge: Acknowledge) -> None:
        """Let ``outcome`` be committed after those before it; then ``acknowledge`` is called."""
        self._pending.append((outcome, acknowledge))
        self._drained.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Wait until everything put is committed, or nothing will be any more."""
        await self._drained.wait()

    def close(self) -> None:
        """Commit nothing more, and let nobody wait."""
        self._closed = True
        self._room.set()
        self._drained.set()
        self._task.cancel()

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self.commit_pending()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._closed = True
            self._room.set()
            self._drained.set()
            self._failed(error)

    async def commit_pending(self) -> None:
        """Commit what waits, in one transaction."""
        work, self._pending = self._pending, []
        if not work:
            return
        self._busy = True
        self._room.set()
        outcomes = self._stamp([outcome for outcome, _ in work])
        began = time.perf_counter()
        async with asyncio.timeout(COMMIT_TIMEOUT_S):  # not wait_for, which swallows a cancellation now and then
            await self._commit(outcomes)
        self._busy = False
        if self._closed:
            return  # somebody else owns the partition by now, and reads in the ledger what became of it
        self._committed(outcomes, (time.perf_counter() - began) / len(outcomes))
        for _, acknowledge in work:
            acknowledge()
        if self.empty:
            self._drained.set()
