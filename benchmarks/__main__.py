"""``make bench``: every figure of docs/benchmarks.md, in one run on this machine. ``--only`` picks parts."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import subprocess
import sys

from benchmarks.environment import rivals_python
from benchmarks.growth import growth, growth_table
from benchmarks.kit import Bench, started_bench
from benchmarks.latency import latency, latency_table
from benchmarks.throughput import ROWS, rates_table, throughput

#: What runs on the one broker of this run, and what brings its own (or needs none) and can be run by itself.
SHARED = ("throughput", "latency", "growth")
PROGRAMS = {"restart": "benchmarks.restart", "recovery": "benchmarks.recovery", "memory": "benchmarks.memory",
            "fold": "benchmarks.fold_speed", "detectors": "benchmarks.detectors"}  # fmt: skip
PARTS = (*SHARED, *PROGRAMS)
_RIVALS = {"quix", "bytewax"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts: {', '.join(PARTS)}")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"rows of throughput: {', '.join(ROWS)}")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=5_000, help="readings/s of the latency part")
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a new topic has no leader yet: it tries again
    parts = options.only.split(",")
    if "throughput" in parts and _RIVALS & set(options.rows):
        options.rivals_python = rivals_python()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    unknown = set(parts) - set(PARTS)
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    shared = [part for part in parts if part in SHARED]
    if shared:
        with started_bench() as bench:
            for part in shared:
                print(f"\n## {part}\n\n{_run(bench, part, options)}", flush=True)
    for part in parts:
        if part in PROGRAMS:
            print(f"\n## {part}\n", flush=True)
            subprocess.run([sys.executable, "-m", PROGRAMS[part]], check=True)


def _run(bench: Bench, part: str, options: argparse.Namespace) -> str:
    if part == "throughput":
        return rates_table(throughput(bench, options))
    if part == "latency":
        return latency_table(latency(bench, rate=options.rate), options.rate)
    return growth_table(growth(bench, count=options.events, rounds=options.rounds))


if __name__ == "__main__":
    main()
