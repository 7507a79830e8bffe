"""The forest of half-space trees: its layout, and the compiled loops that count and weigh readings in it.

Nodes lie in heap order: the children of node ``k`` are ``2k + 1`` and ``2k + 2``. What it is for is told in
``half_space_trees``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["plant", "run_forest"]

_HUGE = 1e150
#: A split stays this share of the node's width away from its ends (as river does).
_PADDING = 0.15
#: Below this share of the window a node is too thinly populated to be followed further (the paper's constant).
_SIZE_LIMIT = 0.1


def plant(trees: int, height: int, features: int, seed: int) -> tuple[IntArray, FloatArray]:
    """The layout: (trees, 2**height - 1) split feature and split point in [0, 1], nodes in heap order.

    A node's feature is drawn with odds by the width that is left of it, its split point evenly from the middle part.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    nodes = 2**height - 1
    on = np.zeros((trees, nodes), dtype=np.int64)
    at = np.zeros((trees, nodes))
    for tree in range(trees):
        low = np.zeros((2 * nodes + 1, features))
        high = np.ones((2 * nodes + 1, features))
        for node in range(nodes):
            width = high[node] - low[node]
            j = int(rng.choice(features, p=width / width.sum()))
            split = low[node, j] + width[j] * rng.uniform(_PADDING, 1.0 - _PADDING)
            on[tree, node], at[tree, node] = j, split
            for child in (2 * node + 1, 2 * node + 2):
                low[child], high[child] = low[node], high[node]
            high[2 * node + 1, j] = low[2 * node + 2, j] = split
    return on, at


@inlined
def _place(x: FloatArray, limits: FloatArray, out: FloatArray) -> bool:
    """``x`` within its series' range, ``limits`` (2, d): low, width, into ``out``; false where no feature is known."""
    any_known = False
    for j in range(len(x)):
        value = min(max(float(x[j]), -_HUGE), _HUGE) if not math.isnan(x[j]) else math.nan
        out[j] = (value - limits[0, j]) / limits[1, j]
        any_known = any_known or not math.isnan(out[j])
    return any_known


@inlined
def _child(node: int, position: float, split: float, mass: NDArray[np.int16]) -> int:
    """Where to go from ``node``; a missing feature follows the crowd, as in river."""
    left = 2 * node + 1
    if math.isnan(position):
        return left + 1 if mass[left] < mass[left + 1] else left
    return left if position < split else left + 1


@inlined
def _count(on: IntArray, at: FloatArray, height: int, position: FloatArray, latest: NDArray[np.int16]) -> None:
    """Count one reading in the nodes it falls through. ``latest`` is (trees, nodes)."""
    for tree in range(len(on)):
        node = 0
        mass = latest[tree]
        for _ in range(height):
            mass[node] += 1
            node = _child(node, position[on[tree, node]], at[tree, node], mass)
        mass[node] += 1


@inlined
def _weigh(
    on: IntArray,
    at: FloatArray,
    height: int,
    window: int,
    position: FloatArray,
    masses: NDArray[np.int16],
    against: FloatArray,
) -> float:
    """The share of the largest mass that the paths of one reading hold; ``against`` gets what speaks against each
    feature. ``masses`` is (2, trees, nodes): the reference, the latest."""
    total = 0.0
    for tree in range(len(on)):
        reference = masses[0, tree]
        node = 0
        worth = 1.0
        for _ in range(height):
            mass = float(reference[node])
            total += mass * worth
            if mass < _SIZE_LIMIT * window:
                break
            j = on[tree, node]
            node = _child(node, position[j], at[tree, node], masses[1, tree])
            worth *= 2.0
            if not math.isnan(position[j]):
                against[j] += max(math.log((0.5 * mass + 1.0) / (reference[node] + 1.0)), 0.0)
        else:
            total += reference[node] * worth
    return total / (len(on) * window * (2.0 ** (height + 1) - 1.0))


@inlined
def _learn_limits(first: FloatArray, margin: float, limits: FloatArray) -> None:
    """Low end and width of each feature over the ``first`` window; NaN for a feature that was never there."""
    for j in range(first.shape[1]):
        low, high = math.inf, -math.inf
        for i in range(len(first)):
            if not math.isnan(first[i, j]):
                value = min(max(float(first[i, j]), -_HUGE), _HUGE)
                low, high = min(low, value), max(high, value)
        if low > high:
            limits[0, j] = limits[1, j] = math.nan
        else:
            width = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-150)
            limits[0, j] = 0.5 * low + 0.5 * high - (0.5 + margin) * width
            limits[1, j] = (1.0 + 2.0 * margin) * width


@inlined
def _turn(masses: NDArray[np.int16]) -> None:
    """The latest window becomes the reference."""
    for tree in range(masses.shape[1]):
        for node in range(masses.shape[2]):
            masses[0, tree, node] = masses[1, tree, node]
            masses[1, tree, node] = 0


@inlined
def _learn_row(
    trees: tuple[IntArray, FloatArray, int, int, float],
    x: FloatArray,
    position: FloatArray,
    masses: NDArray[np.int16],
    limits: FloatArray,
    first: FloatArray,
    counted: int,
) -> int:
    """Learn one reading; returns how many were learnt. ``first`` holds the first window where ranges are learnt."""
    on, at, height, window, margin = trees
    if counted < len(first):
        for j in range(len(x)):
            first[counted, j] = x[j]
        if counted + 1 < window:
            return counted + 1
        _learn_limits(first, margin, limits)
        for i in range(window):
            _place(first[i], limits, position)
            _count(on, at, height, position, masses[1])
        first[:] = 0.0
    else:
        _place(x, limits, position)
        _count(on, at, height, position, masses[1])
    if (counted + 1) % window == 0:
        _turn(masses)
    return counted + 1


@bare_kernel
def run_forest(
    trees: tuple[IntArray, FloatArray, int, int, float],
    masses: NDArray[np.int16],
    limits: FloatArray,
    first: FloatArray,
    counts: IntArray,
    slots: IntArray,
    values: FloatArray,
    learning: bool,
    position: FloatArray,
    mass: FloatArray,
    against: FloatArray,
    seen_before: IntArray,
) -> None:
    """Rows in order: weighed into ``mass`` (NaN where there is no reference yet), then learnt where ``learning``.
    ``counts`` is (slots, 2): readings seen, readings learnt (those with a feature at all). ``position`` (d,) is room to
    work in."""
    on, at, height, window, _margin = trees
    for i in range(len(slots)):
        slot = slots[i]
        seen, counted = counts[slot]
        known = False
        for j in range(values.shape[1]):
            known = known or not math.isnan(values[i, j])
        seen_before[i] = seen
        mass[i] = math.nan
        if counted >= window and known and _place(values[i], limits[slot], position):
            mass[i] = _weigh(on, at, height, window, position, masses[slot], against[i])
        if learning:
            if known:
                counted = _learn_row(
                    trees, values[i], position, masses[slot], limits[slot], first[slot], counted
                )  # fmt: skip
            counts[slot, 0] = seen + 1
            counts[slot, 1] = counted
