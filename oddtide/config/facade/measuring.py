"""From what each detector says of the readings to the figures that set detectors apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.config.facade.contender import Contender
from oddtide.config.facade.contenders import Comparison, Matrix
from oddtide.config.facade.laps import Lap
from oddtide.config.facade.ranking import average_precision, rank_correlation, roc_auc
from oddtide.config.facade.trials import Trial, spans_of_series
from oddtide.config.facade.volume import vus_pr
from oddtide.domain.readings import IntArray

__all__ = ["measure"]

BoolArray = NDArray[np.bool_]
_HOUR_NS = 3_600 * 10**9
_NAN = float("nan")


@dataclass(frozen=True)
class _Pool:
    """The compared readings of several trials, one after the other, series numbered on."""

    trials: Sequence[Trial]
    truth: BoolArray | None
    series: IntArray
    times: IntArray
    hours: int
    laps: tuple[Lap, ...]
    compared: tuple[bool, ...]


def measure(trials: Sequence[Trial], quiet_s: float, name: str, notes: Sequence[str]) -> Comparison:
    """All of ``trials``, each with the same contenders, as one comparison."""
    pool = _pooled(trials)
    hits = [lap.hit for lap in pool.laps]
    contenders = tuple(_contender(pool, i, hits, round(quiet_s * 1e9)) for i in range(len(hits)))
    stretches = None if pool.truth is None else len(spans_of_series(pool.truth, pool.series))
    return Comparison(
        contenders=contenders,
        readings=sum(len(trial.common) for trial in trials),
        compared=len(pool.series),
        anomalies=None if pool.truth is None else int(pool.truth.sum()),
        stretches=stretches,
        series=sum(len(trial.material.names) for trial in trials),
        days=pool.hours / 24 if all(trial.material.timed for trial in trials) else 0.0,
        quiet_s=quiet_s,
        overlap=_pairs(hits, _overlap),
        correlation=_pairs([lap.rank for lap in pool.laps], rank_correlation),
        name=name,
        notes=tuple(notes),
        files=tuple(measure([trial], quiet_s, trial.material.name, ()) for trial in trials) if len(trials) > 1 else (),
        trials=tuple(trials),
    )


def _pooled(trials: Sequence[Trial]) -> _Pool:
    at = [trial.common for trial in trials]
    numbered = np.cumsum([0, *(len(trial.material.names) for trial in trials)])
    truths = [trial.material.truth for trial in trials]
    known = [truth[mask] for truth, mask in zip(truths, at, strict=True) if truth is not None]
    times = np.concatenate([trial.material.readings.times[mask] for trial, mask in zip(trials, at, strict=True)])
    laps, compared = [], []
    for lines in zip(*(trial.laps for trial in trials), strict=True):
        parts = list(zip(lines, at, strict=True))
        compared.append(any(bool((lap.valid & mask).any()) for lap, mask in parts))
        laps.append(
            Lap(
                lines[0].name,
                np.concatenate([lap.rank[mask] for lap, mask in parts]),
                np.concatenate([lap.hit[mask] for lap, mask in parts]),
                np.concatenate([lap.valid[mask] for lap, mask in parts]),
                sum(lap.seconds for lap in lines),
                max(lap.bytes_per_series for lap in lines),
                max(lap.warm_up for lap in lines),
                lines[0].p_value,
                sum(lap.trained for lap in lines),
            )
        )
    return _Pool(
        trials,
        np.concatenate(known) if len(known) == len(trials) else None,
        np.concatenate([t.material.series[mask] + base for t, mask, base in zip(trials, at, numbered, strict=False)]),
        times,
        len(np.unique(times // _HOUR_NS)),
        tuple(laps),
        tuple(compared),
    )  # fmt: skip


def _contender(pool: _Pool, index: int, hits: Sequence[BoolArray], quiet_ns: int) -> Contender:
    lap, truth = pool.laps[index], pool.truth
    compared = pool.compared[index]
    others = [hit for i, hit in enumerate(hits) if i != index]
    hit, count = lap.hit, int(lap.hit.sum())
    shared = int((hit & np.logical_or.reduce(others)).sum()) if others else 0
    alarms = _alarms(pool, hit, quiet_ns)
    stretches = spans_of_series(truth, pool.series) if truth is not None else []
    timed = all(trial.material.timed for trial in pool.trials) and pool.hours > 0
    readings = sum(len(trial.common) for trial in pool.trials)
    judged = truth is not None and compared
    right = int((hit & truth).sum()) if truth is not None else 0
    positives = int(truth.sum()) if truth is not None else 0
    return Contender(
        detector=lap.name,
        average_precision=average_precision(truth, lap.rank) if truth is not None and judged else _NAN,
        roc_auc=roc_auc(truth, lap.rank) if truth is not None and judged else _NAN,
        vus_pr=vus_pr(truth, lap.rank, pool.series) if truth is not None and judged else _NAN,
        precision=right / count if judged and count else _NAN,
        recall=right / positives if judged and positives else _NAN,
        found=sum(bool(hit[rows].any()) for rows in stretches),
        detections=count,
        alarms=alarms,
        alarms_per_day=alarms / (pool.hours / 24) if timed and compared else _NAN,
        alarms_per_1000=1_000 * alarms / len(hit) if compared else _NAN,
        agreement=shared / count if count and others else _NAN,
        seconds=lap.seconds,
        readings_per_s=readings / lap.seconds if lap.seconds else 0.0,
        bytes_per_series=lap.bytes_per_series,
        warm_up=lap.warm_up,
        trained=lap.trained,
        p_value=lap.p_value,
        compared=compared,
    )


def _alarms(pool: _Pool, hit: BoolArray, quiet_ns: int) -> int:
    """Detections of a series, those less than the quiet time apart counted as one, as alerts group them."""
    rows = np.flatnonzero(hit)
    order = np.lexsort((pool.times[rows], pool.series[rows]))
    series, times = pool.series[rows][order], pool.times[rows][order]
    return len(rows) and 1 + int(((np.diff(series) != 0) | (np.diff(times) > quiet_ns)).sum())


def _pairs(values: Sequence[NDArray[Any]], measured: Callable[[NDArray[Any], NDArray[Any]], float]) -> Matrix:
    return tuple(tuple(measured(one, other) for other in values) for one in values)


def _overlap(one: BoolArray, other: BoolArray) -> float:
    """The share of what either has that both have (Jaccard)."""
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else _NAN
