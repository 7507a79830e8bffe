"""How well scores rank the anomalies before the rest, where the truth is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray

__all__ = ["average_precision", "curve", "rank_correlation", "ranked", "roc_auc"]

#: Keeps the score's part of :func:`ranked` far below the least step between p-values that matters.
_TIE = 1e-6
_LARGEST = float(np.log1p(np.finfo(np.float64).max))


def ranked(p_value: FloatArray, own_score: FloatArray) -> FloatArray:
    """(n,) what readings are ranked by, >= 0: the surprise ``-log10(p)``; among equals the detector's own score
    decides, since a p-value from ``n`` past scores is never below about ``1/n``."""
    return np.asarray(np.abs(np.log10(p_value)) + _TIE * np.log1p(own_score) / _LARGEST, dtype=np.float64)


def roc_auc(truth: NDArray[np.bool_], scores: FloatArray) -> float:
    """Area under the ROC curve: the probability that an anomaly scores higher than an ordinary reading, ties counting
    half (Mann and Whitney 1947). NaN where only one kind is there."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    total = float(ranks[place][truth].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(truth: NDArray[np.bool_], scores: FloatArray) -> float:
    """Mean precision over the recall steps of falling scores, equal scores taken together. NaN without anomalies."""
    positives = int(truth.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    precision = hits[last] / (last + 1)
    steps = np.diff(hits[last], prepend=0)
    return float((precision * steps).sum() / positives)


def curve(truth: NDArray[np.bool_], scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Recall and precision at every threshold, from the highest down; nothing without anomalies."""
    positives = int(truth.sum())
    if not positives:
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    return hits[last] / positives, hits[last] / (last + 1)


def rank_correlation(left: FloatArray, right: FloatArray) -> float:
    """Spearman's correlation (1904), ties at their mean rank. NaN where one side says the same of every reading."""
    if not len(left) or left.min() == left.max() or right.min() == right.max():
        return float("nan")
    return float(np.corrcoef(_mean_ranks(left), _mean_ranks(right))[0, 1])


def _mean_ranks(values: FloatArray) -> FloatArray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
