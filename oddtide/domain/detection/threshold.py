"""The rule that turns a p-value or a score into a detection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray

__all__ = ["ThresholdRule"]


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """A reading is an anomaly when its p-value is at most ``p_value`` or, where ``score`` is set, its score at
    least that. ``p_value`` is the share of ordinary readings that may be flagged: 1e-6 is one in a million."""

    p_value: float = 1e-6
    score: float | None = None

    def detections(self, scores: FloatArray, p_values: FloatArray) -> NDArray[np.bool_]:
        """(n,) mask of the anomalies."""
        hits = p_values <= self.p_value
        return hits if self.score is None else hits | (scores >= self.score)
