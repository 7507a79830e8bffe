"""``make bench-quality``: how well detectors detect, through the shipped pipeline, on labelled data.

Exit code 1: a detector looks ahead, or could not be run; the last lines say which.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks.kit import ROOT, note
from benchmarks.quality.cases import BATCH, DATA_SETS, data_folder
from benchmarks.quality.discoveries import STREAMS
from benchmarks.quality.folding import split_names
from benchmarks.quality.nulls import KINDS
from benchmarks.quality.report import as_values, fdr_table, nulls_table, quality_table
from benchmarks.quality.runs import Task, run_all
from oddtide.config.facade.plans import parse_detector
from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.detection.registry import known_detectors
from oddtide.domain.detection.settings import read_settings
from oddtide.domain.errors import OddtideError

#: Parts that make their readings themselves, by the kinds of them.
_MADE = {"nulls": KINDS, "fdr": STREAMS}
PARTS = (*DATA_SETS, *_MADE)
#: One set for everything. An incident is one alarm, or a few while it grows; see docs/operations.md.
RULES = AlarmRules(refractory=50)
#: The longest first, so that no process is left alone with one at the end.
_ORDER = ("ucr", "adbench", BATCH, "smap_msl", "nulls", "fdr", "nab", "skab")

_TABLES = (("quality", DATA_SETS, quality_table), ("nulls", ("nulls",), nulls_table), ("fdr", ("fdr",), fdr_table))


def tasks_of(options: argparse.Namespace) -> list[Task]:
    """What is asked for. Raises ``SystemExit`` for a part that there is none of, or where the data is missing."""
    parts = options.only.split(",")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise SystemExit(f"No part is called {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    if set(parts) - set(_MADE):
        data_folder(options.data)
    kinds = [(part, kind) for part in _ORDER if part in parts for kind in _MADE.get(part, [""])]
    return [
        Task(detector, part, options.data, kind, options.limit, options.alarms)
        for (part, kind), detector in product(kinds, split_names(options.detectors))
    ]


def _rules(text: str) -> AlarmRules:
    """Rules for alarms as a detector's parameters are written."""
    try:
        return read_settings(parse_detector(f"alarms:{text}"), AlarmRules)
    except OddtideError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument(
        "--only", default=",".join(part for part in PARTS if part != BATCH), help=f"parts: {', '.join(PARTS)}"
    )
    parser.add_argument(
        "--detectors",
        default=",".join(known_detectors()),
        help="as oddtide detect names them (ewma:alpha=0.1, river:HalfSpaceTrees); a+b for several on one stream",
    )
    parser.add_argument(
        "--alarms", type=_rules, default=RULES, help="a stream's rules, as in refractory=100 (default: refractory=50)"
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the labelled data's folder")
    parser.add_argument("--output", choices=("markdown", "json"), default="markdown")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 8), help="processes")
    parser.add_argument(
        "--limit", type=int, default=0, help="files of a data set, series of a null, readings a series of fdr (0: all)"
    )
    options = parser.parse_args(arguments)
    started = time.monotonic()
    results = run_all(tasks_of(options), options.jobs, note)
    note(f"done in {time.monotonic() - started:.0f} s")
    if options.output == "json":
        print(json.dumps(as_values(results), indent=1))
    else:
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        for heading, wanted, shown in _TABLES:
            some = [result for result in results if result.task.part in wanted]
            if some:
                print(f"\n## {heading}\n\n{shown(some)}")
    problems = list(dict.fromkeys(f"{r.task.detector} on {r.task.part}: {r.problem}" for r in results if r.problem))
    for problem in problems:
        note(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
