"""The rule that turns a p-value or a score into a detection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray

__all__ = ["ThresholdRule", "largest_p"]


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """A reading is an anomaly when its p-value is at most ``p_value`` or, where ``score`` is set, its score at
    least that. ``p_value`` is the share of ordinary readings that may be flagged: 1e-6 is one in a million. Where an
    alarm budget moves the threshold, ``p_value`` is the most that it moves to."""

    p_value: float = 1e-6
    score: float | None = None

    def detections(self, scores: FloatArray, p_values: FloatArray) -> NDArray[np.bool_]:
        """(n,) mask of the anomalies."""
        hits = p_values <= self.p_value
        return hits if self.score is None else hits | (scores >= self.score)


def largest_p(p_value: float | None, false_share: float) -> float:
    """The rule's ``p_value``, where that may be left open: 1e-6, or 0.01 beside a budget of false alarms."""
    if p_value is not None:
        return p_value
    return 1e-2 if false_share else 1e-6
