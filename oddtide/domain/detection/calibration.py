"""From scores to p-values by a series' own past: for detectors that have no distribution of their own.

*Conformal.* If the past ``n`` scores and the new one are exchangeable, ``(1 + #{past >= new}) / (n + 1)`` is a valid
p-value whatever the detector does (Vovk, Gammerman, Shafer 2005; on streams Laxhammar, Falkman 2010). It cannot
fall below ``1 / (n + 1)``, so it alone would never meet a strict threshold.

*Beyond the largest past score* the exponential tail through the largest ``k`` of them goes on (peaks over threshold,
Pickands 1975, shape 0): ``k/(n+1) (1 + (score - u)/(k b))**-k``, with ``u`` the next one below and ``b`` their mean
excess. The power takes the place of ``exp(-(score - u)/b)`` because ``b`` is itself estimated from ``k`` scores: it is
the exact predictive probability for exponential excesses. That is extrapolation, not a guarantee, so it is believed no
further than ``(n + 1)**-4``.

Bounded memory: the newest ``window`` scores of a slot, kept both in order of time and of size. Score before learn: a
score is graded by those before it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.settings import check_range
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import InColumns, SlotColumns
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["Calibration", "tail_p_value", "tail_p_values"]

_REACH = 4.0
_SMALLEST_P = 1e-300


@inlined
def tail_p_value(ordered: FloatArray, n: int, score: float) -> float:
    """The p-value of ``score`` against the ``n`` ascending past scores at the head of ``ordered`` (n >= 2)."""
    low, high = 0, n
    while low < high:  # how many past scores are smaller
        middle = (low + high) // 2
        if ordered[middle] < score:
            low = middle + 1
        else:
            high = middle
    if low < n:
        return (1.0 + n - low) / (n + 1.0)
    k = min(max(8, n // 16), n - 1)
    threshold = ordered[n - k - 1]
    excess = 0.0
    for i in range(n - k, n):
        excess += (ordered[i] - threshold) / k
    excess = max(excess, 1e-6 * abs(threshold), 1e-150)
    tail = k / (n + 1.0) * math.exp(-k * math.log1p((score - threshold) / (k * excess)))
    p_value: float = max(min(1.0 / (n + 1.0), tail), (n + 1.0) ** -_REACH, _SMALLEST_P)
    return p_value


@inlined
def _replace(ordered: FloatArray, n: int, oldest: float, newest: float) -> None:
    """Put ``newest`` in its place among the ``n`` ascending numbers, in the room of ``oldest`` (at ``n`` where that is
    NaN: there is room)."""
    hole = n
    if not math.isnan(oldest):
        hole = 0
        while ordered[hole] != oldest:
            hole += 1
    while hole > 0 and ordered[hole - 1] > newest:
        ordered[hole] = ordered[hole - 1]
        hole -= 1
    while hole < n - 1 and ordered[hole + 1] < newest:
        ordered[hole] = ordered[hole + 1]
        hole += 1
    ordered[hole] = newest


@bare_kernel
def _grade(
    recent: FloatArray,
    ordered: FloatArray,
    counts: IntArray,
    slots: IntArray,
    scores: FloatArray,
    minimum: int,
    learning: NDArray[np.bool_],
    out: FloatArray,
) -> None:
    """Rows in order: a p-value into ``out`` (left as it is where too few are known), then learnt where ``learning``.
    NaN: p 1, not learnt."""
    window = recent.shape[1]
    for i in range(len(slots)):
        slot, score = slots[i], scores[i]
        n = min(counts[slot], window)
        absent = math.isnan(score)
        if absent:
            out[i] = 1.0
        elif n >= minimum:
            out[i] = tail_p_value(ordered[slot], n, score)
        if learning[i] and not absent:
            place = counts[slot] % window
            oldest = recent[slot, place] if n == window else math.nan
            _replace(ordered[slot], n, oldest, score)
            recent[slot, place] = score
            counts[slot] += 1


@bare_kernel
def _tail_p_values(ordered: FloatArray, scores: FloatArray, out: FloatArray) -> None:
    for i in range(len(scores)):
        out[i] = tail_p_value(ordered, len(ordered), scores[i])


def tail_p_values(ordered: FloatArray, scores: FloatArray) -> FloatArray:
    """(n,) p-values of ``scores`` against a fixed sample of past scores, ascending (at least 2)."""
    p_values = np.empty(len(scores))
    _tail_p_values(ordered, scores, p_values)
    return p_values


class Calibration(InColumns):
    """Past scores per slot. ``minimum`` scores are needed before a p-value is below 1."""

    def __init__(self, window: int = 256, minimum: int = 50) -> None:
        check_range("calibration", window, 64, 1_000_000)
        self.window, self.minimum = window, min(minimum, window)
        blanks = {
            "calibration_recent": np.zeros(window),
            "calibration_ordered": np.zeros(window),
            "calibration_counts": np.zeros((), dtype=np.int64),
        }
        self._columns = SlotColumns("calibration", blanks)

    def grade(
        self,
        slots: IntArray,
        scores: FloatArray,
        *,
        learn: bool,
        keep: NDArray[np.bool_] | None = None,
        otherwise: FloatArray | None = None,
    ) -> FloatArray:
        """(n,) p-values of (n,) scores in log order, each by those of its slot before it; NaN is no score (p 1).
        Where ``learn`` each is then learnt (with ``keep``: only where that is true; neighbours that echo each other
        make a poor past); otherwise nothing changes. ``otherwise``: the p-values while too few are known (else 1)."""
        p_values = np.ones(len(scores)) if otherwise is None else otherwise.copy()
        learning = np.full(len(scores), learn) if keep is None else keep & learn
        recent, ordered = self._columns["calibration_recent"], self._columns["calibration_ordered"]
        counts = self._columns["calibration_counts"]
        _grade(recent, ordered, counts, slots, scores, self.minimum, learning, p_values)
        return p_values
