"""Readings a second through the fold alone, by stage: no Kafka, one thread (``python -m benchmarks.fold_speed``).

Times are CPU time of the thread, medians of rounds over different batches, so that a busy machine alters them little.
The first start is what a fresh machine pays for compiling, once.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import wraps
from typing import Any
from unittest.mock import patch

import numpy as np
import orjson
import pyarrow as pa

from benchmarks.kit import table
from oddtide.config.facade.detecting import default_toolkit
from oddtide.domain.detection.ewma import Ewma
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.threshold import ThresholdRule
from oddtide.domain.quality.validation import Validator
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.readings import ReadingDecoder
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.pipeline import processor as processor_module
from oddtide.streams.pipeline.drifting import DriftStage
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.profiling import ProfileStage
from oddtide.streams.pipeline.series import SeriesIndex

BATCH = 5_000
COLUMNS = 500
START_MS = 1_700_000_000_000
ROWS = ("json 1k", "json 1M", "columns 1k", "arrow 1k", "arrow 1M", "json 1k deep")
STAGES: dict[str, list[tuple[Any, str]]] = {
    "decode": [(ReadingDecoder, "decode")],
    "names": [(SeriesIndex, "slots_of")],
    "validate": [(Validator, "check")],
    "profile": [(ProfileStage, "update")],
    "detect": [(Ewma, "advance")],
    "drift": [(DriftStage, "watch")],
    "hash": [(processor_module, "advance_hash")],
}


def blocks(form: str, series: int, count: int, first: int) -> Iterator[RecordBlock]:
    """``count`` batches of readings; those of a million series are spread over them at random, as they come."""
    random = np.random.default_rng(first)
    for batch in range(first, first + count):
        numbers = np.arange(batch * BATCH, (batch + 1) * BATCH)
        names = numbers % series if series <= BATCH else random.permutation(series)[:BATCH]
        values = np.round(random.normal(20.0, 1.5, BATCH), 6)
        yield RecordBlock.of(list(_records(form, numbers, names, values)))


def every_series(series: int) -> Iterator[RecordBlock]:
    """Each once, so that the state is there."""
    for start in range(0, series, BATCH):
        numbers = np.arange(start, min(start + BATCH, series))
        yield RecordBlock.of(list(_records("json", numbers, numbers, np.full(len(numbers), 20.0))))


def _records(form: str, numbers: Any, names: Any, values: Any) -> Iterator[Record]:
    times = START_MS + 10 * numbers
    if form == "json":
        for i, name, moment, value in zip(numbers, names, times, values, strict=True):
            yield Record(int(i), int(moment), None, b'{"series":"sensor-%07d","time":%d,"value":%.6f,"labels":'
                         b'{"site":"north","unit":"bar"}}' % (name, moment, value))  # fmt: skip
        return
    for start in range(0, len(numbers), COLUMNS):
        part = slice(start, start + COLUMNS)
        series = [f"sensor-{name:07d}" for name in names[part]]
        packed = _arrow if form == "arrow" else _columns
        offset = int(numbers[0]) // COLUMNS + start // COLUMNS
        yield Record(offset, int(times[start]), None, packed(series, times[part], values[part]))


def _columns(series: list[str], times: Any, values: Any) -> bytes:
    return orjson.dumps({"series": series, "time": times.tolist(), "value": values.tolist()})


def _arrow(series: list[str], times: Any, values: Any) -> bytes:
    columns = {"series": pa.array(series), "time": pa.array(times, pa.timestamp("ms")), "value": values}
    sink = io.BytesIO()
    batch = pa.table(columns)
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_table(batch)
    return sink.getvalue()


def timed(spent: defaultdict[str, float], stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        start = time.thread_time()
        try:
            return function(*arguments, **options)
        finally:
            spent[stage] += time.thread_time() - start

    return call


def measured(row: str, rounds: int) -> list[str]:
    """One line: readings a second, and nanoseconds a reading in each stage."""
    form, size, *deep = row.split()
    series = 1_000 if size == "1k" else 1_000_000
    quickly = DetectorSpec(
        "ewma", {"warm_up": 2}
    )  # a million series never get to 30 readings here, nor are their alarms of interest
    plan = StreamPlan(
        "bench",
        "bench",
        detectors=(quickly,),
        threshold=ThresholdRule(p_value=0.0),
        profile="deep" if deep else "light",
    )
    subject = PartitionProcessor(plan, default_toolkit(), application="bench", partition=0)
    for block in every_series(series):
        subject.fold(block)
    for block in blocks(form, series, 10, 1_000):
        subject.fold(block)
    spent: defaultdict[str, float] = defaultdict(float)
    totals, shares = [], []
    with ExitStack() as stack:
        for stage, places in STAGES.items():
            for owner, name in places:
                stack.enter_context(patch.object(owner, name, timed(spent, stage, getattr(owner, name))))
        for block in blocks(form, series, rounds, 2_000):
            spent.clear()
            start = time.thread_time()
            subject.fold(block)
            total = time.thread_time() - start
            totals.append(total)
            shares.append({**spent, "rest": total - sum(spent.values())})
    middle = statistics.median(totals) / BATCH
    line = [f"{1e-6 / middle:.2f}M/s", f"{middle * 1e9:.0f}"]
    return [row, *line, *(f"{statistics.median(s.get(stage, 0.0) for s in shares) / BATCH * 1e9:.0f}"
                          for stage in (*STAGES, "rest"))]  # fmt: skip


def first_start() -> float:
    """Seconds of CPU until a first batch is folded, with nothing compiled yet."""
    code = (
        "import time; from benchmarks.fold_speed import *; start = time.process_time();"
        "subject = PartitionProcessor(StreamPlan('b', 'b'), default_toolkit(), application='b', partition=0);"
        "block = next(blocks('json', 1_000, 1, 0)); subject.fold(block); print(time.process_time() - start)"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    return float(done.stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--first-start", action="store_true", help="also measure compiling, in a process of its own")
    options = parser.parse_args(arguments)
    lines = [measured(row, options.rounds) for row in options.rows.split(",")]
    print(table(["what", "readings", "ns each", *STAGES, "rest"], lines))
    if options.first_start:
        print(f"\nfirst start, nothing compiled: {first_start():.1f} s of CPU")


if __name__ == "__main__":
    main()
