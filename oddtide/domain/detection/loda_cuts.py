"""Cuts through the features of ``loda``: how they are drawn, and the compiled loops that count and weigh readings
along them.

A *cut* looks at a reading as one number: the sum of a few standardised features, each times its weight. Where that
number lies, in sigmas of the cut, is folded into (-1, 1) by ``v / (1 + |v|)``, so that equally wide bins are narrow in
the middle, ever wider outside, and nothing falls beyond them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["FEATURE", "SPOT", "draw_cuts", "run_cuts"]

# What is kept per feature and, alike, per cut: how many numbers, their mean, their variance. A cut has what is counted
# in its bins beside that.
_COUNT, _MEAN, _VARIANCE, _COUNTED = range(4)
#: How many numbers that is.
FEATURE, SPOT = 3, 4
# In counts, per series: readings seen, readings learnt (those with a feature at all).
_SEEN, _LEARNT = range(2)

_HUGE = 1e150
_TINY = 1e-150
_FLOOR = 1e-6
_SMALLEST_CUT = 1e-6
# Rows of the room to work in, per feature: standardised, then sums over the cuts that use it.
_Z, _USES, _SUM, _SQUARES = range(4)


def draw_cuts(cuts: int, features: int, seed: int) -> tuple[IntArray, FloatArray]:
    """(cuts, m) features and their weights: ``m`` near the root of their number, weights Gaussian, of unit length.
    One feature needs one cut."""
    if features == 1:
        return np.zeros((1, 1), dtype=np.int64), np.ones((1, 1))
    rng = np.random.Generator(np.random.PCG64(seed))
    m = max(2, round(math.sqrt(features)))
    on = np.sort(np.array([rng.permutation(features)[:m] for _ in range(cuts)], dtype=np.int64), axis=1)
    by = rng.normal(size=(cuts, m))
    return on, by / np.sqrt((by**2).sum(axis=1, keepdims=True))


@inlined
def _take(moments: FloatArray, j: int, value: float) -> None:
    """``value`` into the mean and variance of column ``j``."""
    moments[_COUNT, j] += 1.0
    weight = 1.0 / moments[_COUNT, j]
    step = value - moments[_MEAN, j]
    moments[_MEAN, j] += weight * step
    moments[_VARIANCE, j] = (1.0 - weight) * (moments[_VARIANCE, j] + weight * step * step)


@inlined
def _standardise(x: FloatArray, features: FloatArray, most: float, z: FloatArray) -> None:
    """``x`` in sigmas of its series' first window, bounded smoothly by ``most``; NaN for what is missing or unknown."""
    for j in range(len(x)):
        z[j] = math.nan
        if not math.isnan(x[j]) and features[_COUNT, j] > 0.0:
            mean = features[_MEAN, j]
            sigma = max(math.sqrt(features[_VARIANCE, j]), _FLOOR * abs(mean), _TINY)
            far = min(max((min(max(float(x[j]), -_HUGE), _HUGE) - mean) / sigma, -1e9), 1e9)
            z[j] = far / math.sqrt(1.0 + (far / most) * (far / most))


@inlined
def _along(on: IntArray, by: FloatArray, z: FloatArray) -> float:
    """A reading as one cut sees it; NaN where it lacks a feature."""
    total = 0.0
    for i in range(len(on)):
        total += by[i] * z[on[i]]
    return total


@inlined
def _where(spots: FloatArray, k: int, number: float, spread: float) -> float:
    """How many times ``spread`` sigmas of cut ``k`` its ``number`` lies from the mean."""
    sigma = max(math.sqrt(spots[_VARIANCE, k]), _SMALLEST_CUT)
    v: float = (number - spots[_MEAN, k]) / (spread * sigma)
    return v


@inlined
def _bin(v: float, bins: int) -> int:
    return min(int(0.5 * (1.0 + v / (1.0 + abs(v))) * bins), bins - 1)


@inlined
def _weigh(
    cuts: tuple[IntArray, FloatArray],
    spots: FloatArray,
    bins: NDArray[np.float32],
    options: tuple[int, int, float, float, float],
    work: FloatArray,
    against: FloatArray,
) -> float:
    """The mean surprise over the cuts that see the whole of what they look at (NaN: none does); ``against`` gets the
    t-statistic of each feature: how much more surprised the cuts with it are than those without."""
    on, by = cuts
    _window, _memory, prior, spread, _most = options
    n, total, squares = 0.0, 0.0, 0.0
    for k in range(len(on)):
        number = _along(on[k], by[k], work[_Z])
        if math.isnan(number) or spots[_COUNT, k] == 0.0:  # it was never placed
            continue
        v = _where(spots, k, number, spread)
        inside = bins[k, _bin(v, bins.shape[1])] + prior / bins.shape[1]
        surprise = math.log((spots[_COUNTED, k] + prior) / inside) + 2.0 * math.log1p(abs(v))
        surprise = max(surprise, 0.0)
        n += 1.0
        total += surprise
        squares += surprise * surprise
        for i in range(on.shape[1]):
            j = on[k, i]
            work[_USES, j] += 1.0
            work[_SUM, j] += surprise
            work[_SQUARES, j] += surprise * surprise
    if n == 0.0:
        return math.nan
    for j in range(len(against)):
        uses, others = work[_USES, j], n - work[_USES, j]
        if uses > 0.0 and others > 0.0:
            mine, theirs = work[_SUM, j] / uses, (total - work[_SUM, j]) / others
            noise = max(work[_SQUARES, j] / uses - mine * mine, 0.0) / uses
            noise += max((squares - work[_SQUARES, j]) / others - theirs * theirs, 0.0) / others
            against[j] = max(mine - theirs, 0.0) / math.sqrt(noise + 1e-12)
    return total / n


@inlined
def _count(
    cuts: tuple[IntArray, FloatArray],
    spots: FloatArray,
    bins: NDArray[np.float32],
    options: tuple[int, int, float, float, float],
    z: FloatArray,
    placing: bool,
) -> None:
    """Learn a reading along every cut: where it lies, while ``placing``; then into which bin it falls. What is counted
    is halved whenever it reaches twice the memory."""
    on, by = cuts
    for k in range(len(on)):
        number = _along(on[k], by[k], z)
        if math.isnan(number):
            continue
        if placing:
            _take(spots, k, number)
        elif spots[_COUNT, k] > 0.0:
            bins[k, _bin(_where(spots, k, number, options[3]), bins.shape[1])] += 1.0
            spots[_COUNTED, k] += 1.0
            if spots[_COUNTED, k] >= 2.0 * options[1]:
                spots[_COUNTED, k] *= 0.5
                for b in range(bins.shape[1]):
                    bins[k, b] *= 0.5


@bare_kernel
def run_cuts(
    cuts: tuple[IntArray, FloatArray],
    state: tuple[FloatArray, FloatArray, NDArray[np.float32], IntArray],
    slots: IntArray,
    values: FloatArray,
    options: tuple[int, int, float, float, float],
    learning: bool,
    work: FloatArray,
    surprise: FloatArray,
    against: FloatArray,
    seen_before: IntArray,
) -> None:
    """Rows in order: weighed into ``surprise`` (NaN where nothing can be said), then learnt where ``learning``.
    ``state``: features, spots, bins, counts by slot. ``options``: window, memory, prior, spread, most sigmas.
    ``work`` (4, d) is room to work in."""
    features, spots, bins, counts = state
    window = options[0]
    for i in range(len(slots)):
        slot = slots[i]
        x, learnt = values[i], counts[slot, _LEARNT]
        seen_before[i] = counts[slot, _SEEN]
        surprise[i] = math.nan
        known = False
        for j in range(len(x)):
            known = known or not math.isnan(x[j])
            work[_USES, j] = work[_SUM, j] = work[_SQUARES, j] = 0.0
        _standardise(x, features[slot], options[4], work[_Z])
        if learnt >= 3 * window:
            surprise[i] = _weigh(cuts, spots[slot], bins[slot], options, work, against[i])
        if learning:
            counts[slot, _SEEN] += 1
            if known:
                counts[slot, _LEARNT] += 1
                if learnt >= window:
                    _count(cuts, spots[slot], bins[slot], options, work[_Z], learnt < 2 * window)
                else:
                    for j in range(len(x)):
                        if not math.isnan(x[j]):
                            _take(features[slot], j, min(max(float(x[j]), -_HUGE), _HUGE))
