"""Where batches are folded."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

from oddtide.streams.folding import FoldCosts, FoldRunner
from oddtide.streams.pipeline.plan import StreamPlan

MAIN = threading.main_thread()


class Processor:
    """Notes on which thread it folds; a record costs what it says, in seconds of processor time."""

    plan = StreamPlan("one", "t")

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def fold(self, records: list[float]) -> Any:
        self.threads.append(threading.current_thread())
        until = time.thread_time() + sum(records)
        while time.thread_time() < until:
            pass
        return len(records)


async def folded(*batches: list[float], budget_s: float) -> list[bool]:
    """Whether each batch was folded on the event loop's thread."""
    processor: Any = Processor()
    runner = FoldRunner(processor, FoldCosts(), budget_s=budget_s)
    for batch in batches:
        found: Any = await runner.fold(batch)  # type: ignore[arg-type]  # the fake takes costs for records
        assert found == len(batch)
    return [thread is MAIN for thread in processor.threads]


async def test_the_first_batch_goes_to_a_thread_and_quick_ones_stay() -> None:
    assert await folded([0.0], [0.0], [0.0], budget_s=60.0) == [False, True, True]


async def test_slow_batches_go_to_a_thread() -> None:
    assert await folded([0.002], [0.002], [0.002], budget_s=1e-6) == [False, False, False]


async def test_what_was_slow_once_comes_back() -> None:
    where = await folded([0.02], *([[0.0]] * 40), budget_s=0.001)
    assert (where[0], where[1], where[-1]) == (False, False, True)


async def test_another_plan_is_as_unknown_as_a_first_batch() -> None:
    processor: Any = Processor()
    runner = FoldRunner(processor, FoldCosts(), budget_s=1.0)
    for plan in ("one", "one", "two", "two"):
        processor.plan = StreamPlan(plan, "t")
        await runner.fold(cast(Any, [0.0]))
    assert [thread is MAIN for thread in processor.threads] == [False, True, False, True]


async def test_what_one_partition_has_found_holds_for_all() -> None:
    costs, processors = FoldCosts(), [Processor(), Processor()]
    for processor in processors:
        await FoldRunner(cast(Any, processor), costs, budget_s=1.0).fold(cast(Any, [0.0]))
    assert [thread is MAIN for processor in processors for thread in processor.threads] == [False, True]


def test_a_partition_with_few_records_does_not_make_those_of_another_look_slow() -> None:
    plan, costs = Processor.plan, FoldCosts()
    costs.learn(plan, 0.02, 10_000)
    for _ in range(10):
        costs.learn(plan, 0.0003, 3)
    assert costs.of(plan) == 2e-6
    costs.learn(plan, 0.001, 1_000)
    assert costs.of(plan) == 1.5e-6  # what is quicker than known tells something in any case
    costs.learn(plan, 0.01, 4)
    assert (costs.of(plan) or 0.0) > 0.001  # and what takes long, too
