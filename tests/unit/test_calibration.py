"""P-values from past scores: as a slow reference says, right where nothing is wrong, and in the order of the scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.domain.detection.calibration import Calibration, tail_p_values
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray
from tests.unit.past_scores_reference import PastScores, by_sample, predictive

pytestmark = pytest.mark.kernels
QUICK = settings(max_examples=25, deadline=None)


def graded(scores: FloatArray, *, memory: int = 32_768, minimum: int = 50) -> FloatArray:
    """The p-values of one series."""
    return graded_on(Calibration(memory, minimum), scores)


def graded_on(calibration: Calibration, scores: FloatArray, *, learn: bool = True) -> FloatArray:
    calibration.grow(1)
    return calibration.grade(np.zeros(len(scores), dtype=np.int64), scores, learn=learn)


def drawn(kind: str, n: int) -> FloatArray:
    rng = np.random.default_rng(sum(kind.encode()))
    noise = rng.exponential(size=n)
    if kind == "runs":
        noise[rng.integers(0, n, n // 40)[:, None] + np.arange(5)] += 6.0
    elif kind == "rises":
        noise *= np.linspace(1.0, 9.0, n)
    elif kind == "falls":
        noise = noise * 0.01 + 50.0 * (np.arange(n) < n // 4)
    elif kind == "few values":
        noise = np.minimum(np.floor(noise), 3.0) / 3.0
    elif kind == "constant":
        noise[:] = np.where(np.arange(n) % 400 == 399, 2.5, 0.1)
    return noise


@pytest.mark.parametrize("kind", ["independent", "runs", "rises", "falls", "few values", "constant"])
def test_as_the_reference_says(kind: str) -> None:
    n = 900
    scores = drawn(kind, n + 8)[:n]
    for memory, minimum in ((32_768, 50), (64, 10)):
        reference = PastScores(memory, minimum)
        wanted = np.empty(n)
        for i, score in enumerate(scores.tolist()):
            wanted[i] = reference.grade(score)
            reference.learn(score)
        np.testing.assert_allclose(graded(scores, memory=memory, minimum=minimum), wanted, rtol=1e-6)


def test_the_tail_is_what_the_posterior_predicts() -> None:
    """By brute force: the posterior over rate (the inverse of the shape) and shape to scale, integrated numerically."""
    excesses = np.random.default_rng(3).exponential(size=20)
    shapes = np.array([0.02, 0.1, 0.2, 0.33, 0.5, 0.8])  # those above 0 alone: enough, and their rates are
    excesses[0] = 20.0  # ... since with this one no lighter tail is possible
    thetas, rates = shapes / (1.0 - shapes) / excesses.mean(), np.geomspace(1e-2, 1e4, 200_000)
    prior = np.exp(-0.5 * ((shapes + 0.05) / 0.2) ** 2)
    whole, beyond = 0.0, 0.0
    for theta, odds in zip(thetas, prior, strict=True):
        logs = np.log1p(theta * excesses).sum()
        # a step of the geometric grid is the odds by the rate's inverse
        likelihood = odds * np.exp(20 * np.log(rates * theta) - (rates + 1.0) * logs + 20 * np.log(excesses.mean()))
        whole += likelihood.sum()
        beyond += (likelihood * (1.0 + theta * 30.0) ** -rates).sum()
    assert predictive(excesses.tolist(), 0.0, 30.0) == pytest.approx(beyond / whole, rel=1e-3)


@pytest.mark.parametrize(("kind", "most"), [("normal", 1.3), ("exponential", 1.3), ("student", 2.5)])
def test_p_values_are_right_where_nothing_is_wrong(kind: str, most: float) -> None:
    """150 series of 1,000 scores: shares of p-values as small are what they should be, a little less, or with heavy
    tails (Student's t with three degrees of freedom) not far more."""
    rng = np.random.default_rng(20)
    size = 150, 1_000
    draws = {"normal": rng.normal(size=size), "exponential": rng.exponential(size=size)}
    scores = np.abs(draws.get(kind, rng.standard_t(3.0, size=size)))
    p_values = np.concatenate([graded(row)[50:] for row in scores])
    for level in (0.3, 0.1, 0.03, 0.01, 1e-3):
        assert 0.2 * level <= (p_values <= level).mean() <= most * level
    assert (p_values <= 1e-4).mean() <= 2.0 * most * 1e-4


@QUICK
@given(st.lists(st.floats(-1e30, 1e30), min_size=50, max_size=150), st.lists(st.floats(-1e38, 1e38), min_size=2))
def test_a_larger_score_never_has_a_larger_p_value(past: list[float], scores: list[float]) -> None:
    calibration = Calibration()
    graded_on(calibration, np.array(past))
    p_values = graded_on(calibration, np.sort(scores), learn=False)
    assert (np.diff(p_values) <= 0.0).all()
    assert ((p_values > 0.0) & (p_values <= 1.0)).all()
    assert (graded_on(calibration, np.sort(scores), learn=False) == p_values).all()  # nothing was learnt


@QUICK
@given(st.integers(0, 2**32), st.integers(-60, 60), st.floats(-100.0, 100.0))
def test_neither_unit_nor_level_matter(seed: int, power: int, shift: float) -> None:
    scores = np.round(np.random.default_rng(seed).exponential(size=400), 3)
    plain = graded(scores)
    np.testing.assert_array_equal(graded(scores * 2.0**power), plain)
    np.testing.assert_allclose(graded(scores * 3.0 + shift), plain, rtol=2e-2)


def test_the_strangest_of_all_has_the_smallest_p_value() -> None:
    rng = np.random.default_rng(8)
    scores = rng.exponential(size=20_000)
    scores[[9_000, 19_000]] = 30.0, 120.0
    p_values = graded(scores)
    assert (np.diff(p_values[[9_000, 19_000]]) < 0.0).all()
    assert p_values.argmin() == 19_000
    assert p_values[19_000] < 1e-6


def test_one_wild_score_does_not_hide_the_next() -> None:
    scores = np.abs(np.random.default_rng(9).normal(size=2_000))
    scores[[1_000, 1_500]] = 1e6, 20.0
    p_values = graded(scores)
    assert p_values[1_500] < 1e-5


def test_a_stretch_that_lasts_becomes_ordinary_slowly() -> None:
    scores = np.abs(np.random.default_rng(10).normal(size=6_000))
    scores[4_000:] += 10.0
    p_values = graded(scores)
    assert (p_values[4_000:4_030] < 1e-4).all()
    assert (p_values[4_030:4_100] < 0.1).all()
    assert np.median(p_values[5_800:]) > 0.1


def test_with_hold_a_stretch_that_lasts_stays_strange_and_a_heavy_tail_is_still_learnt() -> None:
    ordinary = np.random.default_rng(12).exponential(size=8_000)
    stretch = np.where(np.arange(8_000) < 2_000, ordinary, ordinary + 12.0)
    lasting = graded_on(Calibration(hold=1e-3), stretch)
    assert lasting[2_000:].max() < 1e-3 < graded(stretch)[7_000:].min()
    spikes = np.where(np.arange(8_000) % 50 == 49, ordinary + 12.0, ordinary)
    assert np.median(graded_on(Calibration(hold=1e-3), spikes)[1_049::50]) > 1e-3


def test_what_is_no_score_is_not_learnt() -> None:
    scores = np.abs(np.random.default_rng(11).normal(size=300))
    plain, with_gaps = graded(scores), graded(np.repeat(scores, 2) * np.tile([1.0, np.nan], 300))
    assert (with_gaps[1::2] == 1.0).all()
    np.testing.assert_array_equal(with_gaps[::2], plain)


def test_huge_and_equal_scores_give_no_nonsense() -> None:
    scores = np.concatenate([np.zeros(200), [1e-300, 1e300, 5.0], np.full(100, 1e300), np.full(100, -1e300), [0.0]])
    p_values = graded(scores)
    assert ((p_values > 0.0) & (p_values <= 1.0)).all()
    assert (p_values[:200] == 1.0).all()
    assert p_values[201] < 1e-5


def test_memory_is_what_the_docstring_says() -> None:
    assert Calibration().bytes_per_slot == 1_020
    with pytest.raises(ConfigurationError, match="calibration"):
        Calibration(63)


@QUICK
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50), st.lists(st.floats(-1e7, 1e7), min_size=2))
def test_against_a_fixed_sample(past: list[float], scores: list[float]) -> None:
    p_values = tail_p_values(np.sort(past), np.sort(scores))
    assert (np.diff(p_values) <= 0).all()
    assert ((p_values > 0) & (p_values <= 1)).all()
    np.testing.assert_allclose(p_values, [by_sample(np.sort(past), score) for score in np.sort(scores)], rtol=1e-6)
