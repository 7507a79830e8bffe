"""The counts of ``midas``: count-min sketches of edges, sources and targets, and the compiled loop over them.

What it is for is told in ``midas``. A sketch (Cormode, Muthukrishnan, Journal of Algorithms 2005) is a few rows of
cells; a thing counts in one cell of each row, and the least of its cells is never below its true count.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["KINDS", "cells_of", "run_sketches"]

#: What is counted: the edge, its source, its target.
KINDS = 3
_NOTHING = 1e-12
_STEP, _FIRST, _SECOND = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014): every bit of the result depends on every bit."""
    mixed = (numbers ^ (numbers >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def cells_of(ends: NDArray[np.uint64], depth: int, width: int) -> IntArray:
    """(n, KINDS, depth) cells of ``n`` edges with the numbers ``ends`` (n, 2): source, target. Edges have a
    direction."""
    edge = _mixed(_mixed(ends[:, 0] + _STEP) + ends[:, 1])
    kinds = np.stack([edge, ends[:, 0], ends[:, 1]], axis=1)
    rows = np.arange(1, depth + 1, dtype=np.uint64) * _STEP
    cells: IntArray = (_mixed(kinds[:, :, None] + rows) % np.uint64(width)).astype(np.int64)
    return cells


@inlined
def _measure(
    counts: FloatArray,
    cells: IntArray,
    fades: tuple[float, float],
    laws: tuple[float, float, float, float],
    stats: FloatArray,
) -> None:
    """Into ``stats``: of edge, source and target, by how much there are more of late than there should be. ``laws``:
    ticks known, how many of them the late count amounts to, the same for its variance, the least variance."""
    age, late, spread, floor = laws
    for kind in range(KINDS):
        current = total = math.inf
        for row in range(cells.shape[1]):
            cell = counts[kind, row, cells[kind, row]]
            current, total = min(current, cell[0]), min(total, cell[1])
        mean = (total * fades[1] + 1.0) / age
        excess = current * fades[0] + 1.0 - mean * late
        stats[kind] = 0.0
        if excess > 0.0 and age > 1.0:
            stats[kind] = excess * excess * age / ((mean * spread + floor) * (age - 1.0))


@inlined
def _fade(counts: FloatArray, fades: tuple[float, float]) -> None:
    """What was counted before a new tick begins counts for less."""
    for kind in range(KINDS):
        for row in range(counts.shape[1]):
            for place in range(counts.shape[2]):
                for part in range(2):
                    left = counts[kind, row, place, part] * fades[part]
                    counts[kind, row, place, part] = left if left > _NOTHING else 0.0


@inlined
def _count(counts: FloatArray, cells: IntArray, stats: FloatArray, tame: float) -> None:
    """One edge more; what is beyond ``tame`` counts for less in what is ordinary."""
    for kind in range(KINDS):
        weight = tame / stats[kind] if 0.0 < tame < stats[kind] else 1.0
        for row in range(cells.shape[1]):
            cell = counts[kind, row, cells[kind, row]]
            cell[0] += 1.0
            cell[1] += weight


@bare_kernel
def run_sketches(
    counts: FloatArray,
    clocks: IntArray,
    ages: FloatArray,
    slots: IntArray,
    ticks: IntArray,
    edges: NDArray[np.bool_],
    cells: IntArray,
    learning: bool,
    options: tuple[float, float, float, float],
    stats: FloatArray,
    found: FloatArray,
    seen: IntArray,
) -> None:
    """Rows in order: what is found strange into ``found`` (NaN for a row that is no edge), then learnt where
    ``learning``.

    ``counts`` (slots, KINDS, depth, width, 2): of late, and in all; ``clocks`` (slots, 3): first tick, newest tick,
    edges; ``ages`` (slots,): ticks known, those long past for less. ``options``: decay a tick of what counts as late,
    of what counts in all, least variance, what is still tame; ``stats`` (KINDS,) is to work in."""
    decay, keep, floor, tame = options
    for i in range(len(slots)):
        slot = slots[i]
        clock = clocks[slot]
        seen[i] = clock[2]
        if not edges[i]:
            found[i] = math.nan
            continue
        first, gap, age = ticks[i], 0, 1.0
        if clock[2] > 0:
            first, gap, age = clock[0], max(ticks[i] - clock[1], 0), ages[slot]
        fades = (math.pow(decay, float(gap)), math.pow(keep, float(gap)))
        age = age + gap if keep == 1.0 else age * fades[1] + (1.0 - fades[1]) / (1.0 - keep)
        newest = clock[1] + gap if clock[2] > 0 else ticks[i]
        faded = math.pow(decay, float(newest - first + 1))
        late, spread = (1.0 - faded) / (1.0 - decay), (1.0 - faded * faded) / (1.0 - decay * decay)
        _measure(counts[slot], cells[i], fades, (age, late, spread, floor), stats)
        found[i] = max(stats[0], stats[1], stats[2])
        if learning:
            if gap > 0:
                _fade(counts[slot], fades)
            clock[0], clock[1], ages[slot] = first, newest, age
            clock[2] += 1
            _count(counts[slot], cells[i], stats, tame)
