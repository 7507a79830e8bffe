"""LODA against its definition in plain numpy, and what it promises beyond that."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oddtide.domain.detection import DetectorSpec, Rows, Scores
from oddtide.domain.detection.loda import Loda
from oddtide.domain.detection.loda_cuts import draw_cuts
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray

pytestmark = pytest.mark.kernels


def rows_of(values: FloatArray) -> Rows:
    n = len(values)
    return Rows(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), values)


def advanced(values: FloatArray, **parameters: object) -> Scores:
    names = tuple(f"f{j}" for j in range(values.shape[1]))
    detector = Loda.from_spec(DetectorSpec("loda", parameters), names)
    detector.grow(1)
    return detector.advance(rows_of(values))


def by_definition(
    values: FloatArray, *, cuts: int, bins: int, window: int, memory: int
) -> tuple[FloatArray, FloatArray]:
    """Scores and t-statistics, the other parameters at their defaults; complete readings only."""
    n, d = values.shape
    on, by = draw_cuts(cuts, d, 1)
    weights = np.zeros((len(on), d))
    np.put_along_axis(weights, on, by, axis=1)
    z = (values - values[:window].mean(axis=0)) / values[:window].std(axis=0)
    numbers = (z / np.sqrt(1 + (z / 100.0) ** 2)) @ weights.T
    placed = numbers[window : 2 * window]
    v = (numbers - placed.mean(axis=0)) / (2.0 * placed.std(axis=0))
    place = np.minimum(((1 + v / (1 + abs(v))) / 2 * bins).astype(int), bins - 1)
    counts, scores, t = np.zeros((len(on), bins)), np.zeros(n), np.zeros((n, d))
    every, uses = np.arange(len(on)), weights != 0
    for i in range(2 * window, n):
        total = counts.sum(axis=1)
        share = (counts[every, place[i]] + 1.0 / bins) / (total + 1.0)
        surprise = np.maximum(-np.log(share) + 2 * np.log1p(abs(v[i])), 0.0)
        if i >= 3 * window:
            scores[i] = surprise.mean()
            for j in range(d):
                mine, theirs = surprise[uses[:, j]], surprise[~uses[:, j]]
                noise = mine.var() / len(mine) + theirs.var() / len(theirs)
                t[i, j] = max(mine.mean() - theirs.mean(), 0.0) / math.sqrt(noise)
        counts[every, place[i]] += 1.0
        counts[total + 1 >= 2 * memory] *= 0.5
    return scores, t


def test_it_is_its_definition() -> None:
    values = np.random.default_rng(0).normal(size=(130, 5)) * (1, 20, 0.1, 5, 1) + (0, 0, 9, -40, 0)
    values[90:, 0] += 2.0
    scores = advanced(values, cuts=12, bins=8, window=15, memory=20)
    wanted, t = by_definition(values, cuts=12, bins=8, window=15, memory=20)
    np.testing.assert_allclose(scores.score, wanted, rtol=1e-6)
    some = t.sum(axis=1) > 0
    assert some.sum() > 50
    shares = wanted[some, None] * t[some] / t[some].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores.contributions[some], shares, rtol=1e-4, atol=1e-6)


def test_the_feature_that_is_off_contributes_most() -> None:
    values = np.random.default_rng(1).normal(size=(900, 8))
    off = np.arange(500, 900, 25)
    values[off, 5] += 12.0
    scores = advanced(values)
    assert (np.argmax(scores.contributions[off], axis=1) == 5).mean() >= 0.9
    ordinary = np.setdiff1d(np.arange(300, 900), off)
    assert scores.score[off].min() > np.quantile(scores.score[ordinary], 0.97)
    assert (scores.p_value[ordinary] < 0.05).mean() == pytest.approx(0.05, abs=0.05)


def test_farther_out_is_stranger_beyond_all_that_was_seen() -> None:
    values = np.random.default_rng(2).normal(size=(400, 1))
    found = []
    for far in (5.0, 10.0, 50.0, 90.0):
        values[-1] = far
        found.append(advanced(values).score[-1])
    assert (np.diff(found) > 0.3).all()


def test_missing_features_leave_out_the_cuts_that_look_at_them() -> None:
    values = np.random.default_rng(3).normal(size=(400, 6))
    values[::5, 2] = np.nan
    values[-1] = (0, 9, np.nan, 0, 0, 0)
    values[-2] = (np.nan, np.nan, np.nan, np.nan, np.nan, 9.0)  # no cut is whole
    scores = advanced(values)
    assert (scores.score[150:-2] > 0).all()
    assert scores.score[-1] > np.quantile(scores.score[150:-2], 0.98)
    assert np.argmax(scores.contributions[-1]) == 1
    assert (scores.score[-2], scores.p_value[-2]) == (0.0, 1.0)


def test_a_feature_that_the_first_window_lacks_stays_without_say() -> None:
    values = np.random.default_rng(4).normal(size=(300, 4))
    values[:50, 1] = np.nan
    scores = advanced(values)
    values[200:, 1] = 50.0
    np.testing.assert_array_equal(advanced(values).score, scores.score)
    assert (scores.contributions[:, 1] == 0).all()
    values[:50, 0] = np.nan  # now no cut of these two is ever whole
    assert np.isfinite(advanced(values[:, :2]).score).all()


def test_what_it_knows_is_forgotten() -> None:
    values = np.random.default_rng(5).normal(size=(1_200, 3))
    values[300:] += 4.0
    scores = advanced(values, memory=100).score
    assert scores[300:320].mean() > 1.5 * scores[-100:].mean()
    assert scores[-100:].mean() < 1.3 * scores[200:300].mean()


def test_units_do_not_matter() -> None:
    values = np.random.default_rng(6).normal(size=(300, 3))
    other = values * (1 / 1024, 8.0, 65536.0)
    one, two = advanced(values), advanced(other)
    np.testing.assert_allclose(one.score, two.score, rtol=1e-9)
    np.testing.assert_allclose(one.contributions, two.contributions, rtol=1e-6, atol=1e-9)


def test_cuts_are_drawn_by_the_seed() -> None:
    on, by = draw_cuts(40, 16, 1)
    assert on.shape == by.shape == (40, 4)
    assert all(len(set(row)) == 4 for row in on)
    np.testing.assert_allclose((by**2).sum(axis=1), 1.0)
    np.testing.assert_array_equal(by, draw_cuts(40, 16, 1)[1])
    assert not np.array_equal(by, draw_cuts(40, 16, 2)[1])
    assert draw_cuts(40, 1, 1)[0].shape == (1, 1)
    assert draw_cuts(40, 2, 1)[0].shape == (40, 2)


@pytest.mark.parametrize(
    "parameters",
    [{"cuts": 0}, {"bins": 1}, {"window": 1}, {"memory": 1}, {"prior": 0.0}, {"spread": 0.0}, {"bound": 0.1},
     {"seed": -1}, {"calibration": 3}, {"projections": 5}],
)  # fmt: skip
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        advanced(np.zeros((1, 1)), **parameters)


def test_a_cut_that_no_reading_of_its_window_had_is_not_asked() -> None:
    values = np.random.default_rng(5).normal(size=(600, 3))
    values[5:360, 1] = np.nan  # seen by the first window, missing in all of the next
    detector = Loda(("a", "b", "c"))
    detector.grow(1)
    n = len(values)
    found = detector.advance(Rows(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), values))
    assert found.score[400:].max() < 10  # a cut that was never placed would find every reading thirty times stranger
