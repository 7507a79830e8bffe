"""What a page about a comparison draws, in plain values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from oddtide.config.facade.contender import Contender
from oddtide.config.facade.ranking import curve
from oddtide.config.facade.trials import Trial, spans_of_series
from oddtide.config.report.comparison import FileRow, Panel, Picture
from oddtide.config.report.plots import Curve
from oddtide.domain.readings import IntArray, rfc3339

__all__ = ["picture"]

_SERIES_SHOWN = 8


def picture(
    contenders: Sequence[Contender],
    trials: Sequence[Trial],
    files: Sequence[tuple[str, int, Sequence[Contender]]],
    *,
    labelled: bool,
) -> Picture:
    """The drawings; ``files`` are (name, compared readings, contenders) where there are several."""
    series = sorted(_series(trials), key=lambda each: -each[0])
    rows: list[FileRow] = [
        (name, compared, [each.average_precision if labelled else float(each.alarms) for each in found])
        for name, compared, found in files
    ]
    return Picture(
        names=[each.detector for each in contenders],
        measures=[
            ("average precision", [each.average_precision for each in contenders]),
            ("VUS-PR", [each.vus_pr for each in contenders]),
            ("ROC-AUC", [each.roc_auc for each in contenders]),
        ],
        curves=_curves(contenders, trials) if labelled else [],
        speeds=[each.readings_per_s for each in contenders],
        panels=[_panel(trial, number, rows) for _, trial, number, rows in series[:_SERIES_SHOWN]],
        hidden=max(len(series) - _SERIES_SHOWN, 0),
        labelled=labelled,
        files=rows,
        trained=[each.detector for each in contenders if each.trained],
        levels=[(each.detector, each.p_value) for each in contenders],
    )


def _curves(contenders: Sequence[Contender], trials: Sequence[Trial]) -> list[Curve]:
    drawn: list[Curve] = []
    truths = [trial.material.truth for trial in trials]
    for place, each in enumerate(contenders):
        truth = np.concatenate([t[trial.common] for t, trial in zip(truths, trials, strict=True) if t is not None])
        rank = np.concatenate([trial.laps[place].rank[trial.common] for trial in trials])
        recall, precision = curve(truth, rank)
        known = not math.isnan(each.precision) and not math.isnan(each.recall)
        drawn.append((each.detector, recall, precision, (each.recall, each.precision) if known else None))
    return drawn


def _series(trials: Sequence[Trial]) -> Iterator[tuple[int, Trial, int, IntArray]]:
    """Each series with how much there is to see in it, and its rows."""
    for trial in trials:
        numbers = trial.material.series
        order = np.argsort(numbers, kind="stable")
        cuts = np.flatnonzero(np.diff(numbers[order])) + 1
        seen = np.sum([lap.hit for lap in trial.laps], axis=0)
        if trial.material.truth is not None:
            seen = seen + 10 * trial.material.truth
        for rows in np.split(order, cuts):
            yield int(seen[rows].sum()), trial, int(numbers[rows[0]]), rows


def _panel(trial: Trial, series: int, rows: IntArray) -> Panel:
    material, last = trial.material, max(len(rows) - 1, 1)
    truth = np.zeros(len(rows), np.bool_) if material.truth is None else material.truth[rows]
    feature = _strayed(trial, rows)
    times = material.readings.times[rows]
    counted = ("reading 1", f"reading {len(rows):,}")
    return Panel(
        name=material.names[series] + (f", {material.features[feature]}" if len(material.features) > 1 else ""),
        values=material.readings.values[rows, feature],
        truth=[(r[0] / last, r[-1] / last) for r in spans_of_series(truth, np.zeros(len(rows), np.int64))],
        lanes=[(lap.name, (np.flatnonzero(lap.hit[rows]) / last).tolist()) for lap in trial.laps],
        ends=(rfc3339(int(times[0])), rfc3339(int(times[-1]))) if material.timed else counted,
    )


def _strayed(trial: Trial, rows: IntArray) -> int:
    """The feature to draw: the one that strays furthest where somebody sees something, in its own spread."""
    values = trial.material.readings.values[rows]
    if values.shape[1] == 1:
        return 0
    seen = np.logical_or.reduce([lap.hit[rows] for lap in trial.laps])
    if trial.material.truth is not None:
        seen = seen | trial.material.truth[rows]
    known = np.nan_to_num(values, nan=0.0)
    with np.errstate(all="ignore"):  # of huge numbers
        spread = np.abs(known - np.median(known, axis=0))
        usual = np.maximum(np.median(spread, axis=0), 1e-9 + spread.mean(axis=0))
        far = spread[seen].max(axis=0, initial=0.0) / usual
    return int(np.nan_to_num(far).argmax())
