"""How well scores rank the anomalies before the rest, where the truth is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray

__all__ = ["average_precision", "roc_auc"]


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
