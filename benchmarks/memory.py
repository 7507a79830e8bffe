"""What series cost: memory awake, time asleep. ``python -m benchmarks.memory``; needs no Kafka.

Each case runs in a process of its own that is composed as a worker with the role ingest is, and folds readings through
the partitions' processors as their owners do. Resident memory is that of the whole process; *private* is what no other
process shares: without the pages of libraries that lie on disk anyway (LLVM's are 80 MB of every worker).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from oddtide.config.composition import Composition
from oddtide.config.settings import Settings
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.pipeline.processor import PartitionProcessor

__all__ = ["CASES", "memory", "memory_table"]

PARTITIONS = 4
BATCH = 5_000
ROUNDS = 3
_MIB = 2**20
_T0 = 1_700_000_000_000

#: (series, worker.memory_mib, detector)
CASES: tuple[tuple[int, float, str], ...] = (
    (1_000, 0, "ewma"),
    (100_000, 0, "ewma"),
    (1_000_000, 0, "ewma"),
    (1_000_000, 96, "ewma"),
    (1_000_000, 24, "ewma"),
    (20_000, 0, "half_space_trees"),
    (20_000, 64, "half_space_trees"),
)

Case = dict[str, Any]


def memory(cases: tuple[tuple[int, float, str], ...] = CASES) -> list[Case]:
    """Every case's figures."""
    found = []
    for series, mib, detector in cases:
        command = [sys.executable, "-m", "benchmarks.memory", "--case", str(series), str(mib), detector]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(found[-1], file=sys.stderr, flush=True)
    return found


def _batch(numbers: np.ndarray[Any, Any], offset: int) -> RecordBlock:
    values = np.random.default_rng(offset).normal(size=len(numbers))
    return RecordBlock.of(
        [
            Record(
                offset + i,
                _T0 + offset + i,
                None,
                b'{"series":"site-%d/pump-%07d","time":%d,"value":%.6f}' % (n % 40, n, _T0 + offset + i, value),
            )
            for i, (n, value) in enumerate(zip(numbers.tolist(), values.tolist(), strict=True))
        ]
    )


def _rounds(series: int, partition: int, seed: int) -> Iterator[np.ndarray[Any, Any]]:
    """The partition's series once each, in an order of this seed, a batch at a time."""
    mine = np.arange(partition, series, PARTITIONS)
    np.random.default_rng(seed).shuffle(mine)
    for start in range(0, len(mine), BATCH):
        yield mine[start : start + BATCH]


def _resident() -> tuple[float, float]:
    found = psutil.Process().memory_full_info()
    return found.rss / _MIB, found.uss / _MIB


def _processors(folder: Path, mib: float, detector: str) -> list[PartitionProcessor]:
    stream = {"name": "readings", "detectors": [{"kind": detector}]}
    settings = Settings.model_validate(
        {"data_folder": folder, "kafka": {"bootstrap": "none:1"}, "worker": {"memory_mib": mib}, "streams": [stream]}
    )
    made = Composition(settings)
    made.worker_context(["ingest"])
    parts = made.worker_parts(["ingest"])
    import oddtide.streams.agents.ingest
    import oddtide.streams.worker  # noqa: F401  (what a worker has loaded)

    return [
        PartitionProcessor(
            parts.plans[0], parts.toolkit, application="bench", partition=number, sleeping=parts.sleeping
        )
        for number in range(PARTITIONS)
    ]


def _case(series: int, mib: float, detector: str) -> Case:
    with tempfile.TemporaryDirectory() as folder:
        processors = _processors(Path(folder), mib, detector)
        for processor in processors:
            processor.fold(_batch(np.array([processor.partition]), 0))
        base = _resident()
        spent, count, offset = 0.0, 0, 1
        for seed in range(ROUNDS):
            spent, count = 0.0, 0  # those of the last round count
            for processor in processors:
                for numbers in _rounds(series, processor.partition, seed):
                    block = _batch(numbers, offset)
                    began, most = time.process_time(), processor.most_at_once
                    for start in range(0, len(block), most):
                        processor.fold(block[start : start + most])
                    spent += time.process_time() - began
                    count += len(numbers)
                    offset += len(numbers)
        uses = [processor.memory for processor in processors]
        resident = _resident()
        found = {
            "series": sum(processor.series for processor in processors),
            "detector": detector,
            "memory_mib": mib,
            "awake": sum(use.awake for use in uses),
            "asleep": sum(use.asleep for use in uses),
            "woken": sum(use.woken for use in uses),
            "state_bytes": processors[0].bytes_per_slot,
            "base_mib": base[0],
            "resident_mib": resident[0],
            "private_mib": resident[1],
            "us_per_reading": 1e6 * spent / count,
            "disk_mib": sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / _MIB,
        }
        found["bytes_per_series"] = (resident[0] - base[0]) * _MIB / max(sum(use.awake for use in uses), 1)
        for processor in processors:
            processor.close()
        return found


def memory_table(cases: list[Case]) -> str:
    """Figures as Markdown."""
    names = {
        "series": ",d", "detector": "", "memory_mib": ",.0f", "awake": ",d", "asleep": ",d", "state_bytes": ",d",
        "bytes_per_series": ",.0f", "base_mib": ",.0f", "resident_mib": ",.0f", "private_mib": ",.0f",
        "us_per_reading": ".2f", "disk_mib": ",.0f",
    }  # fmt: skip
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(format(case[name], how) for name, how in names.items()) for case in cases]
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", nargs=3, help="series, MiB (0: no limit), detector: one case, as JSON")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(_case(int(options.case[0]), float(options.case[1]), options.case[2])))
    else:
        print(memory_table(memory()))


if __name__ == "__main__":
    main()
