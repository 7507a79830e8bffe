"""What an event costs as things grow: more series, more partitions, more workers. Processor time, not wall clock.

The processor time is that of the worker processes between two moments of their ledger, divided by the readings between
them. Series are warmed up first: all of them have been seen once before the measured stretch begins.
"""

from __future__ import annotations

import asyncio
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
    topic = bench.topic(partitions, values)
    with Worker(bench, topic, partitions) as worker:
        for _ in range(workers):
            worker.start()
        before, after = asyncio.run(follow_ledger(worker, [len(values) - count, len(values)]))
        resident = worker.resident_mib()
    bench.drop(topic)
    return 1e6 * (after.cpu - before.cpu) / (after.readings - before.readings), resident


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
