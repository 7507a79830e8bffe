"""Half-space trees against river's: the same scores on the same trees, the same quality on trees of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oddtide.domain.detection import DetectorSpec, Rows
from oddtide.domain.detection.half_space_forest import plant
from oddtide.domain.detection.half_space_trees import HalfSpaceTrees, HalfSpaceTreesSettings
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray, IntArray

pytestmark = pytest.mark.kernels


def rows_of(values: FloatArray) -> Rows:
    n = len(values)
    return Rows(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), values)


def grown(features: int, settings: HalfSpaceTreesSettings) -> HalfSpaceTrees:
    detector = HalfSpaceTrees(tuple(f"f{j}" for j in range(features)), settings)
    detector.grow(1)
    return detector


def as_dict(row: FloatArray) -> dict[str, float]:
    return {f"f{j}": float(value) for j, value in enumerate(row) if not np.isnan(value)}


def rivers(trees: tuple[IntArray, FloatArray], height: int, window: int) -> Any:
    """river's detector with our trees in it."""
    from river import anomaly
    from river.tree import padded

    leaf: Any = padded.PaddedLeaf  # river leaves both untyped
    branch: Any = padded.PaddedBranch

    def node(tree: int, place: int, depth: int) -> Any:
        if depth == height:
            return leaf(l_mass=0, r_mass=0)
        left, right = (node(tree, child, depth + 1) for child in (2 * place + 1, 2 * place + 2))
        feature, split = f"f{trees[0][tree, place]}", float(trees[1][tree, place])
        return branch(left, right, feature, split, l_mass=0, r_mass=0)

    model: Any = anomaly.HalfSpaceTrees(n_trees=len(trees[0]), height=height, window_size=window)
    model.trees = [node(tree, 0, 0) for tree in range(len(trees[0]))]
    model._tree_nodes = [list(tree.iter_dfs()) for tree in model.trees]
    return model


def test_on_the_same_trees_scores_equal_rivers() -> None:
    rng = np.random.default_rng(0)
    values = np.clip(rng.normal(0.5, 0.15, size=(600, 3)), 0, 1)
    values[rng.random(values.shape) < 0.03] = np.nan
    values = values[~np.isnan(values).all(axis=1)]
    chosen = HalfSpaceTreesSettings(trees=4, height=5, window=50, learn_range=False, calibration=64, seed=7)
    model = rivers(plant(4, 5, 3, 7), 5, 50)
    detector = grown(3, chosen)
    ours = detector.advance(rows_of(values))
    theirs = np.empty(len(values))
    for i, row in enumerate(values):
        theirs[i] = model.score_one(as_dict(row))
        model.learn_one(as_dict(row))
    mature = ours.seen >= detector.warm_up
    np.testing.assert_allclose(ours.score[mature], theirs[mature], rtol=0, atol=1e-12)


def auc(scores: FloatArray, labels: FloatArray) -> float:
    """Area under the ROC curve, by ranks (ties share theirs)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = labels.sum()
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives)))


def test_quality_equals_rivers_on_shuttle() -> None:
    """3,000 rows of the labelled Shuttle set that ships with river, three seeds: mean ROC-AUC within 0.02 of river's,
    with our learnt range as well as on the same scaled input."""
    from river import anomaly, datasets

    stream: Any = datasets.Shuttle()
    records = [(list(x.values()), float(y)) for x, y in stream.take(3_000)]
    values = np.array([x for x, _ in records], dtype=np.float64)
    labels = np.array([y for _, y in records])
    scaled = (values - values.min(axis=0)) / np.maximum(values.max(axis=0) - values.min(axis=0), 1e-12)
    results: dict[str, list[float]] = {"river": [], "scaled": [], "learnt": []}
    for seed in (1, 2, 3):
        model: Any = anomaly.HalfSpaceTrees(seed=seed)
        theirs = np.empty(len(scaled))
        for i, row in enumerate(scaled):
            theirs[i] = model.score_one(as_dict(row))
            model.learn_one(as_dict(row))
        for name, table, learn_range in (("scaled", scaled, False), ("learnt", values, True)):
            detector = grown(values.shape[1], HalfSpaceTreesSettings(seed=seed, learn_range=learn_range))
            scores = detector.advance(rows_of(table))
            mature = scores.seen >= detector.warm_up
            results[name].append(auc(scores.score[mature], labels[mature]))
        results["river"].append(auc(theirs[mature], labels[mature]))
    means = {name: float(np.mean(each)) for name, each in results.items()}
    assert means["river"] > 0.9
    assert means["scaled"] == pytest.approx(means["river"], abs=0.02)
    assert means["learnt"] == pytest.approx(means["river"], abs=0.02)


def test_the_feature_that_is_off_contributes_most() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(1_500, 4))
    off = np.arange(1_000, 1_500, 25)
    values[off, 2] += 12.0
    values[1_499] = 12.0
    scores = grown(4, HalfSpaceTreesSettings(trees=25)).advance(rows_of(values))
    assert (np.argmax(scores.contributions[off], axis=1) == 2).mean() >= 0.8
    ordinary = np.setdiff1d(np.arange(400, 1_500), off)
    assert (scores.p_value[ordinary] < 0.05).mean() == pytest.approx(0.05, abs=0.05)
    assert scores.p_value[1_499] < 0.01


def test_a_feature_absent_from_the_first_window_stays_without_say() -> None:
    values = np.random.default_rng(2).normal(size=(400, 2))
    values[:60, 1] = np.nan
    scores = grown(2, HalfSpaceTreesSettings(window=50, calibration=64)).advance(rows_of(values))
    assert np.isfinite(scores.score).all()
    assert (scores.score[200:] > 0).any()


def test_the_layout_splits_within_bounds() -> None:
    on, at = plant(3, 6, 5, 9)
    assert on.shape == at.shape == (3, 63)
    assert set(np.unique(on)) <= set(range(5))
    assert ((at > 0) & (at < 1)).all()
    again = plant(3, 6, 5, 9)
    np.testing.assert_array_equal(at, again[1])


@pytest.mark.parametrize(
    "parameters",
    [{"trees": 0}, {"height": 16}, {"window": 5}, {"margin": -1.0}, {"seed": -1}, {"calibration": 3}, {"tree": 1}],
)
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        HalfSpaceTrees.from_spec(DetectorSpec("half_space_trees", parameters), ("a",))
