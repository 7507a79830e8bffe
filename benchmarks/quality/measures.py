"""Measures of ranked readings against the truth, except NAB's. Own writing, after the papers named.

Each only looks at the order of the scores, so that any monotone change of them changes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.cases import Spans
from oddtide.domain.readings import FloatArray, IntArray

__all__ = ["spans_of", "ucr_hit", "vus_pr"]

_WIDEST, _STEP, _THRESHOLDS = 100, 5, 250
_SLACK = 100


def spans_of(truth: NDArray[np.bool_]) -> Spans:
    """The stretches of anomalies: first and last row of each."""
    edges = np.diff(np.concatenate([[False], truth, [False]]).astype(np.int8))
    return tuple(zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True))


def ucr_hit(scores: FloatArray, anomaly: tuple[int, int], scored_from: int) -> bool:
    """Whether the highest score of the test part lies within 100 rows of the anomaly (Wu, Keogh: "Current time series
    anomaly detection benchmarks are flawed and are creating the illusion of progress", TKDE 2021). Of equal scores
    the first counts; a detector that says nothing at all misses."""
    test = scores[scored_from:]
    if not len(test) or test.max() <= 0.0:
        return False
    place = scored_from + int(test.argmax())
    return anomaly[0] - _SLACK <= place <= anomaly[1] + _SLACK


def vus_pr(truth: NDArray[np.bool_], scores: FloatArray) -> float:
    """Volume under the precision-recall surface (Paparrizos et al.: "Volume Under the Surface", VLDB 2022), borders of
    0 to 100 rows. NaN where nothing is an anomaly.

    Every anomaly gets a border of half that width on either side, whose rows count less the further out they are.
    Recall is times the share of anomalies (borders included) that are touched; the area is taken at 250 thresholds
    that are evenly spaced by rank. As in the authors' code, rows of a border that are not alerted cost half.
    """
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    thresholds = falling[np.linspace(0, len(falling) - 1, _THRESHOLDS).astype(np.int64)]
    alerted = np.searchsorted(-falling, -thresholds, side="right")
    areas = [_area(truth, scores, order, thresholds, alerted, width) for width in range(0, _WIDEST + 1, _STEP)]
    return float(np.mean(areas))


def _area(
    truth: NDArray[np.bool_],
    scores: FloatArray,
    order: IntArray,
    thresholds: FloatArray,
    alerted: IntArray,
    width: int,
) -> float:
    """Under the curve for one width of border; ``alerted`` rows score at least the threshold of the same place."""
    weights = _with_borders(truth, width)
    found = np.cumsum(weights[order])[alerted - 1]
    border_found = np.cumsum(np.where(truth, 0.0, weights)[order])[alerted - 1]
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
