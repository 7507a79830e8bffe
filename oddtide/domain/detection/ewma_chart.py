"""The chart of the robust EWMA: the state of one series and feature, and the compiled loops that score and learn it.

What it is for, and why it is robust, is told in ``ewma``.
"""

from __future__ import annotations

import math

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined
from oddtide.domain.statistics.pvalues import gaussian_p

__all__ = ["CELL", "FARTHEST", "FLOOR", "run_chart"]

#: The smallest sigma, as a share of the mean; above float32's rounding (6e-8), below any change that matters.
FLOOR = 1e-6
#: The largest score.
FARTHEST = 1e6

# The state of one (slot, feature), by column.
_MEAN, _VARIANCE, _RATE, _EXCESS, _COUNT, _PEAKS, _STREAK, _STRETCH = range(8)
#: How many numbers that is.
CELL = 8

#: Rows looked at ahead.
_AHEAD = 128
_HUGE = 1e150
_TINY = 1e-150
_SMALLEST_P = 1e-300
_SQRT_HALF = math.sqrt(0.5)
# The tail: beyond _PEAK sigmas; how it starts (a Gaussian's share and mean excess there); how fast it is learnt.
_PEAK = 3.0
_RATE_0 = gaussian_p(_PEAK)
_EXCESS_0 = 0.3
_RATE_ALPHA = 0.002
_RATE_PRIOR = 100.0
_EXCESS_ALPHA = 0.05
_EXCESS_PRIOR = 5.0
_EXCESS_CLIP = 10.0
# The stretch: it follows the 95 % point of the distances, which a Gaussian has at _BODY with this density.
_BODY, _BODY_SHARE, _BODY_DENSITY = 1.959964, 0.05, 0.229
_STRETCH_ALPHA, _STRETCH_PRIOR = 0.002, 100.0


@inlined
def _scale(cell: FloatArray) -> float:
    sigma: float = max(math.sqrt(cell[_VARIANCE]), FLOOR * abs(cell[_MEAN]), _TINY)
    return sigma


@inlined
def _p_value(z: float, rate: float, excess: float) -> float:
    tail = rate if z <= _PEAK else rate * math.exp(-(z - _PEAK) / excess)
    return max(math.erfc(z * _SQRT_HALF), tail, _SMALLEST_P)


@inlined
def _expect(
    cell: FloatArray, rate: float, stretch: float, level: float, gaussian_half: float, band: FloatArray
) -> None:
    """``band``: (expected, lower, upper), where the p-value reaches ``level``."""
    half = gaussian_half
    if rate > level:
        half = max(half, _PEAK + cell[_EXCESS] * math.log(rate / level))
    band[0] = cell[_MEAN]
    if half < FARTHEST:
        reach = half * _scale(cell) * stretch
        band[1] = cell[_MEAN] - reach
        band[2] = cell[_MEAN] + reach


@inlined
def _share_out(score: float, driver: int, contributions: FloatArray) -> None:
    """From surprises to shares of the score; all to the driver where nothing is surprising."""
    total = 0.0
    for j in range(len(contributions)):
        total += contributions[j]
    for j in range(len(contributions)):
        if total > 0.0:
            contributions[j] = score * (contributions[j] / total)
        else:
            contributions[j] = score if j == driver else 0.0


@inlined
def _score_row(
    state: FloatArray,
    x: FloatArray,
    options: tuple[float, float, float, float],
    out: FloatArray,
    contributions: FloatArray,
    band: FloatArray,
) -> None:
    """One row: (score, p-value) into ``out``; ``band`` is (3, d): expected, lower, upper."""
    warm_up, adaptive, level, gaussian_half = options
    judged = 0
    out[0], out[1] = 0.0, 1.0
    driver = -1
    for j in range(len(x)):
        cell = state[j]
        contributions[j] = 0.0
        band[:, j] = math.nan
        if cell[_COUNT] < warm_up:
            continue
        rate, stretch = cell[_RATE] * adaptive, math.exp(cell[_STRETCH] * adaptive)
        _expect(cell, rate, stretch, level, gaussian_half, band[:, j])
        if math.isnan(x[j]):
            continue
        value = min(max(float(x[j]), -_HUGE), _HUGE)
        z = min(abs(value - cell[_MEAN]) / _scale(cell), FARTHEST)
        p = _p_value(z / stretch, rate, cell[_EXCESS])
        judged += 1
        contributions[j] = -math.log(p)
        if driver < 0 or p < out[1] or (p == out[1] and z > out[0]):
            out[0], out[1], driver = z, p, j
    if judged > 0:
        out[1] = min(1.0, judged * out[1])
        _share_out(out[0], driver, contributions)


@inlined
def _learn_tail(cell: FloatArray, z: float, warm_up: float) -> None:
    """Move the share of exceedances and their mean excess; neither falls below a Gaussian's by much. Both are of
    distances that the stretch, which makes one in twenty exceed 1.96, has made a Gaussian's in the body."""
    age = cell[_COUNT] - warm_up
    z *= math.exp(-cell[_STRETCH])
    gain = max(_STRETCH_ALPHA, 1.0 / (_BODY_DENSITY * age + _STRETCH_PRIOR))
    cell[_STRETCH] = min(max(cell[_STRETCH] + gain * ((z > _BODY) - _BODY_SHARE), -2.0), 4.0)
    weight = max(_RATE_ALPHA, 1.0 / (age + _RATE_PRIOR))
    beyond = 1.0 if z > _PEAK else 0.0
    cell[_RATE] = max(cell[_RATE] + weight * (beyond - cell[_RATE]), 0.1 * _RATE_0)
    if z > _PEAK:
        cell[_PEAKS] += 1.0
        excess = min(z - _PEAK, _EXCESS_CLIP * cell[_EXCESS])
        weight = max(_EXCESS_ALPHA, 1.0 / (cell[_PEAKS] + _EXCESS_PRIOR))
        cell[_EXCESS] = max(cell[_EXCESS] + weight * (excess - cell[_EXCESS]), _EXCESS_0)


@inlined
def _learn_row(state: FloatArray, x: FloatArray, alpha: float, warm_up: float, clip: float) -> None:
    for j in range(len(x)):
        if math.isnan(x[j]):
            continue
        cell = state[j]
        value = min(max(float(x[j]), -_HUGE), _HUGE)
        if cell[_COUNT] == 0.0:
            cell[_MEAN] = value
            cell[_RATE] = _RATE_0
            cell[_EXCESS] = _EXCESS_0
            cell[_COUNT] = 1.0
            continue
        step = value - cell[_MEAN]
        if cell[_COUNT] >= warm_up:
            scale = _scale(cell)
            z = min(abs(step) / scale, FARTHEST)
            _learn_tail(cell, z, warm_up)
            limit = clip * scale * 2.0 ** min(cell[_STREAK], 60.0)
            step = min(max(step, -limit), limit)
            cell[_STREAK] = cell[_STREAK] + 1.0 if z > clip else 0.0
        weight = max(alpha, 1.0 / (cell[_COUNT] + 1.0))
        cell[_MEAN] += weight * step
        cell[_VARIANCE] = (1.0 - weight) * (cell[_VARIANCE] + weight * step * step)
        cell[_COUNT] += 1.0


@inlined
def _touch(state: FloatArray, seen: IntArray, slots: IntArray, first: int, last: int) -> int:
    """Read what the rows ahead will need, one independently of the other: with a million series that is twice as fast
    as waiting for each when its turn comes. Gives 0, as no count is below it and no mean that large."""
    found = 0
    for i in range(first, last):
        slot = slots[i]
        if seen[slot] < 0 or state[slot, 0, _MEAN] > 2.0 * _HUGE or state[slot, 0, _STREAK] < 0.0:
            found += 1
    return found


@bare_kernel
def run_chart(
    state: FloatArray,
    seen: IntArray,
    slots: IntArray,
    values: FloatArray,
    learning: tuple[float, float],
    options: tuple[float, float, float, float],
    out: FloatArray,
    seen_before: IntArray,
    contributions: FloatArray,
    band: FloatArray,
) -> int:
    """Rows in order: scored where ``out`` has room, learnt where ``learning`` = (alpha, clip) has an alpha above 0.
    Returns how many rows that were."""
    alpha, clip = learning
    scoring = len(out) > 0
    rows = len(slots)
    for i in range(len(slots)):
        if i % _AHEAD == 0:
            rows += _touch(state, seen, slots, i, min(i + _AHEAD, len(slots)))
        slot = slots[i]
        if scoring:
            seen_before[i] = seen[slot]
            _score_row(state[slot], values[i], options, out[i], contributions[i], band[:, i])
        if alpha > 0.0:
            _learn_row(state[slot], values[i], alpha, options[0], clip)
            seen[slot] += 1
    return rows
