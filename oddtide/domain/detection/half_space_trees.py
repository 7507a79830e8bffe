"""Half-space trees: is this combination of features where readings usually are?

Tan, Ting and Liu, "Fast anomaly detection for streaming data", IJCAI 2011. A tree halves the feature space at random,
``height`` times over, without looking at data. Readings of a window are counted in the nodes that they fall through
(their *mass*); the next window's are scored by the masses of the one before: a reading that falls where few fell is
strange. Scores lie in [0, 1): one minus the mass along the path (deeper counts double), as a share of the largest
possible, averaged over trees; the same definition as river's, and equal to it in quality (a test says so).

What is ours: one layout of trees for all series, drawn from ``seed``; counts per series in flat arrays. The paper
takes features in [0, 1]. Here each series' first window is kept aside, its smallest and largest value per feature (with
``margin`` on both sides) become 0 and 1, and the window is then counted. What lies outside later falls into the
outermost half-spaces. ``learn_range = false`` is for features that are in [0, 1] already.

The p-value is calibrated by the series' own past scores (``calibration``), on the scale ``-log(1 - score)``, on which
mass counts by ratio. Contributions: on each path, a split whose half holds less mass than half of its parent's speaks
against the split's feature; the score is shared out by the sum of these log ratios.

A missing feature goes down the more visited side and contributes 0; a reading with no feature at all is neither
scored nor learnt. State: about 20 KiB per series with the defaults, and 4 KiB of past scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.calibration import Calibration
from oddtide.domain.detection.ports import DetectorSpec, DetectorState, Rows, Scores
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.detection.slots import array_of, check_rows, columns, enlarged
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import kernel

__all__ = ["HalfSpaceTrees", "HalfSpaceTreesSettings"]

_REVISION = 1
_HUGE = 1e150
#: A split stays this share of the node's width away from its ends (as river does).
_PADDING = 0.15
#: Below this share of the window a node is too thinly populated to be followed further (the paper's constant).
_SIZE_LIMIT = 0.1


@dataclass(frozen=True, slots=True)
class HalfSpaceTreesSettings:
    """``trees``, ``height`` and ``window`` (readings per count) as in the paper; ``margin``: how far beyond the first
    window's range a feature's range reaches, as a share of it; ``calibration``: past scores kept per series;
    ``learn_range``: false where features are in [0, 1] already; ``seed``: draws the trees."""

    trees: int = 10
    height: int = 8
    window: int = 250
    margin: float = 0.15
    learn_range: bool = True
    calibration: int = 256
    seed: int = 1

    def __post_init__(self) -> None:
        check_range("trees", self.trees, 1, 1_000)
        check_range("height", self.height, 1, 15)
        check_range("window", self.window, 10, 30_000)
        check_range("margin", self.margin, 0.0, 10.0)
        check_range("seed", self.seed, 0, 2**63 - 1)


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


@kernel
def _place(x: FloatArray, limits: FloatArray, out: FloatArray) -> bool:
    """``x`` within its series' range, ``limits`` (2, d): low, width, into ``out``; false where no feature is known."""
    any_known = False
    for j in range(len(x)):
        value = min(max(float(x[j]), -_HUGE), _HUGE) if not math.isnan(x[j]) else math.nan
        out[j] = (value - limits[0, j]) / limits[1, j]
        any_known = any_known or not math.isnan(out[j])
    return any_known


@kernel
def _child(node: int, position: float, split: float, mass: NDArray[np.int16]) -> int:
    """Where to go from ``node``; a missing feature follows the crowd, as in river."""
    left = 2 * node + 1
    if math.isnan(position):
        return left + 1 if mass[left] < mass[left + 1] else left
    return left if position < split else left + 1


@kernel
def _count(
    on: IntArray, at: FloatArray, height: int, position: FloatArray, latest: NDArray[np.int16]
) -> None:
    """Count one reading in the nodes it falls through. ``latest`` is (trees, nodes)."""
    for tree in range(len(on)):
        node = 0
        mass = latest[tree]
        for _ in range(height):
            mass[node] += 1
            node = _child(node, position[on[tree, node]], at[tree, node], mass)
        mass[node] += 1


@kernel
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


@kernel
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


@kernel
def _turn(masses: NDArray[np.int16]) -> None:
    """The latest window becomes the reference."""
    masses[0] = masses[1]
    masses[1] = 0


@kernel
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


@kernel
def _run(
    trees: tuple[IntArray, FloatArray, int, int, float],
    masses: NDArray[np.int16],
    limits: FloatArray,
    first: FloatArray,
    counts: IntArray,
    slots: IntArray,
    values: FloatArray,
    learning: bool,
    mass: FloatArray,
    against: FloatArray,
    seen_before: IntArray,
) -> None:
    """Rows in order: weighed where ``mass`` has room (NaN where there is no reference yet), then learnt.
    ``counts`` is (slots, 2): readings seen, readings learnt (those with a feature at all)."""
    on, at, height, window, _margin = trees
    position = np.empty(values.shape[1])
    for i in range(len(slots)):
        slot = slots[i]
        seen, counted = counts[slot]
        known = False
        for j in range(values.shape[1]):
            known = known or not math.isnan(values[i, j])
        if len(mass) > 0:
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


class HalfSpaceTrees:
    """The detector ``half_space_trees``. Deterministic given ``seed``, which every series shares."""

    def __init__(self, features: tuple[str, ...], settings: HalfSpaceTreesSettings | None = None) -> None:
        self._settings = chosen = settings or HalfSpaceTreesSettings()
        self._features = features
        self._version = version_of("half_space_trees", _REVISION, chosen, features)
        on, at = plant(chosen.trees, chosen.height, len(features), chosen.seed)
        self._trees = (on, at, chosen.height, chosen.window, chosen.margin)
        self._calibration = Calibration(chosen.calibration)
        d, kept = len(features), chosen.window if chosen.learn_range else 0
        self._slots = 0
        self._masses = np.zeros((0, 2, chosen.trees, 2 ** (chosen.height + 1) - 1), dtype=np.int16)
        self._limits: FloatArray = np.zeros((0, 2, d))
        self._first: FloatArray = np.zeros((0, kept, d))
        self._counts: IntArray = np.zeros((0, 2), dtype=np.int64)

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> HalfSpaceTrees:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, HalfSpaceTreesSettings))

    @property
    def warm_up(self) -> int:
        """One window to count, and the scores that calibration needs."""
        return self._settings.window + self._calibration.minimum

    @property
    def version(self) -> str:
        """Algorithm, parameters and features."""
        return self._version

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``."""
        before = len(self._limits)
        self._slots = max(self._slots, slots)
        self._masses, self._first = enlarged(self._masses, slots), enlarged(self._first, slots)
        self._limits, self._counts = enlarged(self._limits, slots), enlarged(self._counts, slots)
        self._limits[before:, 1] = 1.0
        self._calibration.grow(slots)

    def score(self, rows: Rows) -> Scores:
        """Score each row by what is known now."""
        return self._run(rows, learn=False)

    def learn(self, rows: Rows) -> None:
        """Learn the rows in order: each is weighed first, since calibration learns from scores."""
        self._run(rows, learn=True)

    def advance(self, rows: Rows) -> Scores:
        """Row by row: score, then learn."""
        return self._run(rows, learn=True)

    def forget(self, slot: int) -> None:
        """Reset one slot."""
        self._masses[slot], self._first[slot], self._counts[slot] = 0, 0.0, 0
        self._limits[slot] = [[0.0], [1.0]]
        self._calibration.forget(slot)

    def save(self) -> DetectorState:
        """Copies of the state's arrays."""
        n = self._slots
        arrays = {"masses": self._masses, "limits": self._limits, "first": self._first, "counts": self._counts}
        return {**{name: array[:n].copy() for name, array in arrays.items()}, **self._calibration.save()}

    def load(self, state: DetectorState) -> None:
        """Replace the state by a saved one. Raises ``StateMismatchError`` for one of other features or parameters."""
        masses, limits = array_of(state, "masses", self._masses), array_of(state, "limits", self._limits)
        first, counts = array_of(state, "first", self._first), array_of(state, "counts", self._counts)
        self._calibration.load(state)
        self._masses, self._limits, self._first, self._counts = masses, limits, first, counts
        self._slots = len(counts)

    def _run(self, rows: Rows, *, learn: bool) -> Scores:
        n, d = len(rows), len(self._features)
        check_rows(rows, self._slots, d)
        slots, values = columns(rows)
        mass, against, seen = np.empty(n), np.zeros((n, d)), np.empty(n, dtype=np.int64)
        state = (self._masses, self._limits, self._first, self._counts)
        _run(self._trees, *state, slots, values, learn, mass, against, seen)
        p_value = self._calibration.grade(slots, -np.log(mass), learn=learn)
        valid = (seen >= self.warm_up) & ~np.isnan(mass)
        score = np.where(valid, np.maximum(1.0 - mass, 0.0), 0.0)
        return Scores(score, np.where(valid, p_value, 1.0), _shares(score, against, values), seen)


def _shares(score: FloatArray, against: FloatArray, values: FloatArray) -> FloatArray:
    """(n, d) contributions: the score by what speaks against each feature; evenly over those present if none."""
    weights = np.where(against.sum(axis=1, keepdims=True) > 0, against, ~np.isnan(values))
    total = weights.sum(axis=1, keepdims=True)
    shares: FloatArray = score[:, None] * (weights / np.maximum(total, 1e-300))
    return shares
