"""What a partition was handed and has not folded yet, and how much of it is folded as one batch.

A transaction costs the cluster nearly as much for ten readings as for ten thousand. So what arrives is collected while
the last batch is on its way into the log, and for the rest of a short while, and then folded as one batch. Where much
arrives, nothing waits for that: the next batch is folded while the one before is committed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.committing import Acknowledge

__all__ = ["ENOUGH", "MARKERS", "Fold", "Inbox", "pace"]

Fold = Callable[[RecordBlock, Acknowledge], Awaitable[None]]

#: A transaction leaves one or two offsets without a record. A wider gap may be a hole, or what retention has cut away.
MARKERS = 2
#: Readings that are worth a batch of their own: they do not wait until the last one is committed. Also what an inbox
#: holds at most, besides one fetched block.
ENOUGH = 2_048
#: The least time between two small batches of a partition. At 5,000 readings a second in four partitions, half of all
#: verdicts were committed after 17 ms so; after 26 ms at a pace of 5 ms or none, since worker and broker then spend
#: their time on transactions; after 23 ms at 25 ms.
_LEAST_PACE_S = 0.015
#: What a small transaction costs worker and broker together. One worker's small batches should not take all of a core.
_TRANSACTION_S = 0.00375
#: What a reading takes at least where a record holds many of them, in bytes: a time and a number, and some of a name.
_READING_BYTES = 24
#: A record of up to so many bytes may be a single reading.
_SINGLE_BYTES = 512


class Inbox:
    """Blocks of one partition, in order, on their way to ``fold``, which is never called twice at a time.

    ``rest`` says in how many seconds a small batch may be folded, None where that is not known yet: then somebody calls
    :meth:`look` when it is. ``enough`` readings do not wait. ``most`` is how many records may be folded at once.
    Neither which blocks are joined nor where one is parted changes a verdict. ``failed`` is called with the first error
    of ``fold``; nothing is folded any more then."""

    def __init__(
        self,
        fold: Fold,
        *,
        rest: Callable[[], float | None],
        most: Callable[[], int],
        failed: Callable[[BaseException], None],
        enough: int = ENOUGH,
    ) -> None:
        self._fold = fold
        self._enough = enough
        self._rest = rest
        self._most = most
        self._failed = failed
        self._blocks: deque[tuple[RecordBlock, Acknowledge]] = deque()
        self._waiting = 0
        self._folding = self._closed = False
        self._changed, self._room, self._empty = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._empty.set()
        self._timer = asyncio.get_running_loop().call_later(0, self.look)
        self._task = asyncio.create_task(self._run())

    @property
    def empty(self) -> bool:
        """Whether everything put has been folded."""
        return self._empty.is_set()

    async def put(self, block: RecordBlock, acknowledge: Acknowledge) -> None:
        """Let ``block`` be folded after those before it, and then ``acknowledge`` be handed on. Returns as soon as the
        inbox has room for another; at once where it is closed."""
        if self._closed:
            return
        if not block:
            acknowledge()
            return
        self._blocks.append((block, acknowledge))
        self._waiting += _weight(block)
        self._empty.clear()
        self._changed.set()
        while self._waiting >= self._enough and not self._closed:
            self._room.clear()
            await self._room.wait()

    def look(self) -> None:
        """See whether something is to be folded by now."""
        self._changed.set()

    async def emptied(self) -> None:
        """Wait until everything put is folded, or nothing will be any more."""
        await self._empty.wait()

    def close(self) -> None:
        """Fold nothing more, and let nobody wait. What is being folded is not interrupted."""
        self._closed = True
        self._blocks.clear()
        self._empty.set()
        self._room.set()
        self._timer.cancel()
        if not self._folding:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while not self._closed:
                await self._changed.wait()
                self._changed.clear()
                while self._blocks and self._due():
                    await self._fold_next()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.close()
            self._failed(error)

    def _due(self) -> bool:
        rest = 0.0 if self._waiting >= self._enough else self._rest()
        if rest is None or rest <= 0:
            return rest is not None
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(rest, self.look)
        return False

    async def _fold_next(self) -> None:
        block, acknowledge, weight = self._next()
        most, self._folding = max(self._most(), 1), True
        try:
            for start in range(0, len(block), most):
                last = start + most >= len(block)
                await self._fold(block[start : start + most], acknowledge if last else _not_yet)
                if self._closed:
                    return
        finally:
            self._folding = False
        self._waiting -= weight
        self._room.set()
        if not self._blocks:
            self._empty.set()

    def _next(self) -> tuple[RecordBlock, Acknowledge, int]:
        """The next block, joined with those that follow it as long as they are small, and what they weigh: each by
        itself, as they were put. One that does not lie behind the one before was fetched after a seek, and stays on its
        own: the owner looks at where each of those begins."""
        blocks, acknowledges, count = list[RecordBlock](), list[Acknowledge](), 0
        while self._blocks:
            block, acknowledge = self._blocks[0]
            weight = _weight(block)
            if blocks and (count + weight > self._enough or not 0 < block.first - blocks[-1].last <= 1 + MARKERS):
                break
            self._blocks.popleft()
            blocks.append(block)
            acknowledges.append(acknowledge)
            count += weight
        if len(blocks) == 1:
            return blocks[0], acknowledges[0], count
        return RecordBlock.joined(blocks), partial(_all, acknowledges), count


def pace(partitions: int) -> float:
    """How many seconds lie at least between two small batches of a partition, where a worker holds so many."""
    return max(_LEAST_PACE_S, _TRANSACTION_S * partitions)


def _weight(block: RecordBlock) -> int:
    """About how many readings a block holds, at most."""
    most = block.value_size.max(initial=0)
    return len(block) if most <= _SINGLE_BYTES else max(int(block.value_size.sum()) // _READING_BYTES, len(block))


def _all(acknowledges: list[Acknowledge]) -> None:
    for acknowledge in acknowledges:
        acknowledge()


def _not_yet() -> None:
    """A block that is folded in parts is acknowledged with its last."""
