"""Whether at most the promised share of the alarms is false: part ``fdr``.

A million readings of a thousand series in one partition, half-hourly, of which one in a thousand (``INJECTED``) is
moved by six standard deviations, up or down, but for a series' first ``QUIET`` readings. They go through the pipeline
as a partition's would, under the plan that ``false_share`` makes; the other rules are applied to the same p-values
afterwards. Found is an injection whose own reading is an alarm. Every other alarm is false, also one in the wake of an
injection, which is the strict way; beside it stands the share without those up to ``WAKE`` readings of the series after
one, since there something *was* wrong.

Benjamini-Hochberg, for comparison, looks at a whole window at once: what it says of a window's first reading is known
at its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.folding import plan_of
from benchmarks.quality.nulls import KINDS, LENGTH, SERIES, Null, autocorrelated
from oddtide.config.facade.detecting import default_toolkit
from oddtide.config.facade.inputs import open_input
from oddtide.config.facade.scorer import Scorer
from oddtide.domain.detection.alarm_budget import METHODS, AlarmBudget, BudgetRule, method_for
from oddtide.domain.detection.threshold import ThresholdRule, largest_p
from oddtide.domain.readings import FloatArray
from oddtide.streams.codecs.decoded import Decoded

__all__ = ["NOMINAL", "RULES", "STREAMS", "BoolArray", "Found", "count_found", "measure_discoveries"]

NOMINAL = 0.1
INJECTED, SIGMAS = 1e-3, 6.0
QUIET, WAKE = 200, 10
_BATCH = 100_000
_START, _STEP = np.datetime64("2024-01-01", "ns"), np.timedelta64(30, "m")
_WINDOWS = (1_000, 10_000, 100_000)
_FIXED = (1e-4, 1e-6)

BoolArray = NDArray[np.bool_]
_Rule: TypeAlias = Callable[[FloatArray, BoolArray], BoolArray]

#: The kinds of null, one more autocorrelated one among them.
STREAMS: dict[str, Null] = {
    "independent": KINDS["independent"],
    "AR(1) .5": Null(201, 1.0 / np.sqrt(1.0 - 0.25), autocorrelated(0.5)),
    "AR(1) .9": KINDS["autocorrelated"],
    "seasonal": KINDS["seasonal"],
    "heavy-tailed": KINDS["heavy-tailed"],
}


@dataclass(frozen=True)
class Found:
    """Of a rule: the share of its alarms that were false, counted strictly and without wakes; of the injections, the
    share that it found; how many alarms it raised."""

    false: float
    false_but_wakes: float
    power: float
    alarms: int


def measure_discoveries(detector: str, kind: str, rows: int = LENGTH) -> tuple[dict[str, Found], int, float]:
    """What each rule found, by its name, ``shipped`` first; how many readings there were, and the seconds of processor
    time that folding them took."""
    null = STREAMS[kind]
    random = np.random.default_rng(null.seed)
    values = null.draw(random, rows, SERIES)
    injected = random.random(values.shape) < INJECTED
    injected[:QUIET] = False
    values += SIGMAS * null.sigma * injected * random.choice([-1.0, 1.0], size=values.shape)
    wake = np.zeros_like(injected)
    for after in range(1, WAKE + 1):
        wake[after:] |= injected[:-after]
    p_values, tested, hits, seconds = _fold(detector, values)
    truth, wakes = injected.ravel(), wake.ravel() & ~injected.ravel()
    found = {"shipped": count_found(hits, truth, wakes)}
    for name, rule in RULES.items():
        found[name] = count_found(rule(p_values, tested), truth, wakes)
    return found, values.size, seconds


def count_found(hits: BoolArray, truth: BoolArray, wakes: BoolArray) -> Found:
    """What a rule found, by what is true; alarms in ``wakes`` are false, and counted beside."""
    alarms, good, late = int(hits.sum()), int((hits & truth).sum()), int((hits & wakes).sum())
    false = (alarms - good) / max(alarms, 1)
    return Found(false, (alarms - good - late) / max(alarms - late, 1), good / max(int(truth.sum()), 1), alarms)


def _fold(detector: str, values: FloatArray) -> tuple[FloatArray, BoolArray, BoolArray, float]:
    """Alarm p-values, what is tested, what is found, of (rows, series) interleaved as they would arrive; seconds."""
    rows, series = values.shape
    names = np.array([f"null-{i:03d}" for i in range(series)])
    plan = plan_of(detector, ("value",))
    rule = BudgetRule(NOMINAL, method_for(spec.kind for spec in plan.detectors))
    plan = replace(plan, alarm_budget=rule, threshold=ThresholdRule(largest_p(None, NOMINAL)))
    scorer = Scorer(plan, default_toolkit(), time.time_ns)
    p_values, tested, hits, seconds = [], [], [], 0.0
    step = _BATCH // series
    for first in range(0, rows, step):
        block = values[first : first + step]
        times = _START + np.arange(first, first + len(block)) * _STEP
        columns: dict[str, Any] = {
            "timestamp": np.repeat(times, series), "series": np.tile(names, len(block)), "value": block.ravel()
        }  # fmt: skip
        for batch in open_input(columns).batches:
            assert isinstance(batch, Decoded)
            began = time.process_time()
            verdicts = scorer.columns(
                replace(batch, first=scorer.position, next=scorer.position + batch.records)
            ).verdicts
            seconds += time.process_time() - began
            assert verdicts is not None
            assert verdicts.levels is not None
            p_values.append(verdicts.scores.p_value)
            tested.append(verdicts.levels > 0.0)
            hits.append(verdicts.is_anomaly)
    return np.concatenate(p_values), np.concatenate(tested), np.concatenate(hits), seconds


def _budgeted(rule: BudgetRule) -> _Rule:
    def found(p_values: FloatArray, tested: BoolArray) -> BoolArray:
        levels = AlarmBudget(rule, largest_p(None, NOMINAL)).admit(p_values, p_values, tested)
        hits: BoolArray = p_values <= levels
        return hits

    return found


def _fixed(p: float) -> _Rule:
    def found(p_values: FloatArray, tested: BoolArray) -> BoolArray:
        hits: BoolArray = tested & (p_values <= p)
        return hits

    return found


def _windowed(window: int) -> _Rule:
    """Benjamini, Hochberg 1995, over so many tests at a time."""

    def found(p_values: FloatArray, tested: BoolArray) -> BoolArray:
        hits = np.zeros(len(p_values), dtype=np.bool_)
        places = np.flatnonzero(tested)
        for first in range(0, len(places), window):
            some = places[first : first + window]
            ordered = np.sort(p_values[some])
            within = np.flatnonzero(ordered <= NOMINAL * np.arange(1, len(some) + 1) / len(some))
            if len(within):
                hits[some] = p_values[some] <= ordered[within[-1]]
        return hits

    return found


#: What the shipped rule is compared with.
RULES: dict[str, _Rule] = {
    **{method: _budgeted(BudgetRule(NOMINAL, method)) for method in METHODS},
    "lord, never forgets": _budgeted(BudgetRule(NOMINAL, memory=0)),
    **{f"p <= {p:g}": _fixed(p) for p in _FIXED},
    **{f"BH, windows of {window:,}": _windowed(window) for window in _WINDOWS},
}
