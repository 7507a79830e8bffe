"""P-values and their corrections, as numbers and as columns."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["SMALLEST_P", "bonferroni", "gaussian_p", "gaussian_quantile", "surprise"]

#: No p-value is smaller: 0 would claim certainty, and its logarithm could not be drawn.
SMALLEST_P = 1e-300

_SQRT_HALF = math.sqrt(0.5)


def gaussian_p(z: float) -> float:
    """Two-sided p-value of a standard normal ``z``, by the complementary error function: exact to about 1e-16
    relative down to :data:`SMALLEST_P`, where it is clipped."""
    return max(math.erfc(abs(z) * _SQRT_HALF), SMALLEST_P)


def gaussian_quantile(p: float) -> float:
    """The ``z >= 0`` whose two-sided p-value is ``p`` (in (0, 1]), by bisection to the last bit or nearly so."""
    low, high = 0.0, 40.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        if gaussian_p(middle) > p:
            low = middle
        else:
            high = middle
    return high


def bonferroni(p_values: NDArray[np.float64], tests: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """``min(1, tests * p)``: the smallest of ``tests`` p-values, made valid however the tests depend on one another
    (Bonferroni 1936; conservative when they agree)."""
    corrected: NDArray[np.float64] = np.minimum(1.0, np.maximum(p_values * tests, SMALLEST_P))
    return corrected


def surprise(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``-log10(p)``: 0 for p 1, 6 for one in a million. ``p_values`` lie in (0, 1]."""
    surprises: NDArray[np.float64] = np.maximum(-np.log10(p_values), 0.0) + 0.0  # no -0
    return surprises
