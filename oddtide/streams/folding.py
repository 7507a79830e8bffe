"""Where a batch is folded: on the event loop while that takes milliseconds, in a thread where it takes longer.

A thread that folds, the consumer's thread and the event loop wait for one another's interpreter lock, some milliseconds
at each hand-over: with quick detectors that made a worker three times slower than folding in place. Slow detectors,
though, would keep the loop from committing and answering. So the processor time of the batches so far decides; it
decides where a batch is folded and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from oddtide.streams.codecs.decoded import RecordLike
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.processor import PartitionProcessor

__all__ = ["FoldRunner"]

#: A batch that is expected to take longer (seconds of processor time) is folded in a thread.
LOOP_BUDGET_S = 0.1


class FoldRunner:
    """Folds the batches of one processor, one at a time. The first, and the first under another plan, goes to a thread:
    kernels may yet be compiled. Runners that share ``turn`` use one thread at a time between them: two would only wait
    for each other's interpreter lock, and keep the event loop waiting for both.

    ``fold`` may return without having let the event loop do anything else; its caller must."""

    def __init__(self, processor: PartitionProcessor, turn: asyncio.Lock, *, budget_s: float = LOOP_BUDGET_S) -> None:
        self._processor = processor
        self._turn = turn
        self._budget = budget_s
        self._plan = processor.plan
        self._cost: float | None = None

    async def fold(self, records: Sequence[RecordLike]) -> Outcome:
        """Fold ``records``."""
        if self._plan is not self._processor.plan:
            self._plan, self._cost = self._processor.plan, None
        if self._cost is None or self._cost * len(records) > self._budget:
            async with self._turn:
                return await asyncio.to_thread(self._timed, records)
        return self._timed(records)

    def _timed(self, records: Sequence[RecordLike]) -> Outcome:
        began = time.thread_time()
        outcome = self._processor.fold(records)
        spent = (time.thread_time() - began) / max(len(records), 1)
        # The first figure holds what is done once; after that a running mean, slow enough to pass over an outlier.
        self._cost = spent if self._cost is None else 0.5 * self._cost + 0.5 * spent
        return outcome
