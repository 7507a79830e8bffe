"""A case through the shipped pipeline: what each verdict says, and whether it was said without looking ahead."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np

from benchmarks.quality.cases import Case
from oddtide.config.facade.detecting import default_toolkit
from oddtide.config.facade.inputs import open_input
from oddtide.config.facade.plans import make_plan
from oddtide.config.facade.scorer import Scorer
from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.detection.ensemble import Ensemble
from oddtide.domain.detection.ports import DetectorSpec, Scores
from oddtide.domain.errors import ConfigurationError, UsageError
from oddtide.domain.readings import FloatArray
from oddtide.streams.codecs.decoded import Decoded
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import Toolkit

__all__ = [
    "NO_RULES", "RANKS", "Folded", "LooksAheadError", "Rank", "banded", "bytes_per_series", "check_causality", "fold",
    "fold_batches", "plan_of", "ranked", "ranked_alarms", "silence", "split_names",
]  # fmt: skip

Rank = Literal["p_value", "score"]
#: What readings are ranked by, the first unless said otherwise.
RANKS: tuple[Rank, ...] = ("p_value", "score")

NO_RULES = AlarmRules()
#: Keeps the score's part of :func:`ranked` far below the least step between p-values that matters.
_TIE = 1e-6
_LARGEST = float(np.log1p(np.finfo(np.float64).max))
#: At most so many rows are compared in the check for looking ahead.
_COMPARED = 10_000


class LooksAheadError(Exception):
    """A score changed when only its future did."""


@dataclass(frozen=True)
class Folded:
    """Per row of the input (n,): the verdict's score, p-value and alarm p-value, and whether the detector was mature. A
    reading that was refused has score 0 and p-values 1. ``inside`` (n,): 1 where the first feature lies in its band,
    0 where it does not, NaN where there is no band. ``seconds`` is processor time of the fold alone."""

    score: FloatArray
    p_value: FloatArray
    alarm_p: FloatArray
    mature: np.ndarray[Any, np.dtype[np.bool_]]
    inside: FloatArray
    seconds: float


@cache
def _toolkit() -> Toolkit:
    return default_toolkit()


def split_names(text: str) -> list[str]:
    """``ewma:alpha=0.1,limit=4,half_space_trees`` into its two detectors: ``name=value`` belongs to the one before."""
    names: list[str] = []
    for part in text.split(","):
        key, sign, _ = part.partition("=")
        if names and sign and ":" not in key:
            names[-1] += f",{part.strip()}"
        elif part.strip():
            names.append(part.strip())
    return names


def plan_of(detector: str, features: tuple[str, ...], alarms: AlarmRules = NO_RULES) -> StreamPlan:
    """The plan that ``oddtide detect --detector`` makes; ``a+b`` is several detectors on one stream. No reading is an
    anomaly under it: thresholds are the measures' business, and events of detections are never made.

    Raises ``UsageError`` for a detector that is trained first: before it has a model, it would be silent."""
    plan = make_plan(features, detector=re.split(r"\+(?=[a-z])", detector), p_value=0.0)
    for spec in plan.detectors:
        if spec.kind.startswith("pyod:"):
            raise UsageError(f"{spec.kind} is trained before it detects.", remedy="Name one that learns as it goes.")
    return replace(plan, alarms=alarms)


def fold(detector: str, case: Case, alarms: AlarmRules = NO_RULES) -> Folded:
    """Fold a case, as one series and from nothing."""
    columns: Any = case.values
    if case.times is not None:
        named = {name: case.values[:, i] for i, name in enumerate(case.features)}
        columns = {"timestamp": case.times, **named}
    opened = open_input(columns)
    plan = plan_of(detector, opened.features, alarms)
    return fold_batches(plan, [b for b in opened.batches if isinstance(b, Decoded)])


def silence(rows: int) -> Folded:
    """What a detector says that says nothing."""
    return Folded(
        np.zeros(rows), np.ones(rows), np.ones(rows), np.zeros(rows, dtype=np.bool_), np.full(rows, np.nan), 0.0
    )


def fold_batches(plan: StreamPlan, batches: list[Decoded]) -> Folded:
    """Fold columns of readings, whatever series they are of."""
    scorer = Scorer(plan, _toolkit(), time.time_ns)
    found = silence(sum(batch.records for batch in batches))
    started = time.process_time()
    for batch in batches:
        verdicts = scorer.columns(batch).verdicts
        if verdicts is not None:
            places = verdicts.readings.offsets
            found.score[places] = verdicts.scores.score
            found.p_value[places] = verdicts.scores.p_value
            found.alarm_p[places] = verdicts.scores.p_value if verdicts.alarm_p is None else verdicts.alarm_p
            found.mature[places] = verdicts.scores.seen >= verdicts.needed
            found.inside[places] = _inside(verdicts.readings.values, verdicts.scores)
    return replace(found, seconds=time.process_time() - started)


def _inside(values: FloatArray, scores: Scores) -> FloatArray:
    if scores.lower is None or scores.upper is None:
        return np.full(len(values), np.nan)
    within = (values[:, 0] >= scores.lower[:, 0]) & (values[:, 0] <= scores.upper[:, 0])
    return np.where(np.isnan(scores.lower[:, 0]), np.nan, within)


def banded(plan: StreamPlan, band: float) -> StreamPlan:
    """``plan`` with a band that holds the share ``band``, of the detectors that have one."""
    return replace(plan, detectors=tuple(_banded(spec, plan.contract.names, band) for spec in plan.detectors))


def _banded(spec: DetectorSpec, features: tuple[str, ...], band: float) -> DetectorSpec:
    wanted = replace(spec, parameters={**spec.parameters, "band": band})
    try:
        _toolkit().detector(wanted, features)
    except ConfigurationError:
        return spec
    return wanted


def ranked(folded: Folded, rank: Rank = "p_value") -> FloatArray:
    """(n,) what readings are ranked by, >= 0: surprise ``-log10(p)``, the score breaking ties; or the score alone."""
    if rank == "score":
        return folded.score
    return _surprise(folded.p_value, folded.score)


def ranked_alarms(folded: Folded, rank: Rank = "p_value") -> FloatArray:
    """The same for alarms: the verdict's ``alarm_score``, the score breaking ties; 0 where no alarm may be raised. By
    the score alone the rules for alarms have no say."""
    if rank == "score":
        return folded.score
    return np.where(folded.alarm_p < 1.0, _surprise(folded.alarm_p, folded.score), 0.0)


def _surprise(p_value: FloatArray, score: FloatArray) -> FloatArray:
    return np.abs(np.log10(p_value)) + _TIE * np.log1p(score) / _LARGEST


def bytes_per_series(detector: str, features: int) -> int:
    """Memory that the state of one series takes, as the detectors say, and the ensemble where they are several."""
    names = tuple(f"f{i}" for i in range(features))
    specs = plan_of(detector, names).detectors
    together = Ensemble([spec.kind for spec in specs]).bytes_per_slot if len(specs) > 1 else 0
    return together + sum(_toolkit().detector(spec, names).bytes_per_slot for spec in specs)


def check_causality(detector: str, case: Case, found: Folded, alarms: AlarmRules = NO_RULES) -> None:
    """Fold the case once more with another, shorter future. Raises ``LooksAheadError`` where a score or p-value of the
    past, common to both, is not the same to the bit."""
    past = min(len(case) // 2, _COMPARED)
    future = slice(past, 2 * past)
    shorter = case.head(2 * past)
    values = shorter.values.copy()
    values[future] = values[future][::-1] * 3.0 - 7.0
    other = fold(detector, replace(shorter, values=values), alarms)
    for name, before, now in (
        ("score", found.score, other.score),
        ("p-value", found.p_value, other.p_value),
        ("alarm p-value", found.alarm_p, other.alarm_p),
    ):
        changed = np.flatnonzero(before[:past] != now[:past])
        if len(changed):
            raise LooksAheadError(
                f"{detector} looks ahead: the {name} of row {changed[0]} of {case.name} changed from "
                f"{before[changed[0]]!r} to {now[changed[0]]!r} when only rows from {past} on did."
            )
