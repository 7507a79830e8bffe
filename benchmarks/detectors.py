"""Our kernels beside the same algorithms elsewhere: quality and speed (``python -m benchmarks.detectors``).

The data is the head of the labelled Shuttle set that ships with river, nine features, scaled to [0, 1]. Quality is the
area under the ROC curve, the mean over seeds, of readings that both have matured for. Speed is readings a second of
processor time, one thread, nothing but scoring and learning; ours with nothing left to compile. No Kafka.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.environment import rivals_python
from benchmarks.kit import note, table
from oddtide.domain.detection import Detector, DetectorSpec, Rows, build_detector
from oddtide.domain.readings import FloatArray

FEATURES = tuple(f"f{j}" for j in range(9))
SERIES, EACH = 1_000, 400
#: The sample of rrcf's own example, a window that slides.
SLIDING: dict[str, object] = {"trees": 30, "samples": 128, "horizon": 128}


class Run(NamedTuple):
    """Scores of the rows, and processor seconds for them."""

    scores: FloatArray
    seconds: float


def ours(spec: DetectorSpec, values: FloatArray) -> Run:
    """One series."""
    detector, rows = _grown(spec, 1), _rows(np.zeros(len(values), dtype=np.int64), values)
    start = time.process_time()
    scores = detector.advance(rows).score
    return Run(scores, time.process_time() - start)


def over_many(spec: DetectorSpec, values: FloatArray) -> float:
    """Readings a second over many series in turn, those of a mature state only."""
    detector = _grown(spec, SERIES)
    rates = []
    for start in range(0, EACH, 50):
        rows = _rows(np.tile(np.arange(SERIES), 50), np.repeat(values[start : start + 50], SERIES, axis=0))
        began = time.process_time()
        detector.advance(rows)
        rates.append(len(rows) / (time.process_time() - began))
    return statistics.median(rates[-3:])


def rivers_trees(values: FloatArray, seed: int) -> Run:
    """river's half-space trees, with its defaults."""
    from river import anomaly

    return _one_by_one(anomaly.HalfSpaceTrees(seed=seed), values)


def rivers_loda(values: FloatArray, seed: int) -> Run:
    """river's LODA, with its defaults."""
    from river import anomaly

    return _one_by_one(anomaly.LODA(seed=seed), values)


def _one_by_one(model: Any, values: FloatArray) -> Run:
    """A model of river's, a reading at a time."""
    readings = [dict(zip(FEATURES, row, strict=True)) for row in values.tolist()]
    scores = np.empty(len(values))
    start = time.process_time()
    for i, reading in enumerate(readings):
        scores[i] = model.score_one(reading)
        model.learn_one(reading)
    return Run(scores, time.process_time() - start)


def rrcf(values: FloatArray, seed: int) -> Run:
    """The package rrcf, in the rivals' environment."""
    program = Path(__file__).parent / "rivals" / "rrcf_forest.py"
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npy"
        np.save(rows, values)
        command = [rivals_python(), str(program), str(rows), "--seed", str(seed)]
        options = ["--trees", str(SLIDING["trees"]), "--samples", str(SLIDING["samples"])]
        done = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    return Run(np.array(told["scores"]), told["seconds"])


class Match(NamedTuple):
    """What is compared with what, over how many rows (a slow rival gets fewer)."""

    kind: str
    parameters: dict[str, object]
    rival: str
    run: Callable[[FloatArray, int], Run]
    rows: int


MATCHES = (
    Match("half_space_trees", {"learn_range": False}, "river HalfSpaceTrees", rivers_trees, 10_000),
    Match("loda", {}, "river LODA", rivers_loda, 10_000),
    Match("random_cut_forest", SLIDING, "rrcf", rrcf, 3_000),
    Match("random_cut_forest", {}, "rrcf, as above", rrcf, 3_000),
)


def measured(match: Match, seeds: int, known: dict[tuple[str, int], Run]) -> list[str]:
    """One line. ``known`` keeps what a rival has said, so that it is asked once."""
    values, labels = shuttle(match.rows)
    own, other, own_seconds, other_seconds = [], [], [], []
    for seed in range(1, seeds + 1):
        spec = DetectorSpec(match.kind, {**match.parameters, "seed": seed})
        ours(spec, values[:300])  # compiled
        run = ours(spec, values)
        key = (match.run.__name__, seed)
        rival = known[key] = known.get(key) or match.run(values, seed)
        mature = np.arange(len(values)) >= _grown(spec, 1).warm_up
        own.append(auc(run.scores[mature], labels[mature]))
        other.append(auc(rival.scores[mature], labels[mature]))
        own_seconds.append(run.seconds)
        other_seconds.append(rival.seconds)
    fast, slow = match.rows / statistics.median(own_seconds), match.rows / statistics.median(other_seconds)
    parameters = ", ".join(f"{name} {value}" for name, value in match.parameters.items()) or "defaults"
    many = over_many(DetectorSpec(match.kind, match.parameters), values)
    quality = [f"{statistics.mean(own):.3f}", f"{statistics.mean(other):.3f}"]
    return [f"`{match.kind}` ({parameters})", match.rival, *quality, f"{fast:,.0f}", f"{slow:,.0f}",
            f"{fast / slow:,.0f}", f"{many:,.0f}"]  # fmt: skip


def shuttle(count: int) -> tuple[FloatArray, FloatArray]:
    """Values in [0, 1] (n, 9) and labels (n,)."""
    from river import datasets

    stream: Any = datasets.Shuttle()
    records = [(list(x.values()), float(y)) for x, y in stream.take(count)]
    values = np.array([x for x, _ in records], dtype=np.float64)
    low, high = values.min(axis=0), values.max(axis=0)
    return (values - low) / np.maximum(high - low, 1e-12), np.array([y for _, y in records])


def auc(scores: FloatArray, labels: FloatArray) -> float:
    """Area under the ROC curve, by ranks (ties share theirs)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = labels.sum()
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives)))


def _grown(spec: DetectorSpec, slots: int) -> Detector:
    detector = build_detector(spec, FEATURES, families={})
    detector.grow(slots)
    return detector


def _rows(slots: Any, values: FloatArray) -> Rows:
    return Rows(slots, np.zeros(len(slots), dtype=np.int64), values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    known: dict[tuple[str, int], Run] = {}
    lines = []
    for match in MATCHES:
        note(f"{match.kind} beside {match.rival}")
        lines.append(measured(match, options.seeds, known))
    print(table(["ours", "rival", "AUC ours", "AUC rival", "readings/s", "rival's", "ratio",
                 f"readings/s, {SERIES:,} series in turn"], lines))  # fmt: skip


if __name__ == "__main__":
    main()
