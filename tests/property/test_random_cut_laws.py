"""The random cut forest over whatever hypothesis finds: cuts of the log, ties, holes, any magnitude."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.domain.detection import Rows
from oddtide.domain.detection.random_cut_forest import RandomCutForest, RandomCutForestSettings

pytestmark = pytest.mark.kernels
ordinary = st.floats(-100.0, 100.0, allow_subnormal=False).map(lambda x: round(x, 1))
any_value = st.one_of(ordinary, st.integers(0, 2).map(float), st.just(math.nan), st.floats(allow_infinity=False))
readings = st.lists(st.tuples(st.integers(0, 1), any_value, any_value), min_size=30, max_size=150)


def grown(shingle: int, horizon: int) -> RandomCutForest:
    chosen = RandomCutForestSettings(trees=2, samples=8, horizon=horizon, shingle=shingle, calibration=64)
    detector = RandomCutForest(("a", "b"), chosen)
    detector.grow(2)
    return detector


@settings(max_examples=25, deadline=None)
@given(readings, st.lists(st.integers(0, 150), max_size=4), st.sampled_from([1, 3]), st.sampled_from([8, 20]))
def test_cuts_of_the_log_never_matter_and_sums_are_right(
    draw: list[tuple[int, float, float]], edges: list[int], shingle: int, horizon: int
) -> None:
    values = np.array([[a, b] for _, a, b in draw])
    rows = Rows(np.array([slot for slot, _, _ in draw]), np.zeros(len(draw), dtype=np.int64), values)
    whole, pieces = grown(shingle, horizon), grown(shingle, horizon)
    one = whole.advance(rows)
    assert np.isfinite(one.score).all()
    assert ((one.score >= 0) & (one.score <= 1)).all()
    np.testing.assert_allclose(one.contributions.sum(axis=1), one.score, rtol=1e-9)
    for a, b in itertools.pairwise(sorted({0, len(draw), *(min(edge, len(draw)) for edge in edges)})):
        part = pieces.advance(Rows(rows.slots[a:b], rows.times[a:b], values[a:b]))
        np.testing.assert_array_equal(part.score, one.score[a:b])
        np.testing.assert_array_equal(part.contributions, one.contributions[a:b])
    for name, column in whole.extract(np.arange(2)).items():
        np.testing.assert_array_equal(column, pieces.extract(np.arange(2))[name], err_msg=name)


@settings(max_examples=25, deadline=None)
@given(readings, st.sampled_from([1, 3]))
def test_no_point_is_lost_and_every_leaf_is_found(draw: list[tuple[int, float, float]], shingle: int) -> None:
    """However many points are equal: as many as the sample holds, each below the root by the cuts on its way."""
    detector = grown(shingle, 8)
    values = np.array([[a, b] for _, a, b in draw])
    detector.learn(Rows(np.zeros(len(draw), dtype=np.int64), np.zeros(len(draw), dtype=np.int64), values))
    state = {name: np.asarray(column)[0] for name, column in detector.extract(np.array([0])).items()}
    if state["counts"][2] < 8:
        return
    assert state["copies"].sum() == 8
    for tree, (root, _) in enumerate(state["ends"]):
        for position in np.flatnonzero(state["copies"]):
            place = int(root)
            while place >= 0:
                left, right, _, _, on = state["nodes"][tree, place, :5].tolist()
                place = left if state["points"][position, on] <= state["cuts"][tree, place] else right
            assert ~place == position
