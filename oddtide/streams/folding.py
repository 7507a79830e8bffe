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
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor

__all__ = ["FoldCosts", "FoldRunner"]

#: A batch that is expected to take longer (seconds of processor time) is folded in a thread.
LOOP_BUDGET_S = 0.1
#: A quicker batch mostly tells what any batch costs, however few records it holds (seconds of processor time).
_TELLING_S = 0.002


class FoldCosts:
    """What a record costs under each plan, in seconds of processor time, as all partitions of a worker find it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], float] = {}
        #: Held by whoever folds in a thread: two would only wait for each other's interpreter lock, and keep the event
        #: loop waiting for both.
        self.turn = asyncio.Lock()

    def of(self, plan: StreamPlan) -> float | None:
        """Seconds a record, or None where nothing was folded under ``plan`` yet."""
        return self._known.get((plan.name, plan.version))

    def learn(self, plan: StreamPlan, seconds: float, records: int) -> None:
        """The first figure holds what is done once; after that a running mean, slow enough to pass over an outlier. A
        quick batch can only lower it: a few records of one partition take a hundred times as long each as thousands
        of another, which would go to a thread for it."""
        known, cost = self.of(plan), seconds / max(records, 1)
        if known is None:
            self._known[plan.name, plan.version] = cost
        elif seconds >= _TELLING_S or cost < known:
            self._known[plan.name, plan.version] = 0.5 * known + 0.5 * cost


class FoldRunner:
    """Folds the batches of one processor, one at a time. A worker's first under a plan goes to a thread: kernels may
    yet be compiled.

    ``fold`` may return without having let the event loop do anything else; its caller must. Once ``closed`` is set, one
    that waits for its turn is cancelled: it may wait behind others for long, and somebody else behind it."""

    def __init__(self, processor: PartitionProcessor, costs: FoldCosts, *, budget_s: float = LOOP_BUDGET_S) -> None:
        self._processor = processor
        self._costs = costs
        self._budget = budget_s
        self.closed = False

    async def fold(self, records: Sequence[RecordLike]) -> Outcome:
        """Fold ``records``."""
        cost = self._costs.of(self._processor.plan)
        if cost is None or cost * len(records) > self._budget:
            async with self._costs.turn:
                if self.closed:
                    raise asyncio.CancelledError
                return await asyncio.to_thread(self._timed, records)
        return self._timed(records)

    def _timed(self, records: Sequence[RecordLike]) -> Outcome:
        plan, began = self._processor.plan, time.thread_time()
        outcome = self._processor.fold(records)
        self._costs.learn(plan, time.thread_time() - began, len(records))
        return outcome
