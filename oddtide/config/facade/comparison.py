"""Several detectors over the same readings, side by side."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.config.facade.detecting import default_toolkit, detect_anomalies
from oddtide.config.facade.plans import DetectorLike, make_plan, parse_detectors
from oddtide.config.facade.ranking import average_precision, roc_auc
from oddtide.config.facade.scorer import Scorer
from oddtide.config.facade.training import train_on
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.errors import UsageError
from oddtide.domain.readings import FloatArray, LabelsColumn, Readings, SeriesColumn
from oddtide.streams.codecs.decoded import Decoded
from oddtide.streams.pipeline.plan import StreamPlan

__all__ = ["Comparison", "Contender", "compare_algorithms"]

_DEFAULT: tuple[str, ...] = ("ewma", "half_space_trees", "pyod:IForest")
_TRAINED_P_VALUE = 1e-3
_WARM_UP_ROWS = 16
_FALSE = frozenset({"", "0", "0.0", "false", "no", "none", "nan"})


@dataclass(frozen=True)
class Contender:
    """One detector's outcome over the readings that every detector of the comparison scored in earnest.

    ``roc_auc``, ``average_precision`` (both higher is better), ``precision`` and ``recall`` of the detections are NaN
    without labels. ``agreement`` is the share of its detections that another detector made too. ``seconds`` is the time
    to score and learn all readings, on one core, compilation left out.
    """

    detector: str
    roc_auc: float
    average_precision: float
    precision: float
    recall: float
    detections: int
    agreement: float
    seconds: float
    readings_per_s: float


@dataclass(frozen=True)
class Comparison:
    """Contenders in the order they were named, over ``compared`` of ``readings`` readings; ``anomalies`` is how many
    of those are labelled anomalies (None: no labels). Printing it prints a table."""

    contenders: tuple[Contender, ...]
    readings: int
    compared: int
    anomalies: int | None

    @property
    def best(self) -> Contender:
        """The one with the highest ROC-AUC. Raises ``UsageError`` without labels: nothing says which is best."""
        known = [each for each in self.contenders if each.roc_auc == each.roc_auc]
        if not known:
            raise UsageError("There are no labels to tell the best by.", remedy="Give labels, or compare by eye.")
        return max(known, key=lambda each: each.roc_auc)

    def __str__(self) -> str:
        truth = "no labels" if self.anomalies is None else f"{self.anomalies:,} labelled anomalies"
        head = ("detector", "ROC-AUC", "AP", "precision", "recall", "detections", "agreement", "seconds", "readings/s")
        rows = [head, *(_cells(each) for each in self.contenders)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [f"{self.compared:,} of {self.readings:,} readings compared, {truth}"]
        lines += ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
        return "\n".join(lines)


def _cells(each: Contender) -> tuple[str, ...]:
    shares = (each.roc_auc, each.average_precision, each.precision, each.recall)
    return (
        each.detector,
        *("-" if share != share else f"{share:.3f}" for share in shares),
        f"{each.detections:,}",
        "-" if each.agreement != each.agreement else f"{each.agreement:.2f}",
        f"{each.seconds:.3f}",
        f"{each.readings_per_s:,.0f}",
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


@dataclass(frozen=True)
class _Lap:
    name: str
    score: FloatArray
    hit: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    seconds: float


def compare_algorithms(
    data: Any,
    labels: Any = None,
    detectors: Sequence[DetectorLike] | None = None,
    *,
    time: str = "",
    series: str = "",
    value: str = "",
    features: Sequence[str] = (),
    p_value: float | None = None,
    train: float = 0.3,
) -> Comparison:
    """How ``detectors`` (default: ewma, half_space_trees, pyod:IForest) do on the same readings.

    ``labels`` is a column of ``data`` by name or an array, one entry a row, true or not 0 for an anomaly; without it
    there is speed, detections and agreement to compare. Batch detectors (``pyod:``) are trained on the first share
    ``train`` of the readings and, with all others, measured on the rest; warm-up never counts. Detections are made at
    ``p_value`` (default: 1e-6, for batch detectors 1e-3).
    """
    specs = parse_detectors(detectors if detectors is not None else _DEFAULT)
    if not 0.0 < train < 1.0:
        raise UsageError(f"train is {train!r}.", remedy="Give a share between 0 and 1, for example 0.3.")
    column = labels if isinstance(labels, str) else ""
    readings, names = _gather(data, time, series, value, features, column)
    truth = _truth(labels, readings, column)
    cut = int(len(readings) * train) if any(spec.kind.startswith("pyod:") for spec in specs) else 0
    laps = [_lap(spec, readings, names, p_value, cut) for spec in specs]
    common = np.logical_and.reduce([lap.valid for lap in laps])
    common[:cut] = False
    contenders = tuple(_contender(lap, laps, common, truth, len(readings)) for lap in laps)
    anomalies = None if truth is None else int(truth[common].sum())
    return Comparison(contenders, len(readings), int(common.sum()), anomalies)


def _gather(
    data: Any, time: str, series: str, value: str, features: Sequence[str], column: str
) -> tuple[Readings, tuple[str, ...]]:
    found = detect_anomalies(
        data, time=time, series=series, value=value, features=features, labels=(column,) if column else (),
        all=True, profile="light",
    )  # fmt: skip
    parts = [part.readings for part in found.parts]
    if not parts:
        raise UsageError("There is no reading to compare on.", remedy=f"Look at what was rejected: {found.tally}.")
    return Readings(
        series=SeriesColumn.joined([part.series for part in parts]),
        times=np.concatenate([part.times for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        arrivals=np.concatenate([part.arrivals for part in parts]),
        labels=LabelsColumn.joined([part.labels or LabelsColumn.none(len(part)) for part in parts]),
    ), found.parts[0].origin.features


def _truth(labels: Any, readings: Readings, column: str) -> NDArray[np.bool_] | None:
    if labels is None:
        return None
    if column:
        marks = [str((each or {}).get(column, "")).strip().lower() not in _FALSE for each in readings.labels]
        return np.asarray(marks, dtype=np.bool_)
    given = np.asarray(labels)
    if given.ndim != 1 or len(given) <= int(readings.offsets.max()):
        raise UsageError(
            f"There are {len(given)} labels for {int(readings.offsets.max()) + 1} rows.", remedy="Give one a row."
        )
    return np.asarray(given[readings.offsets] != 0, dtype=np.bool_)


def _lap(spec: DetectorSpec, readings: Readings, names: tuple[str, ...], p_value: float | None, cut: int) -> _Lap:
    toolkit, batch = default_toolkit(), spec.kind.startswith("pyod:")
    plan = make_plan(names, detector=spec, p_value=_TRAINED_P_VALUE if batch and p_value is None else p_value)
    model = train_on([readings.values[:cut]], names, spec.kind[5:], spec.parameters) if batch else None

    def scorer(over: StreamPlan) -> Scorer:
        made = Scorer(over, toolkit, clock.time_ns)
        if model is not None:
            model.put_in_force(made)
        return made

    scorer(plan).columns(_decoded(readings.take(np.arange(min(len(readings), _WARM_UP_ROWS)))))
    timed = scorer(plan)
    began = clock.perf_counter()
    verdicts = timed.columns(_decoded(readings)).verdicts
    seconds = clock.perf_counter() - began
    assert verdicts is not None
    valid = verdicts.scores.seen >= verdicts.needed
    return _Lap(spec.name, verdicts.surprises(slice(None)), verdicts.is_anomaly, valid, seconds)


def _decoded(readings: Readings) -> Decoded:
    return Decoded(readings, [], len(readings), 0, int(readings.offsets[-1]) + 1)


def _contender(
    lap: _Lap, laps: Sequence[_Lap], common: NDArray[np.bool_], truth: NDArray[np.bool_] | None, readings: int
) -> Contender:
    hits = lap.hit & common
    others = [other.hit for other in laps if other is not lap]
    shared = hits & np.logical_or.reduce(others) if others else hits & False
    right = hits & truth if truth is not None else hits & False
    nan = float("nan")
    positives = int((truth & common).sum()) if truth is not None else 0
    count = int(hits.sum())
    return Contender(
        detector=lap.name,
        roc_auc=nan if truth is None else roc_auc(truth[common], lap.score[common]),
        average_precision=nan if truth is None else average_precision(truth[common], lap.score[common]),
        precision=nan if truth is None or not count else int(right.sum()) / count,
        recall=int(right.sum()) / positives if positives else nan,
        detections=count,
        agreement=int(shared.sum()) / count if count and others else nan,
        seconds=lap.seconds,
        readings_per_s=readings / lap.seconds if lap.seconds else 0.0,
    )
