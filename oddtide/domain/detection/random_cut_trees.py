"""Random cut trees over a sample of points: the compiled loops that put points in, take them out and weigh new ones.

All trees of a series hold the same points and differ by their cuts, so that points lie in memory once; equal points
are one leaf with a number of copies. A *place* in a tree is a node where it is >= 0, else a leaf: ``~position`` of its
point. A node is a row of small integers: left and right place, node above, copies below, dimension of its cut, then
for each dimension which point below is smallest and which largest (positions instead of numbers: half the memory, and
nothing is rounded). What is ``<= cut`` goes left. What it is for is told in ``random_cut_forest``.

All in one long file: a kernel and what it is compiled of lie together (``statistics.kernels``).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["BOX", "COUNTS", "Forest", "Plan", "run_trees"]

SmallArray: TypeAlias = NDArray[np.int16]
#: points, scales, copies, then by tree: nodes, cuts, ends, above. With slots in front it is a detector's, of one slot
#: less an axis, of one tree (:func:`_tree`) less one more.
Forest: TypeAlias = tuple[FloatArray, FloatArray, SmallArray, SmallArray, FloatArray, SmallArray, SmallArray]
#: Seed, share of the readings that go into the sample once it is full.
Plan: TypeAlias = tuple[np.uint64, float]

_LEFT, _RIGHT, _ABOVE, _COUNT, _CUT_ON = 0, 1, 2, 3, 4
#: Of a node's row: where its smallest points begin; its largest follow.
BOX = 5
#: Of ``ends``: the root, the first free node.
_ROOT, _FREE = 0, 1
#: Of ``counts``: readings seen, readings learnt (those with a feature), points taken into the sample; then for each
#: feature how often it was there.
_SEEN, _LEARNT, _TAKEN, COUNTS = 0, 1, 2, 3
_NONE, _EMPTY = -1, -32768
_HUGE = 1e150
#: A path is left where it is this unlikely to get so far.
_NEGLIGIBLE = 1e-6
#: A feature that does not vary has this share of its level as spread.
_FLOOR = 1e-6

_GOLDEN, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_R30, _R27, _R31, _R11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@inlined
def _mixed(counter: np.uint64) -> np.uint64:
    """SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): random bits of a counter."""
    bits = (counter ^ (counter >> _R30)) * _FIRST
    bits = (bits ^ (bits >> _R27)) * _SECOND
    return np.uint64(bits ^ (bits >> _R31))


@inlined
def _uniform(counter: np.uint64) -> float:
    """In [0, 1)."""
    return float(_mixed(counter) >> _R11) * 1.1102230246251565e-16


@inlined
def _clamped(value: float) -> float:
    return min(max(value, -_HUGE), _HUGE) if not math.isnan(value) else math.nan


@inlined
def _tree(forest: Forest, tree: int) -> Forest:
    points, scales, copies, nodes, cuts, ends, above = forest
    return points, scales, copies, nodes[tree], cuts[tree], ends[tree], above[tree]


@inlined
def _size(tree: Forest, place: int) -> int:
    return int(tree[2][~place]) if place < 0 else int(tree[3][place, _COUNT])


@inlined
def _lowest(tree: Forest, place: int, j: int) -> int:
    return ~place if place < 0 else int(tree[3][place, BOX + j])


@inlined
def _highest(tree: Forest, place: int, j: int) -> int:
    return ~place if place < 0 else int(tree[3][place, BOX + tree[0].shape[1] + j])


@inlined
def _measure(tree: Forest, place: int, x: FloatArray, growth: FloatArray) -> tuple[float, float]:
    """How much the box at ``place`` must grow to hold ``x`` and how wide it is then, in spreads, over all dimensions.
    ``growth`` gets the first by dimension; a missing one grows nothing."""
    points, scales = tree[0], tree[1]
    grown, wide = 0.0, 0.0
    for j in range(len(x)):
        low, high = points[_lowest(tree, place, j), j], points[_highest(tree, place, j), j]
        step = 0.0
        if x[j] < low:
            step = (low - x[j]) * scales[j]
        elif x[j] > high:
            step = (x[j] - high) * scales[j]
        growth[j] = step
        grown += step
        wide += (high - low) * scales[j]
    return grown, wide + grown


@inlined
def _next(tree: Forest, node: int, x: FloatArray) -> int:
    """Where ``x`` goes from ``node``: with the crowd where it lacks the dimension of the cut."""
    row = tree[3][node]
    value, left, right = x[row[_CUT_ON]], int(row[_LEFT]), int(row[_RIGHT])
    if math.isnan(value):
        return left if _size(tree, left) >= _size(tree, right) else right
    return left if value <= tree[4][node] else right


@inlined
def _displacement(tree: Forest, x: FloatArray, growth: FloatArray, against: FloatArray) -> float:
    """The displacement of ``x`` in bits, ``log2(1 + displacement)``, expected over the cuts that putting it in might
    draw. ``against`` (features,) gets what cuts on each feature make of it; what is missing to the sum is the part of
    being equal to a known point."""
    place = int(tree[5][_ROOT])
    total, reach, least, size_above = 0.0, 1.0, 0.0, 0
    while True:
        size = _size(tree, place)
        if size_above > 0:
            least = max(least, (size_above - size) / (size + 1.0))
        grown, wide = _measure(tree, place, x, growth)
        if grown > 0.0:
            here = reach * math.log2(1.0 + max(float(size), least))
            for j in range(len(x)):
                against[j % len(against)] += here * (growth[j] / wide)
            total += here * (grown / wide)
            reach *= 1.0 - grown / wide
        if place < 0 or reach < _NEGLIGIBLE:
            return total + reach * math.log2(1.0 + least)
        size_above = size
        place = _next(tree, place, x)


@inlined
def _cut_off(tree: Forest, place: int, x: FloatArray, growth: FloatArray, at: float) -> tuple[int, float, bool]:
    """The cut between ``x`` and the box at ``place`` that lies ``at`` along all that the box would grow, in spreads:
    its dimension, its value, and whether ``x`` is on its left."""
    points, on = tree[0], _NONE
    for j in range(len(x)):
        if growth[j] > 0.0:
            on = j
            if at < growth[j]:
                break
            at -= growth[j]
    if on == _NONE:  # a leaf that differs by less than spreads can tell
        on = 0
        while x[on] == points[~place, on]:
            on += 1
    low, high = points[_lowest(tree, place, on), on], points[_highest(tree, place, on), on]
    left = x[on] < low
    start, end = (x[on], low) if left else (high, x[on])
    value = start + at / tree[1][on] if 0.0 < at < growth[on] else start
    return on, (value if value < end else start), left


@inlined
def _hang(tree: Forest, node_above: int, old: int, new: int) -> None:
    """``new`` takes the place of ``old`` below ``node_above``."""
    nodes, ends, above = tree[3], tree[5], tree[6]
    if node_above == _NONE:
        ends[_ROOT] = new
    elif nodes[node_above, _LEFT] == old:
        nodes[node_above, _LEFT] = new
    else:
        nodes[node_above, _RIGHT] = new
    if new < 0:
        above[~new] = node_above
    else:
        nodes[new, _ABOVE] = node_above


@inlined
def _span(tree: Forest, node: int, j: int) -> None:
    """Which points below ``node`` are smallest and largest in dimension ``j``, from what lies under it."""
    points, nodes = tree[0], tree[3]
    left, right = int(nodes[node, _LEFT]), int(nodes[node, _RIGHT])
    one, other = _lowest(tree, left, j), _lowest(tree, right, j)
    nodes[node, BOX + j] = one if points[one, j] <= points[other, j] else other
    one, other = _highest(tree, left, j), _highest(tree, right, j)
    nodes[node, BOX + points.shape[1] + j] = one if points[one, j] >= points[other, j] else other


@inlined
def _widen(tree: Forest, node: int, position: int) -> None:
    """One more point below ``node``."""
    points, row = tree[0], tree[3][node]
    dimensions = points.shape[1]
    row[_COUNT] += 1
    for j in range(dimensions):
        if points[position, j] < points[row[BOX + j], j]:
            row[BOX + j] = position
        if points[position, j] > points[row[BOX + dimensions + j], j]:
            row[BOX + dimensions + j] = position


@inlined
def _plant(tree: Forest, position: int, counter: np.uint64, growth: FloatArray) -> None:
    """Put in the point at ``position``, which equals none in the tree: on its way down each box that it widens is cut
    anew, with the paper's odds; where that cut parts it from the box, it stays."""
    points, _, _, nodes, cuts, ends, above = tree
    place, node_above, at = int(ends[_ROOT]), _NONE, 0.0
    if place == _EMPTY:
        _hang(tree, _NONE, _NONE, ~position)
        return
    x = points[position]
    while True:
        grown, wide = _measure(tree, place, x, growth)
        if grown > 0.0:
            counter += _GOLDEN
            at = _uniform(counter) * wide
        if place < 0 or (grown > 0.0 and at < grown):
            break
        _widen(tree, place, position)
        node_above, place = place, _next(tree, place, x)
    node = int(ends[_FREE])
    ends[_FREE] = nodes[node, _LEFT]
    on, value, left = _cut_off(tree, place, x, growth, at)
    _hang(tree, node_above, place, node)
    nodes[node, _LEFT], nodes[node, _RIGHT] = (~position, place) if left else (place, ~position)
    nodes[node, _COUNT], nodes[node, _CUT_ON], cuts[node] = _size(tree, place) + 1, on, value
    above[position] = node
    if place < 0:
        above[~place] = node
    else:
        nodes[place, _ABOVE] = node
    for j in range(len(x)):
        _span(tree, node, j)


@inlined
def _uproot(tree: Forest, position: int) -> None:
    """Take the point at ``position`` out: what lay beside it moves up, boxes that it held open close."""
    points, _, _, nodes, _, ends, above = tree  # it holds others: no sample is of one point
    node, dimensions = int(above[position]), points.shape[1]
    left, right, upper = int(nodes[node, _LEFT]), int(nodes[node, _RIGHT]), int(nodes[node, _ABOVE])
    _hang(tree, upper, node, right if left == ~position else left)
    nodes[node, _LEFT], ends[_FREE] = ends[_FREE], node
    while upper != _NONE:
        row = nodes[upper]
        row[_COUNT] -= 1
        for j in range(dimensions):
            if row[BOX + j] == position or row[BOX + dimensions + j] == position:
                _span(tree, upper, j)
        upper = int(row[_ABOVE])


@inlined
def _recount(tree: Forest, position: int, change: int) -> None:
    """A copy more or less of the point at ``position``."""
    node = int(tree[6][position])
    while node != _NONE:
        tree[3][node, _COUNT] += change
        node = int(tree[3][node, _ABOVE])


@inlined
def _join(forest: Forest, ring: SmallArray, turn: int, position: int, counter: np.uint64, growth: FloatArray) -> None:
    """The point at the free ``position`` joins the sample, as the one of ``turn``."""
    points, copies, trees = forest[0], forest[2], len(forest[3])
    first = _tree(forest, 0)
    place = int(first[5][_ROOT])
    while place >= 0:
        place = _next(first, place, points[position])
    equal = place != _EMPTY
    for j in range(points.shape[1]):
        equal = equal and points[~place, j] == points[position, j]
    ring[turn] = ~place if equal else position
    copies[ring[turn]] += 1
    for tree in range(trees):
        if equal:
            _recount(_tree(forest, tree), ~place, 1)
        else:
            counter = _mixed(counter + _GOLDEN)
            _plant(_tree(forest, tree), position, counter, growth)


@inlined
def _leave(forest: Forest, ring: SmallArray, turn: int) -> int:
    """The point of ``turn`` leaves the sample. Returns a free position."""
    copies, position = forest[2], int(ring[turn])
    copies[position] -= 1
    for tree in range(len(forest[3])):
        if copies[position] > 0:
            _recount(_tree(forest, tree), position, -1)
        else:
            _uproot(_tree(forest, tree), position)
    while copies[position] > 0:
        position = (position + 1) % len(copies)
    return position


@inlined
def _gauge(forest: Forest, ring: SmallArray, counts: IntArray) -> None:
    """Each feature's spread over the sample; one that was never there has no say."""
    points, scales = forest[0], forest[1]
    features, n = len(counts) - COUNTS, len(ring)
    for j in range(len(scales)):
        mean, square = 0.0, 0.0
        for i in range(n):
            mean += points[ring[i], j] / n
        for i in range(n):
            square += (points[ring[i], j] - mean) ** 2 / n
        spread = max(math.sqrt(square), _FLOOR * abs(mean), 1e-150)
        scales[j] = 1.0 / spread if counts[COUNTS + j % features] > 0 else 0.0


@inlined
def _found(forest: Forest, ring: SmallArray, counts: IntArray, counter: np.uint64, growth: FloatArray) -> None:
    """The trees over the first sample."""
    nodes, ends = forest[3], forest[5]
    for i in range(len(ring)):
        ring[i] = i
    _gauge(forest, ring, counts)
    for tree in range(len(nodes)):
        ends[tree, _ROOT], ends[tree, _FREE] = _EMPTY, 0
        for node in range(nodes.shape[1]):
            nodes[tree, node, _LEFT] = node + 1
    for i in range(len(ring)):
        counter = _mixed(counter + _GOLDEN)
        _join(forest, ring, i, i, counter, growth)


@inlined
def _learn(
    plan: Plan,
    forest: Forest,
    ring: SmallArray,
    recent: FloatArray,
    counts: IntArray,
    x: FloatArray,
    growth: FloatArray,
) -> None:
    """Learn one reading with at least one feature. ``recent`` holds the last values, newest first."""
    points, features, samples = forest[0], len(x), len(ring)
    for j in range(len(recent) - 1, features - 1, -1):
        recent[j] = recent[j - features]
    for j in range(features):
        if not math.isnan(x[j]):
            recent[j] = _clamped(x[j])
            counts[COUNTS + j] += 1
    counts[_LEARNT] += 1
    taken = counts[_TAKEN]
    counter = _mixed(plan[0] + np.uint64(counts[_LEARNT]) * _GOLDEN)
    if counts[_LEARNT] * features < len(recent) or (taken >= samples and _uniform(counter) >= plan[1]):
        return
    turn = taken % samples
    position = _leave(forest, ring, turn) if taken >= samples else turn
    for j in range(len(recent)):
        points[position, j] = recent[j]
    if taken >= samples:
        _join(forest, ring, turn, position, counter, growth)
        if turn == samples - 1:
            _gauge(forest, ring, counts)
    elif taken == samples - 1:
        _found(forest, ring, counts, counter, growth)
    counts[_TAKEN] = taken + 1


@bare_kernel
def run_trees(
    plan: Plan,
    forests: Forest,
    rings: SmallArray,
    recents: FloatArray,
    counts: IntArray,
    slots: IntArray,
    values: FloatArray,
    learning: bool,
    work: FloatArray,
    score: FloatArray,
    against: FloatArray,
    seen_before: IntArray,
) -> None:
    """Rows in order: the displacement of each into ``score`` (NaN where there is none yet), what speaks against each
    feature into ``against``; then learnt where ``learning``. ``work`` (2, dimensions) is room to work in."""
    points, scales, copies, nodes, cuts, ends, above = forests
    x, growth = work[0], work[1]
    features = values.shape[1]
    for i in range(len(slots)):
        slot = slots[i]
        forest = points[slot], scales[slot], copies[slot], nodes[slot], cuts[slot], ends[slot], above[slot]
        seen_before[i], score[i], known = counts[slot, _SEEN], math.nan, False
        for j in range(len(x)):
            lag = j - features
            missing = math.isnan(values[i, j % features])
            known = known or not missing
            x[j] = math.nan if missing else _clamped(values[i, j]) if lag < 0 else recents[slot, lag]
        if known and counts[slot, _TAKEN] >= points.shape[1]:
            score[i] = 0.0
            for tree in range(nodes.shape[1]):
                score[i] += _displacement(_tree(forest, tree), x, growth, against[i]) / nodes.shape[1]
        if learning:
            counts[slot, _SEEN] += 1
            if known:
                _learn(plan, forest, rings[slot], recents[slot], counts[slot], values[i], growth)
