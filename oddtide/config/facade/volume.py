"""How well scores find anomalies that last: the volume under the precision-recall surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray

__all__ = ["Spans", "spans_of", "vus_pr"]

#: Stretches of anomalies: first and last row of each.
Spans = tuple[tuple[int, int], ...]

_WIDEST, _STEP, _THRESHOLDS = 100, 5, 250


def spans_of(truth: NDArray[np.bool_]) -> Spans:
    """The stretches of anomalies: first and last row of each."""
    edges = np.diff(np.concatenate([[False], truth, [False]]).astype(np.int8))
    return tuple(zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True))


def vus_pr(truth: NDArray[np.bool_], scores: FloatArray, series: IntArray | None = None) -> float:
    """Volume under the precision-recall surface (Paparrizos et al.: "Volume Under the Surface", VLDB 2022), borders of
    0 to 100 rows. NaN where nothing is an anomaly.

    Every anomaly gets a border of half that width on either side, whose rows count less the further out they are.
    Recall is times the share of anomalies (borders included) that are touched; the area is taken at 250 thresholds
    that are evenly spaced by rank. As in the authors' code, rows of a border that are not alerted cost half.

    ``series`` (n,) says of which series each row is, where there are several: one threshold for all, and no border
    reaches into another series. Only the order of the scores counts.
    """
    if not truth.any():
        return float("nan")
    if series is not None and len(series) and (series != series[0]).any():
        truth, scores, real = _apart(truth, scores, series)
    else:
        real = np.ones(len(truth), dtype=np.bool_)
    order = np.argsort(-scores[real], kind="stable")
    falling = scores[real][order]
    thresholds = falling[np.linspace(0, len(falling) - 1, _THRESHOLDS).astype(np.int64)]
    alerted = np.searchsorted(-falling, -thresholds, side="right")
    areas = [_area(truth, scores, real, order, thresholds, alerted, width) for width in range(0, _WIDEST + 1, _STEP)]
    return float(np.mean(areas))


def _apart(
    truth: NDArray[np.bool_], scores: FloatArray, series: IntArray
) -> tuple[NDArray[np.bool_], FloatArray, NDArray[np.bool_]]:
    """The series one after the other, with room for their borders between them; the mask says which rows are real."""
    order = np.argsort(series, kind="stable")
    place = np.arange(len(series)) + np.cumsum(np.diff(series[order], prepend=series[order[0]]) != 0) * (_WIDEST + 2)
    total = int(place[-1]) + 1
    apart, spread, real = np.zeros(total, np.bool_), np.full(total, -np.inf), np.zeros(total, np.bool_)
    apart[place], spread[place], real[place] = truth[order], scores[order], True
    return apart, spread, real


def _area(
    truth: NDArray[np.bool_],
    scores: FloatArray,
    real: NDArray[np.bool_],
    order: IntArray,
    thresholds: FloatArray,
    alerted: IntArray,
    width: int,
) -> float:
    """Under the curve for one width of border; ``alerted`` rows score at least the threshold of the same place."""
    weights = _with_borders(truth, width)
    own, borders = weights[real], np.where(truth, 0.0, weights)[real]
    found = np.cumsum(own[order])[alerted - 1]
    border_found = np.cumsum(borders[order])[alerted - 1]
    peaks = np.sort([scores[first : last + 1].max() for first, last in spans_of(weights > 0)])
    touched = 1.0 - np.searchsorted(peaks, thresholds, side="left") / len(peaks)
    recall = np.minimum(found / (truth.sum() + border_found / 2.0), 1.0) * touched
    return float((np.diff(recall, prepend=0.0) * found / alerted).sum())


def _with_borders(truth: NDArray[np.bool_], width: int) -> FloatArray:
    """1 in an anomaly, ``sqrt(1 - distance/width)`` in its border; where borders meet they add up to at most 1."""
    weights = truth.astype(np.float64)
    reach = width // 2
    for first, last in spans_of(truth):
        before, after = np.arange(max(first - reach, 0), first), np.arange(last + 1, min(last + reach + 1, len(truth)))
        if reach:
            weights[before] += np.sqrt(1.0 - (first - before) / width)
            weights[after] += np.sqrt(1.0 - (after - last) / width)
    return np.minimum(weights, 1.0)
