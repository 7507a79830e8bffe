"""What an event costs as things grow: more series, more partitions, more workers. Processor time, not wall clock.

Workers start, settle who has which partitions and take a warm-up that holds every series; then readings are pushed
as fast as one producer can, and the processor time of all workers until the last one is committed is divided by their
number. What starting costs is left out so.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict

from benchmarks.kit import Bench, Event, Worker, each_round, events, follow_ledger, median, note, table

__all__ = ["growth", "growth_table"]

#: Row: (series, partitions, workers).
CASES: dict[str, tuple[int, int, int]] = {
    "1,000 series, 4 partitions, 1 worker": (1_000, 4, 1),
    "1,000,000 series, 4 partitions, 1 worker": (1_000_000, 4, 1),
    "1,000 series, 1 partition, 1 worker": (1_000, 1, 1),
    "1,000 series, 64 partitions, 1 worker": (1_000, 64, 1),
    "1,000 series, 4 partitions, 2 workers": (1_000, 4, 2),
}
#: (a, b, reach): the cost of a over that of b.
RATIOS = (
    ("1,000,000 series, 4 partitions, 1 worker", "1,000 series, 4 partitions, 1 worker", 1.5),
    ("1,000 series, 64 partitions, 1 worker", "1,000 series, 1 partition, 1 worker", 1.2),
    ("1,000 series, 4 partitions, 2 workers", "1,000 series, 4 partitions, 1 worker", 1.1),
)

#: Until partitions have moved to a second worker.
_SETTLE_S = 10.0

Costs = dict[str, list[tuple[float, float]]]


def growth(bench: Bench, *, count: int, rounds: int) -> Costs:
    """(microseconds of processor time a reading, resident MiB at the end) of every case, one a round."""
    costs: Costs = defaultdict(list)

    def turn(_: int) -> None:
        for name, (series, partitions, workers) in CASES.items():
            values = events(count + max(series, count // 4), series)
            costs[name].append(_cost(bench, values, count, partitions, workers))
            note(f"  {name}: {costs[name][-1][0]:.2f} us, {costs[name][-1][1]:,.0f} MiB")

    each_round(rounds, turn)
    return dict(costs)


def _cost(bench: Bench, values: list[Event], count: int, partitions: int, workers: int) -> tuple[float, float]:
    warm = len(values) - count
    topic = bench.topic(partitions, values[:warm])
    with Worker(bench, topic, partitions, stream='detectors = ["ewma"]') as worker:
        for _ in range(workers):
            worker.start()
        asyncio.run(follow_ledger(worker, [warm]))
        time.sleep(_SETTLE_S)
        before = worker.cpu_seconds()
        bench.push(topic, partitions, values[warm:])
        asyncio.run(follow_ledger(worker, [len(values)]))
        after, resident = worker.cpu_seconds(), worker.resident_mib()
    bench.drop(topic)
    return 1e6 * (after - before) / count, resident


def growth_table(costs: Costs) -> str:
    """Medians, and the ratios that matter."""
    middle = {name: median([cost for cost, _ in found]) for name, found in costs.items()}
    memory = {name: median([mib for _, mib in found]) for name, found in costs.items()}
    rows = [(name, f"{middle[name]:.2f}", f"{memory[name]:,.0f}") for name in costs]
    ratios = [(f"{a} / {b}", f"{middle[a] / middle[b]:.2f}", f"<= {reach}") for a, b, reach in RATIOS]
    return (
        table(("case", "processor time, us a reading", "resident MiB"), rows)
        + "\n\n"
        + table(("cost against", "ratio", "reach"), ratios)
    )
