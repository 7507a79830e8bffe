"""The laws of small counts: the state of one series and feature, and the compiled loops that score and learn it.

What it is for, and every policy, is told in ``counts``.
"""

from __future__ import annotations

import math

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["CELL", "FARTHEST", "run_counts"]

#: The largest score: that of the smallest p-value.
FARTHEST = 691.0

# The state of one (slot, feature): whole numbers in a row; readings, and the share of zeros among them; the sizes of
# those above zero: how many, their mean and variance; the run of now: its state (1: zeros, 2: others) and length; how
# often a run of zeros, and of others, goes on; readings far out in a row; how often p-values fall below _RARE, and how
# far; the band; small p-values in a row; the value
# before, and the mean square of steps from one to the next.
_WHOLE, _COUNT, _ZEROS, _SIZED, _MEAN, _VARIANCE, _STATE, _RUN = range(8)
_STAY, _LEFT = 8, 10
_STREAK, _GRADED, _RATE, _DEPTH, _PEAKS, _LOWER, _UPPER, _IN_A_ROW, _LAST, _ROUGH = range(12, 22)
#: How many numbers that is.
CELL = 22

_SMALLEST_P = 1e-300
_HUGE = 1e9
#: Sizes that the geometric law, from which a size's variance starts, is worth.
_PRIOR, _LEANING = 5.0, 20.0
#: Readings' worth of the guess that whether a run goes on is as whether it begins.
_RUN_PRIOR = 2.0
_CLIP = 4.0
#: Least variance of sizes, by their mean, of what is a count: below a Poisson law's by that much it is none.
_EVEN = 0.3
#: Steps that are this much smaller than those of independent readings make a curve, where zeros are few.
_SMOOTH, _FEW_ZEROS = 0.3, 0.3
# P-values below _RARE: the share of them and how much further than an exponential law of surprise they go.
_RARE = 0.01
_RATE_ALPHA, _RATE_PRIOR = 0.002, 100.0
_DEPTH_ALPHA, _DEPTH_PRIOR, _DEPTH_CLIP = 0.05, 5.0, 10.0
# The band moves by so many steps at most; of series older than this, with every so manieth reading.
_STEPS, _YOUNG, _SELDOM = 64, 200.0, 16.0


@inlined
def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (Lentz's method; Press et al., Numerical Recipes)."""
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > 1e-300 else 1e-300)
    h = d
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        d = 1.0 + even * d
        d = 1.0 / (d if abs(d) > 1e-300 else 1e-300)
        c = 1.0 + even / c
        c = c if abs(c) > 1e-300 else 1e-300
        h *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        d = 1.0 + odd * d
        d = 1.0 / (d if abs(d) > 1e-300 else 1e-300)
        c = 1.0 + odd / c
        c = c if abs(c) > 1e-300 else 1e-300
        h *= d * c
        if abs(d * c - 1.0) < 1e-12:
            break
    return h


@inlined
def _beta_share(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function at ``x``; ``rest`` is ``1 - x``, exactly."""
    if x <= 0.0:
        return 0.0
    if rest <= 0.0:
        return 1.0
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(front) * _beta_fraction(a, b, x) / a
    return 1.0 - math.exp(front) * _beta_fraction(b, a, rest) / b


@inlined
def _at_least(y: float, mean: float, power: float) -> float:
    """The probability of at least ``y`` under the negative binomial law with that mean and power (r)."""
    if y <= 0.0:
        return 1.0
    whole = mean + power
    return _beta_share(y, power, mean / whole, power / whole)


@inlined
def _mean(cell: FloatArray) -> float:
    """The mean of sizes beyond one; what was never seen is not impossible."""
    mean: float = (cell[_MEAN] * cell[_SIZED] + 0.5) / (cell[_SIZED] + 1.0)
    return mean


@inlined
def _spread(cell: FloatArray) -> float:
    """Their variance, the doubt about the mean included; the fewer they are, the more it leans on the geometric law."""
    mean, sized = _mean(cell), cell[_SIZED]
    lean = _PRIOR / (1.0 + sized / _LEANING)
    own = (cell[_VARIANCE] * sized + lean * (mean + mean * mean)) / (sized + lean)
    found: float = own * (1.0 + 1.0 / (sized + 1.0))
    return found


@inlined
def _power(cell: FloatArray, mean: float) -> float:
    over = max(_spread(cell) - mean, 1e-6 * mean)
    return min(mean * mean / over, 1e6)


@inlined
def _zero_share(cell: FloatArray) -> float:
    found: float = (cell[_ZEROS] * cell[_COUNT] + 0.5) / (cell[_COUNT] + 1.0)
    return found


@inlined
def _beyond(cell: FloatArray, x: float) -> float:
    """Of sizes above zero: the share of those above ``x``, and half of just that (the middle p-value)."""
    mean = _mean(cell)
    power = _power(cell, mean)
    return 0.5 * (_at_least(x - 1.0, mean, power) + _at_least(x, mean, power))


@inlined
def _run_share(cell: FloatArray, x: float) -> float:
    """How probably a reading ends a run of as many zeros, or others, as ``x`` does: a geometric law whose parameter is
    known as well as the runs that have ended tell it (beta; before them, as if readings were independent)."""
    state = 0 if x <= 0.0 else 1
    share = _zero_share(cell) if state == 0 else 1.0 - _zero_share(cell)
    if cell[_STATE] != state + 1.0:
        return share
    stay = cell[_STAY + state] + _RUN_PRIOR * share
    both = stay + cell[_LEFT + state] + _RUN_PRIOR * (1.0 - share)
    run = cell[_RUN]
    log_share = math.lgamma(stay + run) - math.lgamma(stay) + math.lgamma(both) - math.lgamma(both + run)
    return share * math.exp(min(log_share, 0.0))


@inlined
def _graded(cell: FloatArray, p: float) -> float:
    """``p``, no rarer than the series' own rare readings say."""
    if p >= _RARE:
        return p
    found: float = max(p, cell[_RATE] * math.exp(math.log(p / _RARE) / cell[_DEPTH]), _SMALLEST_P)
    return found


@inlined
def _raw_p(cell: FloatArray, x: float) -> float:
    """Twice the smallest of: how probable it is to be as large, as small, and to go on for as long."""
    zero, run = _zero_share(cell), _run_share(cell, x)
    if x <= 0.0:
        p = 2.0 * min(0.5 * zero, run)
    else:
        beyond = _beyond(cell, x)
        p = 2.0 * min((1.0 - zero) * beyond, zero + (1.0 - zero) * (1.0 - beyond), run)
    return min(max(p, _SMALLEST_P), 1.0)


@inlined
def _too_large(cell: FloatArray, x: float, level: float) -> bool:
    return x > 0.0 and 2.0 * (1.0 - _zero_share(cell)) * _beyond(cell, x) <= level


@inlined
def _too_small(cell: FloatArray, x: float, level: float) -> bool:
    zero = _zero_share(cell)
    below = 0.5 * zero if x <= 0.0 else zero + (1.0 - zero) * (1.0 - _beyond(cell, x))
    return 2.0 * below <= level


@inlined
def _is_count(x: float) -> bool:
    return x >= 0.0 and x <= _HUGE and x == math.floor(x)


@inlined
def _speaks(cell: FloatArray, options: tuple[float, float, float, float, float]) -> bool:
    """Whether the series looks like counts: whole, small, as uneven as counts are, and no curve."""
    if cell[_WHOLE] < options[0] or cell[_MEAN] > options[3]:
        return False
    mean = cell[_MEAN] + 1.0
    zero = cell[_ZEROS]
    variance = (1.0 - zero) * cell[_VARIANCE] + zero * (1.0 - zero) * mean * mean
    if zero < _FEW_ZEROS and cell[_ROUGH] < 2.0 * _SMOOTH * variance:
        return False
    found: bool = zero >= 0.05 or variance >= _EVEN * mean
    return found


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
def _score_cell(
    cell: FloatArray,
    x: float,
    feature: int,
    options: tuple[float, float, float, float, float],
    tally: FloatArray,
    band: FloatArray,
) -> float:
    """The surprise of one feature; ``band``: (expected, lower, upper). ``tally``: how many have a say, which is the
    driver, its p-value, whether anything was said, and the p-value before it is graded."""
    if not _speaks(cell, options):
        return 0.0
    tally[3] = 1.0
    band[0] = (1.0 - _zero_share(cell)) * (1.0 + cell[_MEAN])
    band[1] = min(cell[_LOWER], math.floor(band[0]))
    band[2] = max(cell[_UPPER], math.ceil(band[0]))
    if math.isnan(x):
        return 0.0
    tally[4] = _raw_p(cell, x) if _is_count(x) else 1.0
    p = _graded(cell, tally[4])
    tally[0] += 1.0
    if tally[1] < 0.0 or p < tally[2]:
        tally[1], tally[2] = feature, p
    return abs(math.log(p))


@inlined
def _learn_rare(cell: FloatArray, p: float) -> None:
    """How often p-values are small, and how small. The longer they are in a row, the less they count: it is one event,
    not many."""
    beyond = 1.0 if p < _RARE else 0.0
    say = 1.0 / (1.0 + cell[_IN_A_ROW]) if p < _RARE else 1.0
    cell[_IN_A_ROW] = cell[_IN_A_ROW] + 1.0 if p < _RARE else 0.0
    weight = say * max(_RATE_ALPHA, 1.0 / (cell[_GRADED] + _RATE_PRIOR))
    cell[_RATE] = max(cell[_RATE] + weight * (beyond - cell[_RATE]), _RARE)
    cell[_GRADED] += say
    if p < _RARE:
        cell[_PEAKS] += say
        depth = min(math.log(_RARE / p), _DEPTH_CLIP * cell[_DEPTH])
        weight = say * max(_DEPTH_ALPHA, 1.0 / (cell[_PEAKS] + _DEPTH_PRIOR))
        cell[_DEPTH] = max(cell[_DEPTH] + weight * (depth - cell[_DEPTH]), 1.0)


@inlined
def _learn_run(cell: FloatArray, state: int, memory: float, patience: float) -> None:
    """A run is learnt when it has ended, so that one that lasts does not make itself ordinary; after ``patience`` it
    is learnt, and counted from the beginning."""
    if cell[_STATE] == state + 1.0:
        cell[_RUN] += 1.0
        if cell[_RUN] > patience:
            cell[_STAY + state] += patience
            cell[_RUN] = 1.0
    else:
        before = 1 - state
        if cell[_STATE] > 0.0:
            cell[_STAY + before] += cell[_RUN] - 1.0
            cell[_LEFT + before] += 1.0
        cell[_STATE], cell[_RUN] = state + 1.0, 1.0
    for each in range(2):
        total = cell[_STAY + each] + cell[_LEFT + each]
        if total > memory:
            cell[_STAY + each] *= memory / total
            cell[_LEFT + each] *= memory / total


@inlined
def _learn_size(cell: FloatArray, y: float, sizes: float) -> None:
    """Mean and variance of sizes beyond one, an outlier by no more than _CLIP sigmas, twice as many for each more."""
    step = y - cell[_MEAN]
    if cell[_SIZED] >= 10.0:
        limit = _CLIP * math.sqrt(_spread(cell) + 1.0)
        far = abs(step) > limit
        limit *= 2.0 ** min(cell[_STREAK], 60.0)
        step = min(max(step, -limit), limit)
        cell[_STREAK] = cell[_STREAK] + 1.0 if far else 0.0
    weight = max(1.0 / sizes, 1.0 / (cell[_SIZED] + 1.0))
    cell[_MEAN] = max(cell[_MEAN] + weight * step, 0.0)
    cell[_VARIANCE] = (1.0 - weight) * (cell[_VARIANCE] + weight * step * step)
    cell[_SIZED] = min(cell[_SIZED] + 1.0, sizes)


@inlined
def _move_band(cell: FloatArray, level: float) -> None:
    """The least and the largest count whose p-value is above ``level``: from where they were, a few steps."""
    for _ in range(_STEPS):
        if not _too_large(cell, cell[_UPPER] + 1.0, level):
            cell[_UPPER] += 1.0
        elif _too_large(cell, cell[_UPPER], level):
            cell[_UPPER] -= 1.0
        else:
            break
    for _ in range(_STEPS):
        if cell[_LOWER] > 0.0 and not _too_small(cell, cell[_LOWER] - 1.0, level):
            cell[_LOWER] -= 1.0
        elif cell[_LOWER] < cell[_UPPER] and _too_small(cell, cell[_LOWER], level):
            cell[_LOWER] += 1.0
        else:
            break


@inlined
def _learn_cell(cell: FloatArray, x: float, p: float, options: tuple[float, float, float, float, float]) -> None:
    """``p``: of a reading that was scored just now; else above 1."""
    if not _is_count(x):
        for k in range(CELL):
            cell[k] = 0.0
        return
    if cell[_WHOLE] == 0.0:
        cell[_RATE], cell[_DEPTH] = _RARE, 1.0
    if _speaks(cell, options):
        _learn_rare(cell, p if p <= 1.0 else _raw_p(cell, x))
    step = x - cell[_LAST] if cell[_WHOLE] > 0.0 else 0.0
    cell[_ROUGH] += (step * step - cell[_ROUGH]) / min(max(cell[_WHOLE], 1.0), options[2])
    cell[_LAST] = x
    cell[_WHOLE] += 1.0
    cell[_COUNT] = min(cell[_COUNT] + 1.0, options[1])
    cell[_ZEROS] += ((x <= 0.0) - cell[_ZEROS]) / cell[_COUNT]
    _learn_run(cell, 0 if x <= 0.0 else 1, options[1], options[2])
    if x > 0.0:
        _learn_size(cell, x - 1.0, options[2])
    if _speaks(cell, options) and (cell[_WHOLE] < _YOUNG or cell[_WHOLE] % _SELDOM == 0.0):
        _move_band(cell, options[4])


@bare_kernel
def run_counts(
    cells: FloatArray,
    seen: IntArray,
    slots: IntArray,
    values: FloatArray,
    learning: bool,
    options: tuple[float, float, float, float, float],
    tally: FloatArray,
    out: FloatArray,
    seen_before: IntArray,
    contributions: FloatArray,
    band: FloatArray,
) -> None:
    """Rows in order: scored where ``out`` has room, learnt where ``learning``. Where nothing is said of a row, fewer
    than the warm-up were seen before it. ``options``: (warm-up, memory, sizes, largest, 1 - band); ``tally`` (5,) is to
    work in."""
    scoring = len(out) > 0
    for i in range(len(slots)):
        slot = slots[i]
        tally[0], tally[1], tally[2], tally[3] = 0.0, -1.0, 1.0, 0.0
        for j in range(values.shape[1]):
            x = float(values[i, j])
            tally[4] = 2.0
            if scoring:
                band[:, i, j] = math.nan
                contributions[i, j] = _score_cell(cells[slot, j], x, j, options, tally, band[:, i, j])
            if learning and not math.isnan(x):
                _learn_cell(cells[slot, j], x, tally[4], options)
        if scoring:
            out[i, 1] = min(1.0, max(tally[0], 1.0) * tally[2])
            out[i, 0] = abs(math.log(out[i, 1]))
            seen_before[i] = seen[slot] if tally[3] > 0.0 else min(seen[slot], int(options[0]) - 1)
            if tally[0] > 0.0:
                _share_out(out[i, 0], int(tally[1]), contributions[i])
        if learning:
            seen[slot] += 1
