"""Readings per second through the shipped worker, beside what a user would pick instead, in one run.

Rows alternate round by round over topics that hold the same events on the same broker; look at medians and ratios. A
worker's rate comes from its ledger: readings after the first batch over the time between the first and the last ledger
record, so start-up does not count, and what counts is committed. A rival's is taken inside its process, from its first
event to its last; slow ones are given fewer events.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections import defaultdict
from collections.abc import Callable
from random import Random

import numpy as np
import pyarrow as pa

from benchmarks.kit import Bench, Event, Worker, each_round, events, follow_ledger, median, note, table

__all__ = ["rates_table", "throughput"]

PARTITIONS = 4
#: Rows of the table: name, what it does.
ROWS = {
    "drain": "stock aiokafka, every record read",
    "drain_orjson": "the same, each record's JSON decoded with orjson",
    "worker_light": "`oddtide worker`: decode, validate, EWMA, ledger, transactions, anomalies published",
    "worker_auto": "the same with the default detectors, `auto`",
    "worker_deep": "as `worker_light`, in profile `deep`: also quantile sketches and drift",
    "worker_all": "as `worker_light`, every verdict published",
    "worker_arrow": "as `worker_light`, 500 readings a record in Arrow",
    "plain_faust": "a Faust agent with the same detector per series, anomalies sent",
    "quix": "Quix Streams, likewise, state in a dict",
    "bytewax": "Bytewax, likewise, `stateful_map`",
}
#: What the rivals run, too.
_EWMA = 'detectors = ["ewma"]'
_PER_RECORD = 500
_SERIES_PER_RECORD = 50
_ARROW_TIMES = 8

Rates = dict[str, list[float]]


def arrow_events(count: int, series: int) -> list[Event]:
    """``count`` readings, 500 a record: what a gateway sends of 50 of its sensors."""
    random, made, start = Random(11), [], 1_700_000_000_000_000_000
    rng = np.random.default_rng(11)
    groups = max(series // _SERIES_PER_RECORD, 1)
    for number in range(count // _PER_RECORD):
        group = number % groups
        names = pa.array([f"sensor-{group * _SERIES_PER_RECORD + i:07d}" for i in range(_SERIES_PER_RECORD)])
        codes = np.tile(np.arange(_SERIES_PER_RECORD, dtype=np.int32), _PER_RECORD // _SERIES_PER_RECORD)
        values = rng.normal(20.0, 1.5, _PER_RECORD)
        if random.randrange(20) == 0:
            values[random.randrange(_PER_RECORD)] += 40.0
        times = start + 10_000_000 * (number * _PER_RECORD + np.arange(_PER_RECORD))
        batch = pa.record_batch(
            {
                "series": pa.DictionaryArray.from_arrays(pa.array(codes), names),
                "time": pa.array(times, pa.timestamp("ns", "UTC")),
                "value": pa.array(values),
            }
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        made.append((b"gateway-%05d" % group, bytes(sink.getvalue())))
    return made


def throughput(bench: Bench, options: argparse.Namespace) -> Rates:
    """The rates of every row, one a round."""
    rates: Rates = defaultdict(list)
    values = events(options.events, options.series)
    batches = arrow_events(options.events * _ARROW_TIMES, options.series)
    note(f"{len(values):,} events of about {len(values[0][1])} bytes, {options.series:,} series")

    def turn(_: int) -> None:
        for row, measure in _measures(bench, options, values, batches).items():
            if row in options.rows:
                gc.collect()
                rates[row].append(measure())
                note(f"  {row}: {rates[row][-1]:,.0f}/s")

    each_round(options.rounds, turn)
    return dict(rates)


def _measures(
    bench: Bench, options: argparse.Namespace, values: list[Event], batches: list[Event]
) -> dict[str, Callable[[], float]]:
    def rival(module: str, count: int, *, foreign: bool = False, decode: str = "0") -> Callable[[], float]:
        def run() -> float:
            topic, anomalies = bench.topic(PARTITIONS, values[:count]), bench.empty_topic(PARTITIONS)
            python = {"python": options.rivals_python} if foreign else {}
            found = bench.program(
                module, "--topic", topic, "--anomalies", anomalies, "--count", str(count), DECODE=decode, **python
            )
            bench.drop(topic, anomalies)
            return found["rate"]

        return run

    def worker(stream: str, records: list[Event], readings: int) -> Callable[[], float]:
        return lambda: _worker_rate(bench, records, readings, stream)

    count = len(values)
    return {
        "drain": rival("drain", count),
        "worker_light": worker(f'{_EWMA}\nprofile = "light"', values, count),
        "drain_orjson": rival("drain", count, decode="1"),
        "worker_auto": worker("", values, count),
        "worker_deep": worker(f'{_EWMA}\nprofile = "deep"', values, count),
        "worker_all": worker(f'{_EWMA}\npublish = "all"', values, count),
        "worker_arrow": worker(_EWMA, batches, len(batches) * _PER_RECORD),
        "plain_faust": rival("plain_faust", min(count, 100_000)),
        "quix": rival("quix", min(count, 500_000), foreign=True),
        "bytewax": rival("bytewax_flow", min(count, 500_000), foreign=True),
    }


def _worker_rate(bench: Bench, records: list[Event], readings: int, stream: str) -> float:
    topic = bench.topic(PARTITIONS, records)
    with Worker(bench, topic, PARTITIONS, stream=stream) as worker:
        worker.start()
        first, last = asyncio.run(follow_ledger(worker, [1, readings]))
    bench.drop(topic)
    return (last.readings - first.readings) / max(last.time - first.time, 0.001)


def rates_table(rates: Rates) -> str:
    """Medians, ranges and the ratio to the drain that decodes."""
    base = median(rates["drain_orjson"]) if rates.get("drain_orjson") else float("nan")
    rows = [
        (f"`{row}`", what, f"{median(rates[row]):,.0f}", f"{min(rates[row]):,.0f} .. {max(rates[row]):,.0f}",
         f"{median(rates[row]) / base:.2f}")
        for row, what in ROWS.items()
        if row in rates
    ]  # fmt: skip
    return table(("row", "what it does", "readings/s (median)", "least .. most", "ratio to drain + orjson"), rows)
