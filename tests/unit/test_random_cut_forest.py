"""The random cut forest against its definition: trees that are trees, the paper's odds, scores by recursion."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from oddtide.domain.detection import DetectorSpec, Rows, Scores
from oddtide.domain.detection.random_cut_forest import RandomCutForest, RandomCutForestSettings
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray
from oddtide.domain.slots import SlotState

pytestmark = pytest.mark.kernels
SMALL = RandomCutForestSettings(trees=5, samples=12, horizon=30, calibration=64, seed=3)


def rows_of(values: FloatArray) -> Rows:
    n = len(values)
    return Rows(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), values)


def grown(features: int, settings: RandomCutForestSettings = SMALL) -> RandomCutForest:
    detector = RandomCutForest(tuple(f"f{j}" for j in range(features)), settings)
    detector.grow(1)
    return detector


class Tree:
    """One tree of an extracted state, looked at in plain Python."""

    def __init__(self, state: SlotState, tree: int) -> None:
        column = {name: np.asarray(value)[0] for name, value in state.items()}
        self.points, self.scales, self.copies = column["points"], column["scales"], column["copies"]
        self.nodes, self.cuts, self.above = column["nodes"][tree], column["cuts"][tree], column["above"][tree]
        self.root = int(column["ends"][tree, 0])

    def below(self, place: int) -> list[int]:
        """Positions of the leaves below a place."""
        if place < 0:
            return [~place]
        return self.below(int(self.nodes[place, 0])) + self.below(int(self.nodes[place, 1]))

    def inner(self, place: int) -> Iterator[int]:
        if place >= 0:
            yield place
            yield from self.inner(int(self.nodes[place, 0]))
            yield from self.inner(int(self.nodes[place, 1]))

    def size(self, place: int) -> int:
        return int(self.copies[self.below(place)].sum())

    def check(self) -> None:
        """Every node parts its points by its cut, counts them, and knows their extremes."""
        wide = self.points.shape[1]
        assert sorted(self.below(self.root)) == np.flatnonzero(self.copies).tolist()
        for node in self.inner(self.root):
            left, right, _, count, on = self.nodes[node, :5].tolist()
            assert self.points[self.below(left), on].max() <= self.cuts[node] < self.points[self.below(right), on].min()
            assert count == self.size(node)
            held = self.points[self.below(node)]
            lowest, highest = self.nodes[node, 5 : 5 + wide], self.nodes[node, 5 + wide :]
            np.testing.assert_array_equal(self.points[lowest, range(wide)], held.min(axis=0))
            np.testing.assert_array_equal(self.points[highest, range(wide)], held.max(axis=0))
            for place in (left, right):
                assert (self.above[~place] if place < 0 else self.nodes[place, 2]) == node

    def displacement(self, x: FloatArray, place: int, least: float) -> FloatArray:
        """By the definition, recursively: what each dimension's cuts make of ``x``, then what is left for its equal.
        A cut that parts ``x`` from a place displaces all that is there, or what a step further up displaces more."""
        held = self.points[self.below(place)]
        low, high = held.min(axis=0), held.max(axis=0)
        growth = np.maximum(np.maximum(low - x, x - high), 0.0) * self.scales
        wide = growth.sum() + ((high - low) * self.scales).sum()
        odds = growth / wide if wide > 0 else growth
        out = np.append(odds * np.log2(1 + max(self.size(place), least)), 0.0)
        if place < 0:
            out[-1] = (1.0 - odds.sum()) * np.log2(1 + least)
            return out
        child, other = self.nodes[place, :2].tolist()
        if x[self.nodes[place, 4]] > self.cuts[place]:
            child, other = other, child
        beside = self.size(other) / (self.size(child) + 1)
        further: FloatArray = out + (1.0 - odds.sum()) * self.displacement(x, child, max(least, beside))
        return further


def trees_of(detector: RandomCutForest, trees: int) -> list[Tree]:
    state = detector.extract(np.array([0]))
    return [Tree(state, tree) for tree in range(trees)]


def stream(kind: str, n: int = 150) -> FloatArray:
    rng = np.random.default_rng(4)
    streams: dict[str, FloatArray] = {
        "normal": rng.normal(size=(n, 3)),
        "few levels": rng.integers(0, 3, size=(n, 2)).astype(float),
        "constant": np.full((n, 2), 5.0),
        "a step": np.where(np.arange(n)[:, None] < 60, 1.0, 2.0),
        "far apart": rng.choice([1e300, -1e300, 5e-324, 0.0, -1e-310], size=(n, 2)),
        "one side stands still": np.column_stack([rng.normal(size=n), np.zeros(n)]),
    }
    return streams[kind]


KINDS = ("normal", "few levels", "constant", "a step", "far apart", "one side stands still")


@pytest.mark.parametrize("kind", KINDS)
def test_trees_stay_trees(kind: str) -> None:
    values = stream(kind)
    detector = grown(values.shape[1])
    for part in np.split(values, 10):
        detector.learn(rows_of(part))
        for tree in trees_of(detector, SMALL.trees):
            tree.check()
            assert tree.size(tree.root) == SMALL.samples


@pytest.mark.parametrize("kind", ["normal", "few levels", "a step"])
def test_the_score_is_the_expected_displacement(kind: str) -> None:
    values = stream(kind)
    wide = values.shape[1]
    detector = grown(wide)
    detector.learn(rows_of(values))
    asked = np.concatenate([values[-20:], values[-20:] + 0.7, values[-20:] * 3.0])
    scores = detector.score(rows_of(asked))
    trees = trees_of(detector, SMALL.trees)
    for i, x in enumerate(asked):
        wanted = np.mean([tree.displacement(x, tree.root, 0.0) for tree in trees], axis=0)
        assert scores.score[i] == pytest.approx(wanted.sum() / np.log2(1 + SMALL.samples), rel=1e-4)
        if wanted[:-1].sum() > 0:
            shares = wanted[:-1] / wanted[:-1].sum()
            np.testing.assert_allclose(scores.contributions[i] / scores.score[i], shares, rtol=1e-4, atol=1e-6)


def codisp(points: FloatArray, which: int, rng: np.random.Generator) -> float:
    """The collusive displacement, in bits, of a point in one tree over ``points``, drawn as the paper says."""
    inside, largest = np.arange(len(points)), 0.0
    while (points[inside] != points[which]).any():
        low, high = points[inside].min(axis=0), points[inside].max(axis=0)
        on = int(rng.choice(len(low), p=(high - low) / (high - low).sum()))
        left = points[inside, on] <= rng.uniform(low[on], high[on])
        same = left == left[inside == which][0]
        if same.all():
            continue
        largest = max(largest, (~same).sum() / same.sum())
        inside = inside[same]
    return float(np.log2(1.0 + largest))


@pytest.mark.parametrize("x", [[0.0, 0.0], [2.5, 0.3], [6.0, -6.0]])
def test_scores_equal_those_of_trees_drawn_by_the_paper(x: list[float]) -> None:
    """After many insertions and deletions, the mean over trees is that over fresh trees on sample and point."""
    rng = np.random.default_rng(6)
    chosen = RandomCutForestSettings(trees=300, samples=16, horizon=16, calibration=64)
    values = np.round(rng.normal(size=(80, 2)), 1)
    detector = grown(2, chosen)
    detector.learn(rows_of(values))
    state = detector.extract(np.array([0]))
    scaled = np.vstack([values[-16:], [x]]) * np.asarray(state["scales"])[0]
    drawn = [codisp(scaled, 16, rng) for _ in range(1_500)]
    error = 4.0 * np.std(drawn) * (1_500**-0.5 + 300**-0.5)
    assert detector.score(rows_of(np.array([x]))).score[0] * np.log2(17) == pytest.approx(np.mean(drawn), abs=error)


def test_cuts_have_the_papers_odds() -> None:
    """At the root: a dimension as often as it is wide, its cut even along it, also after deletions."""
    chosen = RandomCutForestSettings(trees=400, samples=20, horizon=20, calibration=64, seed=11)
    values = np.random.default_rng(8).normal(size=(39, 2))  # the spreads are measured anew with the 40th
    detector = grown(2, chosen)
    detector.learn(rows_of(values))
    trees = trees_of(detector, chosen.trees)
    on = np.array([tree.nodes[tree.root, 4] for tree in trees])
    at = np.array([tree.cuts[tree.root] for tree in trees])
    low, high = values[-20:].min(axis=0), values[-20:].max(axis=0)
    widths = (high - low) * trees[0].scales
    assert (on == 0).mean() == pytest.approx(widths[0] / widths.sum(), abs=0.07)
    along = np.sort((at - low[on]) / (high - low)[on])
    assert np.abs(along - np.arange(400) / 400).max() < 0.08  # Kolmogorov and Smirnov's 1 %


def sample(detector: RandomCutForest) -> FloatArray:
    state = {name: np.asarray(value)[0] for name, value in detector.extract(np.array([0])).items()}
    points: FloatArray = state["points"][state["ring"]]
    return points


def test_the_sample_is_the_newest_readings_where_the_horizon_is_no_longer() -> None:
    values = np.random.default_rng(9).integers(0, 9, size=(101, 2)).astype(float)
    detector = grown(2, RandomCutForestSettings(trees=2, samples=12, horizon=12, calibration=64))
    detector.learn(rows_of(values))
    assert sorted(map(tuple, sample(detector))) == sorted(map(tuple, values[-12:]))


def test_the_sample_stretches_over_the_horizon() -> None:
    values = np.arange(5_000.0)[:, None]
    detector = grown(1, RandomCutForestSettings(trees=1, samples=50, horizon=500, calibration=64))
    detector.learn(rows_of(values))
    ages = 4_999 - sample(detector)[:, 0]
    assert len(set(ages)) == 50
    assert 300 < ages.max() < 700


def test_a_shingle_is_readings_in_a_row_newest_first() -> None:
    values = np.arange(40.0)[:, None]
    detector = grown(1, RandomCutForestSettings(trees=1, samples=8, horizon=8, shingle=3, calibration=64))
    detector.learn(rows_of(values))
    wanted = [(i, i - 1.0, i - 2.0) for i in range(32, 40)]
    assert sorted(map(tuple, sample(detector))) == wanted


def test_a_shape_never_seen_stands_out_by_its_shingle() -> None:
    """A wave stands still at an ordinary value for half a period."""
    rng = np.random.default_rng(10)
    values = np.sin(np.arange(1_200) / 4.0) + 0.02 * rng.normal(size=1_200)
    values[1_000:1_012] = values[999]
    best: dict[int, float] = {}
    for shingle in (1, 8):
        scores = grown(1, RandomCutForestSettings(shingle=shingle)).advance(rows_of(values[:, None]))
        best[shingle] = float(scores.p_value[1_000:1_012].min())
    assert best[8] < 0.5 * best[1]


def advanced(values: FloatArray, settings: RandomCutForestSettings = SMALL) -> Scores:
    return grown(values.shape[1], settings).advance(rows_of(values))


def test_units_change_nothing() -> None:
    values = stream("normal", 400)
    one, other = advanced(values), advanced(values * [1e-6, 3.0, -1.8] + [2.0, -1e3, 50.0])
    # Mirrored, a dimension's cuts are other ones; the two others' are the same.
    assert (one.score[-200:] > 0).all()
    same = advanced(values * [1e-6, 3.0, 1.8] + [2e-6, -1e3, 50.0])
    np.testing.assert_allclose(same.score, one.score, rtol=1e-5)
    np.testing.assert_allclose(same.p_value, one.p_value, rtol=1e-4)
    assert np.corrcoef(one.score[-200:], other.score[-200:])[0, 1] > 0.8


def test_the_feature_that_is_off_contributes_most() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(1_500, 4))
    off = np.arange(1_000, 1_500, 25)
    values[off, 2] += 12.0
    scores = advanced(values, RandomCutForestSettings())
    assert (np.argmax(scores.contributions[off], axis=1) == 2).mean() >= 0.8
    ordinary = np.setdiff1d(np.arange(400, 1_500), off)
    assert (scores.p_value[ordinary] < 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_a_missing_feature_has_no_say_and_stands_still() -> None:
    values = np.random.default_rng(2).normal(size=(300, 2))
    values[100:200:2, 1] = np.nan
    values[150] = np.nan
    detector = grown(2)
    scores = detector.advance(rows_of(values))
    assert (scores.contributions[100:200:2, 1] == 0).all()
    assert scores.score[150] == 0.0
    assert scores.p_value[150] == 1.0
    known = sample(detector)
    assert not np.isnan(known).any()
    assert set(known[:, 1]) <= set(values[~np.isnan(values[:, 1]), 1])


def test_a_feature_that_comes_later_has_its_say_later() -> None:
    values = np.random.default_rng(5).normal(size=(600, 2))
    values[:200, 1] = np.nan
    scores = advanced(values)
    assert (scores.contributions[:200, 1] == 0).all()
    assert scores.contributions[200, 1] == 0.0  # how far it strays is not known yet
    assert scores.contributions[-50:, 1].mean() > 0.5 * scores.contributions[-50:, 0].mean()


def test_seeds_draw_other_cuts_and_series_share_them() -> None:
    values = stream("normal", 200)
    one = advanced(values)
    np.testing.assert_array_equal(one.score, advanced(values).score)
    other = advanced(values, RandomCutForestSettings(trees=5, samples=12, horizon=30, calibration=64, seed=4))
    assert (one.score != other.score).any()


@pytest.mark.parametrize(
    "parameters",
    [{"trees": 0}, {"samples": 7}, {"samples": 64, "horizon": 63}, {"shingle": 0}, {"seed": -1}, {"calibration": 3},
     {"tree": 1}],
)  # fmt: skip
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        RandomCutForest.from_spec(DetectorSpec("random_cut_forest", parameters), ("a",))


def test_too_many_dimensions_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="dimensions"):
        RandomCutForest(tuple(f"f{j}" for j in range(11)), RandomCutForestSettings(shingle=1_000))
