"""The sample of past readings of ``neighbours``, and the compiled loops that measure distances to it and keep it.

A series has ``sample`` (d, size), single precision, one past reading a column; readings lie there as differences from
the first value of their feature. ``cells`` (CELL, d) has one number per feature a row, named below. What it is for is
told in ``neighbours``.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["CELL", "run_sample"]

#: Sample, cells and counts by slot.
State: TypeAlias = tuple[NDArray[np.float32], FloatArray, IntArray]
#: Readings before one is measured, nearest readings it is held against, most that a feature counts, readings that the
#: past reaches back, seed.
Options: TypeAlias = tuple[int, int, float, int, np.uint64]

# What is kept per feature: its first value, and of differences from it the mean and variance; how many there were.
_FIRST, _MEAN, _VARIANCE, _KNOWN = range(4)
#: How many numbers that is.
CELL = 4
# In counts, per series: readings seen, readings learnt (those with a feature at all).
_SEEN, _LEARNT = range(2)

_HUGE = 1e150
_TINY = 1e-150
#: The farthest from its first value that a value is told from others: what single precision holds.
_REACH = 3e38
#: The smallest standard deviation, as a share of the level.
_FLOOR = 1e-6

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_R30, _R27, _R31, _R11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@inlined
def _uniform(counter: np.uint64) -> float:
    """In [0, 1): SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of a counter."""
    bits = (counter ^ (counter >> _R30)) * _MIX_1
    bits = (bits ^ (bits >> _R27)) * _MIX_2
    bits = (bits ^ (bits >> _R31)) >> _R11
    return float(bits) * 1.1102230246251565e-16


@inlined
def _place(x: FloatArray, cells: FloatArray, at: FloatArray) -> int:
    """``x`` as differences from the first values into ``at`` (NaN: missing); returns how many features are known."""
    known = 0
    for j in range(len(x)):
        at[j] = math.nan
        if not math.isnan(x[j]):
            value = min(max(float(x[j]), -_HUGE), _HUGE)
            first = cells[_FIRST, j] if cells[_KNOWN, j] > 0.0 else value
            at[j] = min(max(value - first, -_REACH), _REACH)
            known += 1
    return known


@inlined
def _unit(cells: FloatArray, j: int) -> float:
    """One over the standard deviation of feature ``j``."""
    level = abs(cells[_FIRST, j] + cells[_MEAN, j])
    unit: float = 1.0 / max(math.sqrt(cells[_VARIANCE, j]), _FLOOR * level, _TINY)
    return unit


@inlined
def _far(difference: float, most: float) -> float:
    """A distance in sigmas, bounded smoothly by ``most``."""
    return difference / (1.0 + difference / most)


@inlined
def _distances(
    at: FloatArray, sample: NDArray[np.float32], size: int, cells: FloatArray, most: float, out: FloatArray
) -> None:
    """From a reading to each of the sample, features added up, into ``out``."""
    for q in range(size):
        out[q] = 0.0
    for j in range(len(at)):
        if not math.isnan(at[j]):
            here, unit = at[j], _unit(cells, j)
            for q in range(size):
                far = abs(here - sample[j, q]) * unit
                out[q] += far / (1.0 + far / most)


@inlined
def _nearest(distances: FloatArray, size: int, among: int, chosen: IntArray) -> None:
    """The numbers of the ``among`` smallest of ``size`` distances into ``chosen``, ascending, of equals the first."""
    held = 0
    for q in range(size):
        if held == among and distances[q] >= distances[chosen[held - 1]]:
            continue
        place = held if held < among else among - 1
        while place > 0 and distances[chosen[place - 1]] > distances[q]:
            chosen[place] = chosen[place - 1]
            place -= 1
        chosen[place] = q
        held = min(held + 1, among)


@inlined
def _explain(
    at: FloatArray,
    sample: NDArray[np.float32],
    chosen: IntArray,
    among: int,
    cells: FloatArray,
    weight: float,
    most: float,
    shares: FloatArray,
    expected: FloatArray,
) -> float:
    """Per feature the mean distance to the ``chosen`` times ``weight`` into ``shares``, which are summed up, and their
    mean into ``expected``."""
    total = 0.0
    for j in range(len(at)):
        unit, middle, far = _unit(cells, j), 0.0, 0.0
        for k in range(among):
            past = sample[j, chosen[k]]
            middle += (past - middle) / (k + 1.0)
            if not math.isnan(at[j]):
                far += _far(abs(at[j] - past) * unit, most)
        shares[j] = weight * far / among
        total += shares[j]
        if cells[_KNOWN, j] > 0.0:
            expected[j] = cells[_FIRST, j] + middle
    return total


@inlined
def _learn_cells(x: FloatArray, at: FloatArray, cells: FloatArray, horizon: int) -> None:
    for j in range(len(at)):
        if math.isnan(at[j]):
            continue
        if cells[_KNOWN, j] == 0.0:
            cells[_FIRST, j] = min(max(float(x[j]), -_HUGE), _HUGE)
        cells[_KNOWN, j] += 1.0
        weight = 1.0 / min(cells[_KNOWN, j], float(horizon))
        away = at[j] - cells[_MEAN, j]
        cells[_MEAN, j] += weight * away
        cells[_VARIANCE, j] = (1.0 - weight) * (cells[_VARIANCE, j] + weight * away * away)


@inlined
def _keep(
    at: FloatArray, sample: NDArray[np.float32], cells: FloatArray, learnt: int, horizon: int, lot: float
) -> None:
    """A reading into the sample: while there is room, then with odds that leave any of the last ``horizon`` as likely
    to be there. What is missing stands at its mean."""
    size = sample.shape[1]
    place = learnt if learnt < size else int(lot * min(learnt + 1, horizon))
    if place < size:
        for j in range(len(at)):
            sample[j, place] = cells[_MEAN, j] if math.isnan(at[j]) else at[j]


@bare_kernel
def run_sample(
    state: State,
    slots: IntArray,
    values: FloatArray,
    options: Options,
    learning: bool,
    at: FloatArray,
    distances: FloatArray,
    chosen: IntArray,
    score: FloatArray,
    silent: NDArray[np.bool_],
    seen_before: IntArray,
    shares: FloatArray,
    expected: FloatArray,
) -> None:
    """Rows in order: measured into ``score`` (NaN where nothing can be said), then learnt where ``learning``. ``at``
    (d,), ``distances`` (size,) and ``chosen`` (among,) are room to work in. Where
    ``silent`` nothing is measured."""
    samples, cells, counts = state
    begin, among, most, horizon, seed = options
    for i in range(len(slots)):
        slot = slots[i]
        own, sample, count = cells[slot], samples[slot], counts[slot]
        learnt = count[_LEARNT]
        seen_before[i] = count[_SEEN]
        score[i] = math.nan
        expected[i] = math.nan
        known = _place(values[i], own, at)
        if learnt >= begin and known > 0 and not silent[i]:
            size = min(learnt, sample.shape[1])
            near = max((size * among) // sample.shape[1], 1)
            _distances(at, sample, size, own, most, distances)
            _nearest(distances, size, near, chosen)
            score[i] = _explain(at, sample, chosen, near, own, 1.0 / known, most, shares[i], expected[i])
        if learning:
            count[_SEEN] += 1
            if known > 0:
                _learn_cells(values[i], at, own, horizon)
                lot = _uniform(seed + np.uint64(learnt + 1) * _GOLDEN)
                _keep(at, sample, own, learnt, horizon, lot)
                count[_LEARNT] = learnt + 1
