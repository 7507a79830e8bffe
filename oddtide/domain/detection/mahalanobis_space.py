"""The space in which ``mahalanobis`` measures distance: a series' reference, its whitening matrix, and the compiled
loops that measure and learn.

A series has ``cells`` (ROWS, d), one number per feature a row (named below), and ``matrix`` (d, d): above the diagonal
and on it the covariance, below it the whitening matrix ``W``, whose diagonal is the row ``_ROOT``. ``W`` is the
symmetric root of the inverse of the shrunk correlation matrix, so that ``|W z|**2`` is the squared distance of the
standardised ``z``. Why it is measured so is told in ``mahalanobis``; the laws of the distance are in
``mahalanobis_laws``.
"""

from __future__ import annotations

import math

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["FARTHEST", "FLOOR", "LAW", "ROWS", "run_space"]

#: The smallest sigma, as a share of the mean; above float32's rounding (6e-8), below any change that matters.
FLOOR = 1e-6
#: The farthest that one feature counts before it is bounded, in sigmas.
FARTHEST = 1e6

# What is kept per feature: the reference's mean, the smoothed value, the reference's sigma, readings so far, the mean
# squared step of the smoothed value, the diagonals of W W and of W, the variance of what the explanation leaves over
# and how often that was seen.
_MEAN, _LEVEL, _SIGMA, _KNOWN, _STEP, _STIFF, _ROOT, _REST, _RESTS = range(9)
#: How many numbers that is.
ROWS = 9

# What is kept per series about its reference: readings in it, how many independent ones they are worth, by how much
# the uncertain mean widens a distance, and after how many readings the next is news.
_SIZE, _WORTH, _WIDER, _APART = range(4)
#: How many numbers that is.
LAW = 4

# In counts, per series: readings seen, readings learnt, the number learnt at which the next factoring is due.
_SEEN, _LEARNT, _DUE = range(3)

_HUGE = 1e150
_TINY = 1e-150
_SWEEPS = 20
_CALM = 1e-22
_MOST_APART = 50.0
_REST_WEIGHT = 0.002
_REST_CLIP = 4.0
_RESTS_NEEDED = 20.0
# Rows of the room to work in: smoothed values, sigmas, whitened, whitened twice, whether a feature has a say, the
# numbers of those that have none.
_NOW, _Z, _WHITE, _PULL, _SAYS, _GONE = range(6)


@inlined
def _smooth(x: FloatArray, cells: FloatArray, alpha: float, work: FloatArray) -> int:
    """The smoothed values after ``x`` into ``work``; returns how many features are known now."""
    known = 0
    for j in range(len(x)):
        level, count = cells[_LEVEL, j], cells[_KNOWN, j]
        work[_SAYS, j] = 0.0
        if not math.isnan(x[j]):
            value = min(max(float(x[j]), -_HUGE), _HUGE)
            level += max(alpha, 1.0 / (count + 1.0)) * (value - level)
            work[_SAYS, j] = 1.0
            known += 1
        work[_NOW, j] = level
    return known


@inlined
def _standardise(cells: FloatArray, size: float, work: FloatArray) -> int:
    """From smoothed values to bounded sigmas; returns how many features have a say."""
    say = 0
    for j in range(cells.shape[1]):
        work[_Z, j] = 0.0
        if cells[_KNOWN, j] == 0.0:
            work[_SAYS, j] = 0.0
        if work[_SAYS, j] > 0.0:
            z = min(max((work[_NOW, j] - cells[_MEAN, j]) / cells[_SIGMA, j], -FARTHEST), FARTHEST)
            work[_Z, j] = z / math.sqrt(1.0 + z * z / size)
            say += 1
    return say


@inlined
def _whiten(cells: FloatArray, matrix: FloatArray, source: FloatArray, into: FloatArray) -> None:
    """``into = W source``."""
    for i in range(len(source)):
        into[i] = cells[_ROOT, i] * source[i]
    for i in range(1, len(source)):
        total, own = 0.0, source[i]
        for j in range(i):
            total += matrix[i, j] * source[j]
            into[j] += matrix[i, j] * own
        into[i] += total


@inlined
def _entry(cells: FloatArray, matrix: FloatArray, i: int, j: int) -> float:
    """``W[i, j]``."""
    entry: float = cells[_ROOT, i] if i == j else matrix[max(i, j), min(i, j)]
    return entry


@inlined
def _factor_missing(cells: FloatArray, matrix: FloatArray, gone: FloatArray, m: int, room: FloatArray) -> None:
    """Cholesky's factor of ``W W`` between the ``m`` features numbered in ``gone``, into the head of ``room``."""
    for a in range(m):
        for b in range(a + 1):
            total = 0.0
            for k in range(cells.shape[1]):
                total += _entry(cells, matrix, int(gone[a]), k) * _entry(cells, matrix, int(gone[b]), k)
            for k in range(b):
                total -= room[a, k] * room[b, k]
            room[a, b] = math.sqrt(max(total, 1e-12)) if a == b else total / room[b, b]


@inlined
def _fill(cells: FloatArray, matrix: FloatArray, work: FloatArray, room: FloatArray) -> None:
    """Put into ``z``, where a feature has no say, what the others lead to expect: the distance is then that of the
    others alone. Solves ``P_mm z_m = -P_mo z_o`` (``P = W W``, m: missing, o: not)."""
    gone, z = work[_GONE], work[_Z]
    m = 0
    for j in range(cells.shape[1]):
        if work[_SAYS, j] == 0.0:
            gone[m] = j
            m += 1
    _factor_missing(cells, matrix, gone, m, room)
    _whiten(cells, matrix, z, work[_WHITE])
    _whiten(cells, matrix, work[_WHITE], work[_PULL])
    for a in range(m):
        total = -work[_PULL, int(gone[a])]
        for k in range(a):
            total -= room[a, k] * z[int(gone[k])]
        z[int(gone[a])] = total / room[a, a]
    for a in range(m - 1, -1, -1):
        total = z[int(gone[a])]
        for k in range(a + 1, m):
            total -= room[k, a] * z[int(gone[k])]
        z[int(gone[a])] = total / room[a, a]


@inlined
def _measure(
    cells: FloatArray, matrix: FloatArray, say: int, work: FloatArray, room: FloatArray, shares: FloatArray
) -> float:
    """The squared distance; ``shares`` gets each feature's part in it."""
    if say < cells.shape[1]:
        _fill(cells, matrix, work, room)
    _whiten(cells, matrix, work[_Z], work[_WHITE])
    _whiten(cells, matrix, work[_WHITE], work[_PULL])
    distance = 0.0
    for j in range(cells.shape[1]):
        square = work[_WHITE, j] * work[_WHITE, j]
        distance += square
        shares[j] = square if work[_SAYS, j] > 0.0 else 0.0
    return distance


@inlined
def _expect(cells: FloatArray, half: float, work: FloatArray, band: FloatArray) -> None:
    """``band`` (3, d): what the other features lead to expect, and ``half`` sigmas of what that leaves over."""
    for j in range(cells.shape[1]):
        if cells[_KNOWN, j] > 0.0:
            expected = cells[_MEAN, j] + cells[_SIGMA, j] * (work[_Z, j] - work[_PULL, j] / cells[_STIFF, j])
            band[0, j] = expected
            if cells[_RESTS, j] >= _RESTS_NEEDED:
                reach = half * math.sqrt(cells[_REST, j])
                band[1, j] = expected - reach
                band[2, j] = expected + reach


@inlined
def _learn_rest(x: FloatArray, expected: FloatArray, cells: FloatArray) -> None:
    """How far readings lie from what was expected of them."""
    for j in range(len(x)):
        if math.isnan(x[j]) or math.isnan(expected[j]):
            continue
        rest = min(max(float(x[j]) - expected[j], -_HUGE), _HUGE)
        if cells[_RESTS, j] >= _RESTS_NEEDED and cells[_REST, j] > 0.0:
            limit = _REST_CLIP * math.sqrt(cells[_REST, j])
            rest = min(max(rest, -limit), limit)
        weight = max(_REST_WEIGHT, 1.0 / (cells[_RESTS, j] + 1.0))
        cells[_REST, j] = (1.0 - weight) * cells[_REST, j] + weight * (rest * rest)
        cells[_RESTS, j] += 1.0


@inlined
def _learn_moments(cells: FloatArray, matrix: FloatArray, weight: float, trust: float, work: FloatArray) -> None:
    """Take the smoothed values into mean and covariance with ``weight``; their step counts by ``trust``."""
    d = cells.shape[1]
    for j in range(d):
        now, level = work[_NOW, j], cells[_LEVEL, j]
        if cells[_KNOWN, j] == 0.0:
            cells[_MEAN, j] = level = now
        cells[_KNOWN, j] += work[_SAYS, j]
        cells[_STEP, j] = (1.0 - weight) * cells[_STEP, j] + weight * ((now - level) * (now - level))
        cells[_LEVEL, j] = now
        work[_Z, j] = trust * (now - cells[_MEAN, j])
        cells[_MEAN, j] += weight * work[_Z, j]
    for i in range(d):
        for j in range(i, d):
            matrix[i, j] = (1.0 - weight) * (matrix[i, j] + weight * (work[_Z, i] * work[_Z, j]))


@inlined
def _correlate(cells: FloatArray, matrix: FloatArray, size: float, least: float, a: FloatArray) -> None:
    """The correlation matrix into ``a``, shrunk towards independence by the oracle approximating share or ``least``."""
    d = cells.shape[1]
    squares = 0.0
    for i in range(d):
        cells[_SIGMA, i] = max(math.sqrt(matrix[i, i]), FLOOR * abs(cells[_MEAN, i]), _TINY)
    for i in range(d):
        a[i, i] = 1.0
        squares += 1.0
        for j in range(i + 1, d):
            a[i, j] = a[j, i] = matrix[i, j] / cells[_SIGMA, i] / cells[_SIGMA, j]
            squares += 2.0 * a[i, j] * a[i, j]
    share = 1.0
    if squares - d > 1e-12 * d:
        share = ((1.0 - 2.0 / d) * squares + d * d) / ((size + 1.0 - 2.0 / d) * (squares - d))
        share = max(min(share, 1.0), least)
    for i in range(d):
        for j in range(i + 1, d):
            a[i, j] *= 1.0 - share
            a[j, i] = a[i, j]


@inlined
def _rotate(a: FloatArray, v: FloatArray, p: int, q: int) -> None:
    """One rotation of Jacobi's that makes ``a[p, q]`` zero."""
    theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
    t = 1.0 / (abs(theta) + math.sqrt(1.0 + theta * theta))
    t = t if theta >= 0.0 else -t
    c = 1.0 / math.sqrt(1.0 + t * t)
    s = t * c
    for k in range(len(a)):
        a[k, p], a[k, q] = c * a[k, p] - s * a[k, q], s * a[k, p] + c * a[k, q]
    for k in range(len(a)):
        a[p, k], a[q, k] = c * a[p, k] - s * a[q, k], s * a[p, k] + c * a[q, k]
        v[k, p], v[k, q] = c * v[k, p] - s * v[k, q], s * v[k, p] + c * v[k, q]


@inlined
def _diagonalise(a: FloatArray, v: FloatArray) -> None:
    """Eigenvalues of the symmetric ``a`` into its diagonal, eigenvectors into the columns of ``v`` (Jacobi 1846)."""
    v[:, :] = 0.0
    for i in range(len(a)):
        v[i, i] = 1.0
    for _ in range(_SWEEPS):
        off = 0.0
        for p in range(len(a)):
            for q in range(p + 1, len(a)):
                off += a[p, q] * a[p, q]
        if off < _CALM:
            break
        for p in range(len(a)):
            for q in range(p + 1, len(a)):
                if a[p, q] * a[p, q] > 1e-300:
                    _rotate(a, v, p, q)


@inlined
def _factor(cells: FloatArray, matrix: FloatArray, least: float, law: FloatArray, a: FloatArray, v: FloatArray) -> None:
    """The covariance's whitening matrix, and what the reference is worth."""
    d = cells.shape[1]
    _correlate(cells, matrix, law[_SIZE], least, a)
    _diagonalise(a, v)
    for i in range(d):
        cells[_STIFF, i] = 0.0
        for j in range(i + 1):
            root = 0.0
            for k in range(d):
                root += v[i, k] * v[j, k] / math.sqrt(max(a[k, k], 0.5 * least))
            if i == j:
                cells[_ROOT, i] = root
            else:
                matrix[i, j] = root
    for i in range(d):
        for j in range(d):
            root = _entry(cells, matrix, i, j)
            cells[_STIFF, i] += root * root
    moving, echo = 0, 0.0
    for j in range(d):
        if matrix[j, j] > 0.0 and math.sqrt(matrix[j, j]) >= cells[_SIGMA, j]:
            moving += 1
            echo += min(max(1.0 - 0.5 * cells[_STEP, j] / matrix[j, j], 0.0), 0.999)
    echo = echo / max(moving, 1)
    law[_WORTH] = law[_SIZE] * (1.0 - echo * echo) / (1.0 + echo * echo)
    law[_WIDER] = 1.0 + (1.0 + echo) / ((1.0 - echo) * law[_SIZE])
    law[_APART] = min(max(math.floor(0.5 + 0.5 * (1.0 + echo) / (1.0 - echo)), 1.0), _MOST_APART)


@inlined
def _learn_row(
    x: FloatArray,
    cells: FloatArray,
    matrix: FloatArray,
    law: FloatArray,
    counts: IntArray,
    options: tuple[int, int, float, float, float, float, float],
    distance: float,
    work: FloatArray,
    room: FloatArray,
) -> None:
    """Learn a reading of which ``work`` holds the smoothed values. ``distance`` is its own (NaN: not measured)."""
    warm_up, reference, _alpha, adapt, clip, least, _half = options
    counts[_LEARNT] += 1
    learnt = counts[_LEARNT]
    if learnt <= reference:
        _learn_moments(cells, matrix, 1.0 / learnt, 1.0, work)
    elif adapt > 0.0:
        limit = clip * math.sqrt(float(len(x)))
        far = 0.0 if math.isnan(distance) else math.sqrt(distance)
        _learn_moments(cells, matrix, adapt, 1.0 if far <= limit else limit / far, work)
    else:
        for j in range(len(x)):
            if cells[_KNOWN, j] > 0.0:
                cells[_KNOWN, j] += work[_SAYS, j]
                cells[_LEVEL, j] = work[_NOW, j]
    due = warm_up if counts[_DUE] == 0 else counts[_DUE]
    if learnt == due:
        law[_SIZE] = min(float(learnt), 2.0 / adapt) if adapt > 0.0 else float(learnt)
        _factor(cells, matrix, least, law, room[0], room[1])
        if learnt < reference:
            counts[_DUE] = min(reference, learnt + learnt // 4 + 1)
        else:
            counts[_DUE] = learnt + max(16, 4 * len(x)) if adapt > 0.0 else -1


@bare_kernel
def run_space(
    state: tuple[FloatArray, FloatArray, FloatArray, IntArray],
    slots: IntArray,
    values: FloatArray,
    options: tuple[int, int, float, float, float, float, float],
    learning: bool,
    work: FloatArray,
    room: FloatArray,
    out: FloatArray,
    seen_before: IntArray,
    shares: FloatArray,
    band: FloatArray,
) -> None:
    """Rows in order: measured, then learnt where ``learning``.

    ``state``: cells, matrices, laws, counts by slot. ``options``: warm-up, reference, weight of a reading in its
    smoothed value, in the reference, clip, least shrinkage, half a band in sigmas. ``work`` (6, d) and ``room``
    (2, d, d) are to work in. ``out`` (n, 5): squared distance (NaN: none), features with a say, what the reference is
    worth, how much wider, and 1 where the distance is news (0 where it echoes earlier ones).
    """
    cells, matrices, laws, counts = state
    for i in range(len(slots)):
        slot = slots[i]
        own, law, count = cells[slot], laws[slot], counts[slot]
        seen_before[i] = count[_SEEN]
        out[i, 0] = math.nan
        out[i, 1] = out[i, 4] = 0.0
        out[i, 2] = law[_WORTH]
        out[i, 3] = law[_WIDER]
        band[:, i] = math.nan
        known = _smooth(values[i], own, options[2], work)
        if count[_DUE] != 0:
            say = _standardise(own, law[_SIZE], work)
            distance = _measure(own, matrices[slot], say, work, room[0], shares[i])
            _expect(own, options[6], work, band[:, i])
            if say > 0:
                out[i, 0] = distance
                out[i, 1] = say
                out[i, 4] = 1.0 if count[_LEARNT] >= options[1] and count[_LEARNT] % int(law[_APART]) == 0 else 0.0
        if learning:
            count[_SEEN] += 1
            if known > 0:
                _learn_rest(values[i], band[0, i], own)
                _smooth(values[i], own, options[2], work)
                _learn_row(values[i], own, matrices[slot], law, count, options, out[i, 0], work, room)
