"""The tails of SPOT: the state of one series and feature, and the compiled loops that score and learn it.

What it is for, what the policies are and what was measured is told in ``spot``. Either side of a series is a *tail*;
the lower one is the upper one of the values with their sign turned, so that there is one arithmetic for both.
"""

from __future__ import annotations

import math

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["CELL", "EXTREME", "FLOOR", "TAIL", "run_tails"]

#: The smallest scale of a tail, as a share of the level; above float32's rounding (6e-8), below any real change.
FLOOR = 1e-6
#: A reading with a p-value below this is held back: see the policies in ``spot``.
EXTREME = 1e-4

# The state of one (slot, feature). Thresholds, centre and peaks are relative to the level.
_COUNT, _LEVEL, _CENTRE, _AGE, _STREAK, _SUM = range(6)
#: How many numbers that is.
CELL = 6
# The state of one of its two tails.
_THRESHOLD, _RATE, _SHAPE, _SCALE, _PEAKS = range(5)
#: How many numbers that is.
TAIL = 5

_HUGE = 1e150
_TINY = 1e-150
_BEYOND = 1e155
_SMALLEST_P = 1e-300
# The fit: grid points; a normal prior of the shape; what is added to it for its own uncertainty; how heavy it may be.
_GRID = 24
_LIGHTER, _HEAVIER = 0.15, 1.0
_WIDEN = 0.5
_LIGHTEST, _HEAVIEST = -0.25, 1.5
#: How much the number of exceedances kept counts in :func:`_evidence`.
_EVIDENCE_0, _EVIDENCE = 15.0, 0.12
#: A held-back reading counts for at most this many times the distance at which EXTREME is reached.
_CLIP = 1.0
#: With fewer exceedances than this a tail has no scale of its own: its mean excess is all, and they count whole.
_FEW = 5


@inlined
def _mean_log(peaks: FloatArray, k: int, theta: float) -> float:
    """The mean of ``log(1 + theta x)`` over the first ``k``; for an infinite ``theta`` that of ``log x``. One logarithm
    for many factors, as long as their product is far from over- and underflow."""
    total, product = 0.0, 1.0
    for i in range(k):
        factor = peaks[i] if math.isinf(theta) else 1.0 + theta * peaks[i]
        if not 1e-100 < factor < 1e100:
            total += math.log(factor)
            continue
        product *= factor
        if not 1e-100 < product < 1e100:
            total += math.log(product)
            product = 1.0
    return (total + math.log(product)) / k


@inlined
def _fit(peaks: FloatArray, k: int, tail: FloatArray) -> None:
    """Shape and scale of a generalised Pareto tail through the first ``k`` excesses: the posterior mean over a grid of
    the profile likelihood (Zhang and Stephens 2009). Their grid's unit is the lower quartile; half the geometric mean,
    which for exponential excesses is about the same, needs no sorting."""
    mean, largest = 0.0, 0.0
    for i in range(k):
        mean += peaks[i] / k
        largest = max(largest, peaks[i])
    tail[_SHAPE], tail[_SCALE] = _WIDEN / (k + 1.0), mean
    if k < _FEW:
        return
    width = 0.5 * math.exp(_mean_log(peaks, k, math.inf))
    top, weights, sum_theta = -math.inf, 0.0, 0.0
    for j in range(_GRID):
        theta = -1.0 / largest - (1.0 - math.sqrt(_GRID / (j + 0.5))) / (3.0 * width)
        theta = theta if abs(theta) * mean > 1e-9 else 1e-9 / mean  # shape 0 has no theta
        shape = _mean_log(peaks, k, theta)
        scale = shape / theta
        doubt = shape / (_LIGHTER if shape < 0.0 else _HEAVIER)
        likelihood = -k * (math.log(scale / mean) + shape) - 0.5 * doubt * doubt
        if likelihood > top:
            shrink = math.exp(top - likelihood)
            weights, sum_theta, top = weights * shrink, sum_theta * shrink, likelihood
        weight = math.exp(likelihood - top)
        weights += weight
        sum_theta += weight * theta
    theta = sum_theta / weights
    theta = theta if abs(theta) * mean > 1e-9 else 1e-9 / mean
    shape = _mean_log(peaks, k, theta)
    tail[_SHAPE], tail[_SCALE] = min(max(shape + _WIDEN / k, _LIGHTEST), _HEAVIEST), shape / theta


@inlined
def _scale(cell: FloatArray, tail: FloatArray) -> float:
    scale: float = max(tail[_SCALE], FLOOR * abs(cell[_LEVEL] + cell[_CENTRE]), _TINY)
    return scale


@inlined
def _evidence(tail: FloatArray, kept: int) -> float:
    """The power ``m`` in ``(1 + s/m)**-m``, which takes the place of the fitted ``exp(-s)``: what the tail is worth
    when the fit is itself an estimate (exact for exponential excesses, where m is their number)."""
    evidence: float = _EVIDENCE_0 + _EVIDENCE * min(tail[_PEAKS], float(kept))
    return evidence


@inlined
def _p_value(cell: FloatArray, tail: FloatArray, sign: float, sides: float, x: float, kept: int) -> float:
    """The p-value of ``x`` (relative to the level), which lies on this tail's side of the centre."""
    top = min(sides * tail[_RATE], 1.0)
    excess = sign * x - tail[_THRESHOLD]
    if excess > 0.0:
        ratio = excess / _scale(cell, tail)
        shape = tail[_SHAPE]
        if abs(shape) < 1e-9:
            log_p = -ratio
        elif shape * ratio <= -1.0:
            log_p = -math.inf
        else:
            log_p = -math.log1p(shape * ratio) / shape
        evidence = _evidence(tail, kept)
        beyond: float = max(top * math.exp(-evidence * math.log1p(-log_p / evidence)), _SMALLEST_P)
        return beyond
    centre = sign * cell[_CENTRE]
    part = (sign * x - centre) / max(tail[_THRESHOLD] - centre, _TINY)
    p_value: float = top ** min(part, 1.0)
    return p_value


@inlined
def _reach(cell: FloatArray, tail: FloatArray, sign: float, sides: float, level: float, kept: int) -> float:
    """How far beyond the centre the p-value reaches ``level``: the inverse of :func:`_p_value`."""
    top = min(sides * tail[_RATE], 1.0)
    body = tail[_THRESHOLD] - sign * cell[_CENTRE]
    reach: float = body
    if top <= level:
        reach *= math.log(level) / math.log(top)
        return reach
    shape, evidence = tail[_SHAPE], _evidence(tail, kept)
    ratio = evidence * math.expm1(math.log(top / level) / evidence)
    if abs(shape) >= 1e-9:
        ratio = math.expm1(min(shape * ratio, 300.0)) / shape
    reach += ratio * _scale(cell, tail)
    return min(reach, _BEYOND)


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
    cells: FloatArray,
    tails: FloatArray,
    x: FloatArray,
    options: tuple[int, int, int, int, float, float, float, float, float],
    out: FloatArray,
    contributions: FloatArray,
    band: FloatArray,
) -> None:
    """One row: (score, p-value) into ``out``; ``band`` is (3, d): expected, lower, upper."""
    depth, calibration, _patience, kept, _share, upper, lower, sides, level = options
    judged, driver = 0, -1
    out[0], out[1] = 0.0, 1.0
    for j in range(len(x)):
        cell = cells[j]
        contributions[j] = 0.0
        band[:, j] = math.nan
        if cell[_COUNT] < depth + calibration:
            continue
        band[0, j] = cell[_LEVEL] + cell[_CENTRE]
        if lower > 0.0:
            band[1, j] = band[0, j] - _reach(cell, tails[j, 1], -1.0, sides, level, kept)
        if upper > 0.0:
            band[2, j] = band[0, j] + _reach(cell, tails[j, 0], 1.0, sides, level, kept)
        if math.isnan(x[j]):
            continue
        value = min(max(float(x[j]), -_HUGE), _HUGE) - cell[_LEVEL]
        p = 1.0
        if value > cell[_CENTRE] and upper > 0.0:
            p = _p_value(cell, tails[j, 0], 1.0, sides, value, kept)
        elif value < cell[_CENTRE] and lower > 0.0:
            p = _p_value(cell, tails[j, 1], -1.0, sides, value, kept)
        judged += 1
        contributions[j] = -math.log(p)
        if driver < 0 or p < out[1]:
            out[1], driver = p, j
    if judged > 0:
        out[0] = -math.log(out[1])
        out[1] = min(1.0, judged * out[1])
        _share_out(out[0], driver, contributions)


@inlined
def _sort(numbers: FloatArray) -> None:
    for i in range(1, len(numbers)):
        number, hole = numbers[i], i
        while hole > 0 and numbers[hole - 1] > number:
            numbers[hole] = numbers[hole - 1]
            hole -= 1
        numbers[hole] = number


@inlined
def _add_peak(peaks: FloatArray, side: int, kept: int, tail: FloatArray, excess: float) -> int:
    """Keep an excess in the place of the oldest; returns how many there are. ``peaks`` holds ``kept`` upper ones, then
    as many lower ones."""
    peaks[side * kept + int(tail[_PEAKS]) % kept] = max(excess, _TINY)
    tail[_PEAKS] += 1.0
    return min(int(tail[_PEAKS]), kept)


@inlined
def _settle(
    cell: FloatArray,
    tails: FloatArray,
    peaks: FloatArray,
    calibration: int,
    share: float,
    kept: int,
    room: FloatArray,
) -> None:
    """The calibration window, which lies in ``peaks``, becomes thresholds and the first excesses."""
    in_order, ordered = room[0], room[1]
    for i in range(calibration):
        in_order[i] = ordered[i] = peaks[i]
    peaks[:] = 0.0
    _sort(ordered)
    cell[_CENTRE] = ordered[calibration // 2]
    cell[_AGE] = calibration
    beyond = max(int(share * calibration), 1)
    for side in range(2):
        tail, sign = tails[side], 1.0 - 2.0 * side
        tail[_THRESHOLD] = sign * ordered[calibration - 1 - beyond if side == 0 else beyond]
        tail[_SCALE] = tail[_SHAPE] = 0.0
        k, found = 0, 0
        for i in range(calibration):
            if sign * in_order[i] > tail[_THRESHOLD]:
                k = _add_peak(peaks, side, kept, tail, sign * in_order[i] - tail[_THRESHOLD])
                found += 1
        tail[_RATE] = (found + 0.5) / (calibration + 1.0)
        if k > 0:
            _fit(peaks[side * kept : side * kept + k], k, tail)


@inlined
def _hold_back(cell: FloatArray, value: float, side: int, patience: int) -> bool:
    """Count a reading too far out to be learnt as it is; true for the first of an excursion, which is learnt clipped.
    After ``patience`` on one side the level moves to their mean."""
    streak = 1.0 - 2.0 * side
    if cell[_STREAK] * streak <= 0.0:
        cell[_STREAK] = cell[_SUM] = 0.0
    cell[_STREAK] += streak
    cell[_SUM] += value
    if abs(cell[_STREAK]) >= patience:
        cell[_LEVEL] += cell[_SUM] / patience - cell[_CENTRE]
        cell[_AGE] = patience
        cell[_STREAK] = cell[_SUM] = 0.0
        return False
    return bool(abs(cell[_STREAK]) == 1.0)


@inlined
def _follow(cell: FloatArray, tails: FloatArray, peaks: FloatArray, value: float, share: float, kept: int) -> None:
    """Move rates, thresholds and centre by one reading; keep its excess."""
    slow = share / kept
    weight, gain = max(slow, 1.0 / (cell[_COUNT] + 1.0)), max(slow, 1.0 / (cell[_AGE] + 1.0))
    spread = tails[0, _THRESHOLD] + tails[1, _THRESHOLD]
    step = gain * 0.4 * spread
    centre = cell[_CENTRE] + min(max(value - cell[_CENTRE], -step), step)
    for side in range(2):
        tail, sign = tails[side], 1.0 - 2.0 * side
        excess = sign * value - tail[_THRESHOLD]
        beyond = 1.0 if excess > 0.0 else 0.0
        tail[_RATE] = max(tail[_RATE] + weight * (beyond - tail[_RATE]), 0.1 * slow)
        if excess > 0.0:
            k = _add_peak(peaks, side, kept, tail, excess)
            _fit(peaks[side * kept : side * kept + k], k, tail)
        # Newton's step towards the quantile: the density at a threshold is the share beyond it over the scale.
        step = gain * (beyond - share) / share * tail[_SCALE]
        tail[_THRESHOLD] += min(max(step, min(excess, 0.0)), max(excess, 0.0))
        tail[_THRESHOLD] = max(tail[_THRESHOLD], sign * centre)
    cell[_CENTRE] = centre
    cell[_AGE] += 1.0


@inlined
def _learn(
    cell: FloatArray,
    tails: FloatArray,
    peaks: FloatArray,
    x: float,
    options: tuple[int, int, int, int, float, float, float, float, float],
    room: FloatArray,
) -> None:
    depth, calibration, patience, kept, share, _upper, _lower, _sides, _level = options
    count = int(cell[_COUNT])
    value = min(max(x, -_HUGE), _HUGE) - cell[_LEVEL]
    cell[_COUNT] += 1.0
    if depth <= count < depth + calibration:
        peaks[count - depth] = value
        if count + 1 == depth + calibration:
            _settle(cell, tails, peaks, calibration, share, kept, room)
    elif count >= depth:
        side = 0 if value >= cell[_CENTRE] else 1
        sign = 1.0 - 2.0 * side
        if value != cell[_CENTRE] and _p_value(cell, tails[side], sign, 2.0, value, kept) < EXTREME:
            if not _hold_back(cell, value, side, patience):
                return
            if tails[side, _PEAKS] >= _FEW:
                reach = _CLIP * _reach(cell, tails[side], sign, 2.0, EXTREME, kept)
                value = cell[_CENTRE] + min(max(value - cell[_CENTRE], -reach), reach)
        else:
            cell[_STREAK] = cell[_SUM] = 0.0
        _follow(cell, tails, peaks, value, share, kept)
    if depth > 0:
        cell[_LEVEL] += value * max(2.0 / (depth + 1.0), 1.0 / (count + 1.0))


@bare_kernel
def run_tails(
    cells: FloatArray,
    tails: FloatArray,
    peaks: FloatArray,
    seen: IntArray,
    slots: IntArray,
    values: FloatArray,
    learning: bool,
    options: tuple[int, int, int, int, float, float, float, float, float],
    room: FloatArray,
    out: FloatArray,
    seen_before: IntArray,
    contributions: FloatArray,
    band: FloatArray,
) -> None:
    """Rows in order: scored where ``out`` has room, learnt where ``learning``. ``options``: (depth, calibration,
    patience, share, upper watched, lower watched, how many are, 1 - band); ``room`` (2, calibration) is to work in."""
    scoring = len(out) > 0
    for i in range(len(slots)):
        slot = slots[i]
        if scoring:
            seen_before[i] = seen[slot]
            _score_row(cells[slot], tails[slot], values[i], options, out[i], contributions[i], band[:, i])
        if learning:
            for j in range(values.shape[1]):
                if not math.isnan(values[i, j]):
                    _learn(cells[slot, j], tails[slot, j], peaks[slot, j], float(values[i, j]), options, room)
            seen[slot] += 1
