"""The search behind ``discord``: how far is the newest pattern from the nearest earlier one, at several steps in time?

What it is for, and what is promised, is told in ``discord``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["CELL", "FARTHEST", "FLOOR", "HUGE", "STEP", "anchor_unit_count", "run_search"]

#: The smallest unit, as a share of the level; above float32's rounding (6e-8), below any change that matters.
FLOOR = 1e-6
#: The largest distance of a feature, in units.
FARTHEST = 1e6

# The state of one (slot, feature): values kept are relative to the anchor; level and mean absolute deviation from it;
# the distance that patterns usually have, in units.
_ANCHOR, _LEVEL, _UNIT, _COUNT, _USUAL = range(5)
#: How many numbers that is.
CELL = 5
# The state of one (slot, feature, scale): values kept, sum of the block under way, distance of the last pattern.
_FILLED, _SUM, _DISTANCE = range(3)
#: How many numbers that is.
STEP = 3

#: Values beyond it are taken as this.
HUGE = 1e30
_TINY = 1e-30
_ALPHA = 0.001  # weight of the newest reading in level and unit
_CLIP = 5.0  # units for which one reading, or one distance, counts at most


@inlined
def _add(past: NDArray[np.float32], newest: float, sums: FloatArray, squares: FloatArray) -> None:
    """Add the differences of all candidates' next values from the newest pattern's to their sums and squares. One loop
    over what lies side by side in memory, without a branch: compiled to several candidates an instruction."""
    for j in range(len(sums)):
        difference = np.float64(past[j]) - newest
        sums[j] += difference
        squares[j] += difference * difference


@inlined
def _nearest(sums: FloatArray, squares: FloatArray, length: int) -> int:
    """The candidate whose centred distance is smallest; the newest of equals."""
    found, smallest = 0, math.inf
    for j in range(len(sums)):
        distance = squares[j] - sums[j] * sums[j] / length
        if distance <= smallest:
            found, smallest = j, distance
    return found


@inlined
def _kth(sums: FloatArray, squares: FloatArray, length: int, best: FloatArray) -> float:
    """The ``len(best)``-th smallest squared distance; the largest there is where there are fewer candidates."""
    best[:] = math.inf
    kept = 0
    for j in range(len(sums)):
        distance = squares[j] - sums[j] * sums[j] / length
        if distance < best[-1]:
            place = len(best) - 1
            while place > 0 and best[place - 1] > distance:
                best[place] = best[place - 1]
                place -= 1
            best[place] = distance
            kept = min(kept + 1, len(best))
    return max(float(best[kept - 1]), 0.0)


@inlined
def _search(
    past: NDArray[np.float32],
    filled: int,
    value: float,
    shingle: int,
    work: FloatArray,
    best: FloatArray,
    said: FloatArray,
) -> float:
    """The distance of the pattern that ends with ``value`` from the k-th nearest that does not overlap it, as a root of
    the mean square. ``said`` gets where those before ``value`` let it be expected."""
    found = filled - 2 * shingle + 2
    first = filled - shingle + 1
    sums, squares = work[0, :found], work[1, :found]
    sums[:] = 0.0
    squares[:] = 0.0
    for q in range(shingle - 1):
        _add(past[q : q + found], np.float64(past[first + q]), sums, squares)
    guide = _nearest(sums, squares, shingle - 1)
    said[0] = np.float64(past[guide + shingle - 1]) - sums[guide] / (shingle - 1)
    _add(past[shingle - 1 : shingle - 1 + found], value, sums, squares)
    return math.sqrt(_kth(sums, squares, shingle, best) / shingle)


@inlined
def _scale(cell: FloatArray) -> float:
    unit: float = max(cell[_UNIT], FLOOR * abs(cell[_LEVEL]), _TINY)
    return unit


def anchor_unit_count(cell: FloatArray) -> tuple[float, float, int]:
    """Out of the state of one (slot, feature): what values are kept relative to, one unit of its scale, how many values
    there were."""
    unit = max(float(cell[_UNIT]), FLOOR * abs(float(cell[_LEVEL])), _TINY)
    return float(cell[_ANCHOR]), unit, int(cell[_COUNT])


@inlined
def _measure(
    past: NDArray[np.float32],
    steps: FloatArray,
    cell: FloatArray,
    value: float,
    shingle: int,
    work: FloatArray,
    best: FloatArray,
    said: FloatArray,
    distances: FloatArray,
) -> None:
    """The distance at each scale with ``value`` (relative to the anchor) as the newest; NaN where patterns are too few.
    Where a block is not yet whole, its scale's is that of the last whole one."""
    count = int(cell[_COUNT]) + 1
    said[0] = math.nan
    for scale in range(len(steps)):
        distances[scale] = steps[scale, _DISTANCE] if cell[_COUNT] >= 2 * shingle << scale else math.nan
        filled = int(steps[scale, _FILLED])
        if count % (1 << scale) == 0 and filled >= 2 * shingle - 1:
            mean = np.float64(np.float32((steps[scale, _SUM] + value) / (1 << scale)))
            distances[scale] = _search(past[scale], filled, mean, shingle, work, best, said[scale : scale + 1])


@inlined
def _drop(past: NDArray[np.float32], steps: FloatArray, scale: int) -> None:
    """Make room: the oldest quarter goes."""
    history = past.shape[1]
    gone = history // 4
    for place in range(gone, history):
        past[scale, place - gone] = past[scale, place]
    steps[scale, _FILLED] = history - gone


@inlined
def _move_anchor(past: NDArray[np.float32], steps: FloatArray, cell: FloatArray) -> None:
    """Measure from the newest value from here on, so that single precision is as fine as the series is steady."""
    shift = np.float64(past[0, int(steps[0, _FILLED]) - 1])
    cell[_ANCHOR] += shift
    for scale in range(len(steps)):
        for place in range(int(steps[scale, _FILLED])):
            past[scale, place] = np.float64(past[scale, place]) - shift
        steps[scale, _SUM] -= shift * (int(cell[_COUNT]) % (1 << scale))


@inlined
def _learn_unit(cell: FloatArray, value: float) -> None:
    """Move the level and the mean absolute deviation; one reading counts for at most ``_CLIP`` units."""
    count = cell[_COUNT]
    weight = max(_ALPHA, 1.0 / (count + 1.0))
    step = value - cell[_LEVEL]
    if count >= 30.0:
        limit = _CLIP * _scale(cell)
        step = min(max(step, -limit), limit)
    if count > 0.0:
        cell[_UNIT] += weight * (abs(step) - cell[_UNIT])
    cell[_LEVEL] += weight * step


@inlined
def _learn(past: NDArray[np.float32], steps: FloatArray, cell: FloatArray, value: float, distances: FloatArray) -> None:
    """Keep ``value`` (relative to the anchor): in each scale's block under way, and the block where it is whole."""
    cell[_COUNT] += 1.0
    count = int(cell[_COUNT])
    for scale in range(len(steps)):
        steps[scale, _SUM] += value
        if not math.isnan(distances[scale]):
            steps[scale, _DISTANCE] = distances[scale]
        if count % (1 << scale) == 0:
            if int(steps[scale, _FILLED]) == past.shape[1]:
                _drop(past, steps, scale)
            past[scale, int(steps[scale, _FILLED])] = steps[scale, _SUM] / (1 << scale)
            steps[scale, _FILLED] += 1.0
            steps[scale, _SUM] = 0.0
    if int(steps[0, _FILLED]) == past.shape[1]:
        _move_anchor(past, steps, cell)


@inlined
def _mean(distances: FloatArray, unit: float) -> float:
    """The mean over scales in units; NaN where one is NaN."""
    total = 0.0
    for scale in range(len(distances)):
        total += distances[scale] / unit
    return min(total / len(distances), FARTHEST) if not math.isnan(total) else math.nan


@inlined
def _learn_usual(cell: FloatArray, distance: float, before: int) -> None:
    """Move the usual distance; there was none for the first ``before - 1`` values."""
    if not math.isnan(distance):
        weight = max(_ALPHA, 1.0 / max(cell[_COUNT] - before + 2.0, 1.0))
        cell[_USUAL] += weight * (min(distance, _CLIP) - cell[_USUAL])


@bare_kernel
def run_search(
    past: NDArray[np.float32],
    steps: FloatArray,
    cells: FloatArray,
    seen: IntArray,
    slots: IntArray,
    values: FloatArray,
    shingle: int,
    learning: bool,
    work: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    distance: FloatArray,
    expected: FloatArray,
    usual: FloatArray,
    seen_before: IntArray,
) -> None:
    """Rows in order: (n, d) distances in units (NaN: none yet, or missing), expected values and usual distances so far,
    then learnt where ``learning``. ``work`` is room: (2, history), (neighbours,), and twice (scales,)."""
    room, best, said, distances = work
    before = 2 * shingle << (steps.shape[2] - 1)
    for i in range(len(slots)):
        slot = slots[i]
        seen_before[i] = seen[slot]
        for j in range(values.shape[1]):
            distance[i, j] = expected[i, j] = math.nan
            usual[i, j] = cells[slot, j, _USUAL]
            if math.isnan(values[i, j]):
                continue
            cell, step = cells[slot, j], steps[slot, j]
            value = min(max(float(values[i, j]), -HUGE), HUGE)
            anchor = cell[_ANCHOR] if cell[_COUNT] > 0.0 else value
            newest = np.float64(np.float32(value - anchor))
            _measure(past[slot, j], step, cell, newest, shingle, room, best, said, distances)
            distance[i, j] = _mean(distances, _scale(cell))
            expected[i, j] = anchor + said[0]
            if learning:
                cell[_ANCHOR] = anchor
                _learn_unit(cell, value)
                _learn_usual(cell, float(distance[i, j]), before)
                _learn(past[slot, j], step, cell, newest, distances)
        if learning:
            seen[slot] = seen_before[i] + 1
