"""The profile of a day and of a week: the state of one series and feature, and the compiled loops over it.

What it is for, and every policy, is told in ``seasonal``. A profile is a ring of bins, read by linear interpolation.
What a stay in a bin taught is put in only when the series has left it, so that a bin never says what it heard a moment
ago: otherwise any slow series would seem to have a season.
"""

from __future__ import annotations

import math

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined
from oddtide.domain.statistics.pvalues import gaussian_p

__all__ = ["CELL", "FARTHEST", "FLOOR", "HOURS", "MODEL", "ROOM", "run_profile"]

#: The smallest sigma, as a share of the expected value.
FLOOR = 1e-6
#: The largest score.
FARTHEST = 1e6
#: Bins of a day in the profile of a week.
HOURS = 24

# The state of one (slot, feature): times in seconds, ages in days, squared errors of the model that knows only a level
# (0), the day (1), the day and the week (2).
_COUNT, _LAST, _AGE, _LEVEL, _BROAD = range(5)
_LEVEL_1, _LEVEL_2, _TESTED, _ERROR_0, _ERROR_1, _ERROR_2, _SPREAD, _STREAK = range(5, 13)
#: 0: no season, 1: of the day, 2: of the week too.
MODEL = 13
_GRADED, _STRETCH, _TAILED, _RATE, _EXCESS, _PEAKS = range(14, 20)
# The stay of now, in a ring's bins (I) and (J): each one's number from 1 on, what it heard, and for how long.
_DAY_STAY, _WEEK_STAY = 20, 26
_I, _J, _HEARD_I, _HEARD_J, _LONG_I, _LONG_J = range(6)
#: How many numbers that is.
CELL = 32

# What is foreseen of one reading.
_AT_I, _AT_J, _PART, _HOUR_I, _HOUR_J, _HOUR_PART, _KNOWN, _DAILY, _WEEK, _WEEK_RAW, _RATIO = range(11)
#: How many numbers that is.
ROOM = 11

_DAY = 86_400.0
_DAY_NS = 86_400_000_000_000.0
_SECOND_NS = 1_000_000_000.0
_HUGE = 1e30
_TINY = 1e-30
_SMALLEST_P = 1e-300
_SQRT_HALF = math.sqrt(0.5)
#: No reading stands for longer than this, in days; readings closer than _CLOSE seconds share one's say about tails.
_LONGEST = 1.0 / 24.0
_CLOSE = 300.0
# Memories: visits of a bin of the day, of the week; days of the errors that are compared, and of the scale.
_DAYS, _WEEKS = 21.0, 8.0
_COMPARED, _SCALED = 7.0, 14.0
#: Visits that a bin's own scale, and an hour's departure from the day, are held against.
_RATIO_PRIOR, _WEEK_PRIOR = 8.0, 1.0
#: An error counts for at most this many times the level's.
_WILD = 5.0
#: Days tested before a weekly profile is looked at, and what it must gain.
_FORTNIGHT, _GAIN = 13.0, 0.95
#: Days tested before the scale is believed.
_SCALE_KNOWN = 0.25
# The tail: beyond _PEAK sigmas; how it starts (a Gaussian's share and mean log excess there); how fast it is learnt.
_PEAK = 3.0
_RATE_0, _RATE_ALPHA, _RATE_PRIOR = gaussian_p(_PEAK), 0.002, 100.0
_EXCESS_0, _EXCESS_ALPHA, _EXCESS_PRIOR, _EXCESS_CLIP = 0.09, 0.05, 5.0, 10.0
_FEWEST_PEAKS, _MOST_PEAKS, _FORGET = 16.0, 30.0, 0.0005
# The stretch: it follows the 95 % point of the distances, which a Gaussian has at _BODY with this density.
_BODY, _BODY_SHARE, _BODY_DENSITY = 1.959964, 0.05, 0.229
_STRETCH_ALPHA, _STRETCH_PRIOR = 0.004, 50.0


@inlined
def _foresee(
    cell: FloatArray, means: FloatArray, shape: FloatArray, week: FloatArray, when: IntArray, ahead: FloatArray
) -> None:
    """What the profiles say of a moment: ``when`` is its time of day, and the kinds of that day and the next."""
    bins = len(means)
    place = min(when[0] / _DAY_NS * bins, bins - 1e-9)
    i = int(place)
    j = (i + 1) % bins
    part = place - i
    weight_i = (1.0 - part) * (shape[i, 0] >= 0.5)
    weight_j = part * (shape[j, 0] >= 0.5)
    known = weight_i + weight_j
    ahead[_AT_I], ahead[_AT_J], ahead[_PART], ahead[_KNOWN] = i, j, part, 0.0
    ahead[_DAILY] = 0.0
    if known >= 0.5:
        ahead[_KNOWN] = 1.0
        ahead[_DAILY] = (weight_i * means[i] + weight_j * means[j]) / known
    ahead[_RATIO] = 1.0 + (1.0 - part) * float(shape[i, 1]) + part * float(shape[j, 1])
    place = min(when[0] / _DAY_NS * HOURS, HOURS - 1e-9)
    hour = int(place)
    part = place - hour
    i = when[1] * HOURS + hour
    j = i + 1 if hour < HOURS - 1 else when[2] * HOURS
    ahead[_HOUR_I], ahead[_HOUR_J], ahead[_HOUR_PART] = i, j, part
    left, right = float(week[i, 0]), float(week[j, 0])
    ahead[_WEEK_RAW] = (1.0 - part) * left + part * right
    left *= float(week[i, 1]) / (float(week[i, 1]) + _WEEK_PRIOR)
    right *= float(week[j, 1]) / (float(week[j, 1]) + _WEEK_PRIOR)
    ahead[_WEEK] = (1.0 - part) * left + part * right


@inlined
def _centre(cell: FloatArray, ahead: FloatArray) -> float:
    centre: float = ahead[_DAILY] + cell[_LEVEL_1]
    if cell[MODEL] > 1.0:
        centre = ahead[_DAILY] + ahead[_WEEK] + cell[_LEVEL_2]
    return centre


@inlined
def _scale(cell: FloatArray, ahead: FloatArray, centre: float) -> float:
    sigma: float = math.sqrt(cell[_SPREAD] * ahead[_RATIO])
    return max(sigma, FLOOR * abs(centre), _TINY)


@inlined
def _tail(cell: FloatArray, z: float) -> float:
    """The share of distances beyond ``z >= _PEAK``: Pareto, its index being the mean log excess of as many distances
    as ``k`` (exact, then, for Pareto tails)."""
    k = min(cell[_PEAKS], _MOST_PEAKS) + _FEWEST_PEAKS
    tail: float = cell[_RATE] * math.exp(-k * math.log1p(math.log(z / _PEAK) / (k * cell[_EXCESS])))
    return tail


@inlined
def _p_value(cell: FloatArray, z: float) -> float:
    tail = cell[_RATE] if z <= _PEAK else _tail(cell, z)
    return max(math.erfc(z * _SQRT_HALF), tail, _SMALLEST_P)


@inlined
def _half_width(cell: FloatArray, level: float, gaussian_half: float) -> float:
    """Where the p-value reaches ``level``."""
    if cell[_RATE] <= level:
        return gaussian_half
    k = min(cell[_PEAKS], _MOST_PEAKS) + _FEWEST_PEAKS
    log_excess = k * cell[_EXCESS] * math.expm1(math.log(cell[_RATE] / level) / k)
    return max(gaussian_half, _PEAK * math.exp(min(log_excess, 50.0)))


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
def _score_cell(cell: FloatArray, ahead: FloatArray, x: float, level: float, half: float, band: FloatArray) -> float:
    """How many sigmas ``x`` is off; NaN where there is nothing to say. ``band``: (expected, lower, upper)."""
    if cell[MODEL] == 0.0 or ahead[_KNOWN] == 0.0:
        return math.nan
    centre = _centre(cell, ahead)
    unit = _scale(cell, ahead, centre) * math.exp(cell[_STRETCH])
    half = _half_width(cell, level, half)
    band[0] = centre
    if half < FARTHEST:
        band[1], band[2] = centre - half * unit, centre + half * unit
    if math.isnan(x):
        return math.nan
    return min(abs(min(max(x, -_HUGE), _HUGE) - centre) / unit, FARTHEST)


@inlined
def _settle(cell: FloatArray, stay: int, which: int, means: FloatArray, counts: FloatArray, most: float) -> None:
    """Put what a stay taught into its bin."""
    long = cell[stay + _LONG_I + which]
    if long > 0.0:
        bin = int(cell[stay + _I + which]) - 1
        weight = float(counts[bin]) + long
        means[bin] = float(means[bin]) + cell[stay + _HEARD_I + which] / weight
        counts[bin] = min(weight, most)
    cell[stay + _LONG_I + which] = 0.0
    cell[stay + _HEARD_I + which] = 0.0


@inlined
def _move(
    cell: FloatArray, stay: int, i: float, j: float, same: bool, means: FloatArray, counts: FloatArray, most: float
) -> None:
    """Where the series is now: bins ``i`` and ``j``; what it has left is settled. ``same``: the visit goes on."""
    if same and cell[stay + _I] == i + 1.0 and cell[stay + _J] == j + 1.0:
        return
    _settle(cell, stay, 0, means, counts, most)
    if same and cell[stay + _J] == i + 1.0:
        cell[stay + _LONG_I], cell[stay + _HEARD_I] = cell[stay + _LONG_J], cell[stay + _HEARD_J]
        cell[stay + _LONG_J], cell[stay + _HEARD_J] = 0.0, 0.0
    else:
        _settle(cell, stay, 1, means, counts, most)
    cell[stay + _I], cell[stay + _J] = i + 1.0, j + 1.0


@inlined
def _hear(cell: FloatArray, stay: int, part: float, long: float, to_i: float, to_j: float) -> None:
    cell[stay + _LONG_I] += (1.0 - part) * long
    cell[stay + _HEARD_I] += (1.0 - part) * long * to_i
    cell[stay + _LONG_J] += part * long
    cell[stay + _HEARD_J] += part * long * to_j


@inlined
def _learn_stretch(cell: FloatArray, distance: float, say: float) -> float:
    """The stretch that makes one distance in twenty exceed 1.96. Returns the distance, stretched as it was before."""
    z = min(distance * math.exp(-cell[_STRETCH]), FARTHEST)
    gain = say * max(_STRETCH_ALPHA, 1.0 / (_BODY_DENSITY * cell[_GRADED] + _STRETCH_PRIOR))
    step = gain * ((z > _BODY) - _BODY_SHARE)
    cell[_STRETCH] = min(max(cell[_STRETCH] + step, -2.0), 4.0)
    cell[_GRADED] += say
    return z


@inlined
def _learn_tail(cell: FloatArray, z: float, say: float) -> None:
    """The share of distances beyond 3 and the mean log excess there, which is forgotten where none comes. The longer
    an excursion lasts, the less it counts: it is one, not many."""
    beyond = z > _PEAK
    if beyond:
        say /= 1.0 + cell[_STREAK]
    weight = say * max(_RATE_ALPHA, 1.0 / (cell[_TAILED] + _RATE_PRIOR))
    cell[_RATE] = max(cell[_RATE] + weight * (beyond - cell[_RATE]), 0.1 * _RATE_0)
    cell[_TAILED] += say
    if beyond:
        cell[_PEAKS] += say
        excess = min(math.log(z / _PEAK), _EXCESS_CLIP * cell[_EXCESS])
        weight = say * max(_EXCESS_ALPHA, 1.0 / (cell[_PEAKS] + _EXCESS_PRIOR))
        cell[_EXCESS] = max(cell[_EXCESS] + weight * (excess - cell[_EXCESS]), _EXCESS_0)
    else:
        cell[_EXCESS] += say * _FORGET * (_EXCESS_0 - cell[_EXCESS])


@inlined
def _choose(cell: FloatArray, options: tuple[float, float, float, float, float]) -> None:
    """Whether there is a season, and of what: by errors made on readings not yet learnt. What is chosen has to lose
    more clearly before it is given up."""
    _level, _half, cycles, need, forced = options
    if cell[_TESTED] < cycles - 1.0:
        return
    model, best = 1.0, cell[_ERROR_1]
    gain = 1.0 if cell[MODEL] > 1.0 else _GAIN
    if forced != 1.0 and cell[_TESTED] >= _FORTNIGHT and (forced == 2.0 or cell[_ERROR_2] < gain * best):
        model, best = 2.0, cell[_ERROR_2]
    enough = 1.0 - (need if cell[MODEL] == 0.0 else 0.5 * need)
    cell[MODEL] = model if forced > 0.0 or best < enough * cell[_ERROR_0] else 0.0


@inlined
def _test(
    cell: FloatArray, ahead: FloatArray, x: float, cap: float, day: float, say: float, clip: float, cycles: float
) -> float:
    """A reading whose time of day is known: errors, levels, scale and tails. Returns how far errors may reach where the
    profiles are concerned."""
    centre = _centre(cell, ahead)
    error = x - centre
    errors = x - cell[_LEVEL], x - ahead[_DAILY] - cell[_LEVEL_1], x - ahead[_DAILY] - ahead[_WEEK] - cell[_LEVEL_2]
    weight = day / min(cell[_TESTED] + day, _COMPARED)
    cell[_ERROR_0] += weight * (min(errors[0] * errors[0], cap) - cell[_ERROR_0])
    cell[_ERROR_1] += weight * (min(errors[1] * errors[1], cap) - cell[_ERROR_1])
    cell[_ERROR_2] += weight * (min(errors[2] * errors[2], cap) - cell[_ERROR_2])
    limit = math.sqrt(cap)
    square = min(error * error, cap)
    if cell[_TESTED] >= _SCALE_KNOWN:
        sigma = _scale(cell, ahead, centre)
        distance = abs(error) / sigma
        z = _learn_stretch(cell, distance, say)
        if cell[_TESTED] >= cycles - 1.0:
            _learn_tail(cell, z, say)
        cell[_STREAK] = cell[_STREAK] + day * 24.0 if distance > clip else 0.0
        limit = clip * sigma
        square = min(error * error, limit * limit)
    # a level that has moved is followed: each three hours beyond the limit double it
    reach = limit * 2.0 ** min(cell[_STREAK] / 3.0, 60.0)
    cell[_LEVEL_1] += day * min(max(errors[1], -reach), reach)
    cell[_LEVEL_2] += day * min(max(errors[2], -reach), reach)
    weight = day / min(cell[_TESTED] + day, _SCALED)
    cell[_SPREAD] += weight * (square / ahead[_RATIO] - cell[_SPREAD])
    cell[_TESTED] += day
    return limit


@inlined
def _learn_cell(
    cell: FloatArray,
    means: FloatArray,
    shape: FloatArray,
    week: FloatArray,
    ahead: FloatArray,
    moment: float,
    value: float,
    clip: float,
    options: tuple[float, float, float, float, float],
) -> None:
    x = min(max(value, -_HUGE), _HUGE)
    apart = moment - cell[_LAST]
    if cell[_COUNT] == 0.0:
        cell[_LEVEL], apart = x, 0.0
        cell[_RATE], cell[_EXCESS] = _RATE_0, 1.1 * _EXCESS_0
    elif apart <= 0.0:
        return
    cell[_COUNT] += 1.0
    cell[_LAST] = moment
    if apart == 0.0:
        return
    day = min(apart / _DAY, _LONGEST)
    say = min(apart / _CLOSE, 1.0)
    error = x - cell[_LEVEL]
    cap = _WILD * _WILD * cell[_BROAD] if cell[_COUNT] > 20.0 and cell[_BROAD] > 0.0 else _HUGE * _HUGE
    known = ahead[_KNOWN] > 0.0
    limit = math.sqrt(cap)
    if known:
        limit = _test(cell, ahead, x, cap, day, say, clip, options[2])
        _choose(cell, options)
    cell[_BROAD] += day / min(cell[_AGE] + day, _COMPARED) * (min(error * error, cap) - cell[_BROAD])
    reach = math.sqrt(cap)
    cell[_LEVEL] += day / min(cell[_AGE] + day, 1.0) * min(max(error, -reach), reach)
    cell[_AGE] += day
    _learn_profiles(cell, means, shape, week, ahead, x, apart, limit)


@inlined
def _learn_profiles(
    cell: FloatArray,
    means: FloatArray,
    shape: FloatArray,
    week: FloatArray,
    ahead: FloatArray,
    x: float,
    apart: float,
    limit: float,
) -> None:
    i, j, part = int(ahead[_AT_I]), int(ahead[_AT_J]), ahead[_PART]
    width = _DAY / len(means)
    same = apart < 2.0 * width
    _move(cell, _DAY_STAY, i, j, same, means, shape[:, 0], _DAYS)
    long = min(apart / width, 1.0)
    bare = x - cell[_LEVEL_1]
    error = bare - ahead[_DAILY]
    young = min(float(shape[i, 0]), float(shape[j, 0]))
    reach = limit * (1.0 + 3.0 / max(young, 0.1))
    error = min(max(error, -reach), reach)
    to_i = error if shape[i, 0] > 0.0 else bare
    to_j = error if shape[j, 0] > 0.0 else bare
    _hear(cell, _DAY_STAY, part, long, to_i, to_j)
    if ahead[_KNOWN] == 0.0:
        return
    if cell[_TESTED] >= _SCALE_KNOWN:  # how much wider than on average it is at this hour
        unit = max(cell[_SPREAD], _TINY * _TINY)
        square = min(error * error / unit, 9.0 * ahead[_RATIO]) - ahead[_RATIO]
        gain = long * (1.0 - part) / (float(shape[i, 0]) + _RATIO_PRIOR)
        shape[i, 1] = max(float(shape[i, 1]) + gain * square, -0.99)
        gain = long * part / (float(shape[j, 0]) + _RATIO_PRIOR)
        shape[j, 1] = max(float(shape[j, 1]) + gain * square, -0.99)
    i, j, part = int(ahead[_HOUR_I]), int(ahead[_HOUR_J]), ahead[_HOUR_PART]
    _move(cell, _WEEK_STAY, i, j, apart < 2.0 * _DAY / HOURS, week[:, 0], week[:, 1], _WEEKS)
    error = x - ahead[_DAILY] - ahead[_WEEK_RAW] - cell[_LEVEL_2]
    reach = limit * (1.0 + 3.0 / max(min(float(week[i, 1]), float(week[j, 1])), 0.1))
    error = min(max(error, -reach), reach)
    _hear(cell, _WEEK_STAY, part, min(apart * HOURS / _DAY, 1.0), error, error)


@inlined
def _count_in(cell: FloatArray, z: float, feature: int, tally: FloatArray) -> float:
    """The surprise of one feature, 0 where it has no say. ``tally``: how many have one, which is the driver, its
    p-value and its distance."""
    if math.isnan(z):
        return 0.0
    p = _p_value(cell, z)
    tally[0] += 1.0
    if tally[1] < 0.0 or p < tally[2] or (p == tally[2] and z > tally[3]):
        tally[1], tally[2], tally[3] = feature, p, z
    return -math.log(p)


@inlined
def _speaks(expected: FloatArray) -> bool:
    """Whether anything was expected of any feature."""
    said = False
    for j in range(len(expected)):
        said |= not math.isnan(expected[j])
    return said


@bare_kernel
def run_profile(
    state: tuple[FloatArray, FloatArray, FloatArray, FloatArray, IntArray],
    slots: IntArray,
    times: IntArray,
    when: IntArray,
    values: FloatArray,
    learning: tuple[bool, float, int],
    options: tuple[float, float, float, float, float],
    ahead: FloatArray,
    tally: FloatArray,
    out: FloatArray,
    seen_before: IntArray,
    contributions: FloatArray,
    band: FloatArray,
) -> None:
    """Rows in order: scored where ``out`` has room, learnt where ``learning`` = (whether, clip, warm-up) says so. Where
    nothing is said of a row, fewer than the warm-up were seen before it.
    ``options``: (1 - band, its Gaussian half width, cycles needed, share explained needed, a model that is forced);
    ``ahead`` (ROOM,) and ``tally`` (4,) are to work in."""
    cells, means, shapes, weeks, seen = state
    learn, clip, warm_up = learning
    scoring = len(out) > 0
    for i in range(len(slots)):
        slot = slots[i]
        tally[0], tally[1], tally[2], tally[3] = 0.0, -1.0, 1.0, 0.0
        for j in range(values.shape[1]):
            cell, x = cells[slot, j], float(values[i, j])
            _foresee(cell, means[slot, j], shapes[slot, j], weeks[slot, j], when[i], ahead)
            if scoring:
                contributions[i, j] = 0.0
                band[:, i, j] = math.nan
                if seen[slot] >= warm_up:
                    z = _score_cell(cell, ahead, x, options[0], options[1], band[:, i, j])
                    contributions[i, j] = _count_in(cell, z, j, tally)
            if learn and not math.isnan(x):
                moment = times[i] / _SECOND_NS
                _learn_cell(cell, means[slot, j], shapes[slot, j], weeks[slot, j], ahead, moment, x, clip, options)
        if scoring:
            seen_before[i] = seen[slot] if _speaks(band[0, i]) else min(seen[slot], warm_up - 1)
            out[i, 0], out[i, 1] = tally[3], min(1.0, max(tally[0], 1.0) * tally[2])
            if tally[0] > 0.0:
                _share_out(tally[3], int(tally[1]), contributions[i])
        if learn:
            seen[slot] += 1
