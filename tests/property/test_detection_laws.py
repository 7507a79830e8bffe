"""Detection's arithmetic against slow, obvious references, over whatever hypothesis finds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.domain.detection import Rows, Scores
from oddtide.domain.detection.discord import Discord, DiscordSettings
from oddtide.domain.detection.ensemble import Ensemble
from oddtide.domain.detection.ewma import Ewma, EwmaSettings
from oddtide.domain.detection.half_space_trees import HalfSpaceTrees, HalfSpaceTreesSettings
from oddtide.domain.detection.mahalanobis import Mahalanobis, MahalanobisSettings
from oddtide.domain.detection.spot import Spot, SpotSettings
from oddtide.domain.statistics import SMALLEST_P, bonferroni, gaussian_p, gaussian_quantile

pytestmark = pytest.mark.kernels
ordinary = st.floats(-100.0, 100.0, allow_subnormal=False).map(lambda x: round(x, 3))
any_value = st.one_of(ordinary, ordinary, st.floats(allow_infinity=False))  # NaN: missing
QUICK = settings(max_examples=60, deadline=None)


def as_rows(values: list[list[float]], slots: list[int] | None = None) -> Rows:
    n = len(values)
    numbers = np.array(slots or [0] * n, dtype=np.int64)
    return Rows(numbers, np.zeros(n, dtype=np.int64), np.array(values, dtype=np.float64).reshape(n, -1))


@QUICK
@given(st.lists(st.tuples(st.integers(0, 2), any_value, any_value), min_size=5, max_size=60), st.integers(0, 60))
def test_ewma_does_not_care_about_cuts_and_stays_finite(draw: list[tuple[int, float, float]], cut: int) -> None:
    rows = as_rows([[a, b] for _, a, b in draw], [slot for slot, _, _ in draw])
    whole, halves = Ewma(("a", "b"), EwmaSettings(warm_up=3)), Ewma(("a", "b"), EwmaSettings(warm_up=3))
    whole.grow(3)
    halves.grow(3)
    one = whole.advance(rows)
    parts = [
        halves.advance(Rows(rows.slots[where], rows.times[where], rows.values[where]))
        for where in (slice(0, cut), slice(cut, None))
    ]
    np.testing.assert_array_equal(one.p_value, np.concatenate([part.p_value for part in parts]))
    np.testing.assert_array_equal(one.score, np.concatenate([part.score for part in parts]))
    assert np.isfinite(one.score).all()
    assert ((one.p_value > 0) & (one.p_value <= 1)).all()
    np.testing.assert_allclose(one.contributions.sum(axis=1), one.score, rtol=1e-9)


@QUICK
@given(
    st.lists(any_value, min_size=5, max_size=80),
    st.sampled_from(["adaptive", "gaussian"]),
    st.sampled_from([0.5, 0.9, 0.999, 1 - 1e-9]),
)
def test_ewma_p_value_and_band_say_the_same(values: list[float], tails: str, band: float) -> None:
    detector = Ewma(("a",), EwmaSettings(warm_up=3, tails=tails, band=band))
    detector.grow(1)
    scores = detector.advance(as_rows([[value] for value in values]))
    assert scores.expected is not None
    assert scores.lower is not None
    assert scores.upper is not None
    x = np.clip(np.array(values), -1e150, 1e150)
    said = ~np.isnan(scores.lower[:, 0]) & ~np.isnan(x)
    half = scores.upper[said, 0] - scores.expected[said, 0]
    distance = np.abs(x[said] - scores.expected[said, 0])
    p_value = scores.p_value[said]
    # A hair's breadth from the edge rounding may decide either way.
    hair = 1e-9 * half + 1e-12 * np.abs(scores.expected[said, 0])
    assert (p_value[distance > half + hair] <= (1 - band) * (1 + 1e-6)).all()
    assert (p_value[distance < half - hair] >= (1 - band) * (1 - 1e-6)).all()


@QUICK
@given(st.integers(0, 2**32), st.booleans())
def test_half_space_trees_do_not_care_about_cuts(seed: int, learn_range: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((90, 2))
    values[rng.random((90, 2)) < 0.1] = np.nan
    chosen = HalfSpaceTreesSettings(
        trees=2, height=3, window=10, calibration=64, learn_range=learn_range, seed=seed
    )  # fmt: skip
    whole, pieces = HalfSpaceTrees(("a", "b"), chosen), HalfSpaceTrees(("a", "b"), chosen)
    whole.grow(2)
    pieces.grow(2)
    rows = Rows(rng.integers(0, 2, 90), np.zeros(90, dtype=np.int64), values)
    one = whole.advance(rows)
    edges = [0, *sorted(rng.integers(0, 90, 4).tolist()), 90]
    for a, b in itertools.pairwise(edges):
        part = pieces.advance(Rows(rows.slots[a:b], rows.times[a:b], values[a:b]))
        np.testing.assert_array_equal(part.p_value, one.p_value[a:b])
        np.testing.assert_array_equal(part.contributions, one.contributions[a:b])


@QUICK
@given(
    st.lists(st.tuples(any_value, any_value, any_value), min_size=20, max_size=40),
    st.sampled_from([0.0, 0.05]),
    st.sampled_from([0.2, 1.0]),
)
def test_mahalanobis_stays_finite_and_shares_out_its_score(
    draw: list[tuple[float, float, float]], adapt: float, smooth: float
) -> None:
    chosen = MahalanobisSettings(reference=12, warm_up=6, adapt=adapt, smooth=smooth, calibration=64)
    detector = Mahalanobis(("a", "b", "c"), chosen)
    detector.grow(1)
    scores = detector.advance(as_rows([list(row) for row in draw]))
    assert np.isfinite(scores.score).all()
    assert ((scores.p_value > 0) & (scores.p_value <= 1)).all()
    assert (scores.contributions >= 0).all()
    np.testing.assert_allclose(scores.contributions.sum(axis=1), scores.score, rtol=1e-9)
    assert scores.expected is not None
    assert not np.isinf(scores.expected).any()


@QUICK
@given(st.integers(0, 2**32), st.floats(1e-6, 1e6), st.booleans(), st.floats(-100, 100))
def test_mahalanobis_does_not_care_about_units(seed: int, factor: float, flipped: bool, offset: float) -> None:
    values = np.random.default_rng(seed).normal(size=(60, 2))
    scale = np.array([-factor if flipped else factor, 1.0])
    found = []
    for table in (values, values * scale + np.array([offset * factor, 0.0])):
        detector = Mahalanobis(("a", "b"), MahalanobisSettings(reference=40, warm_up=20))
        detector.grow(1)
        found.append(detector.advance(as_rows(table.tolist())))
    np.testing.assert_allclose(found[0].score, found[1].score, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found[0].p_value, found[1].p_value, rtol=1e-5)


@QUICK
@given(st.lists(st.tuples(st.integers(0, 1), any_value, any_value), min_size=40, max_size=120), st.integers(0, 120))
def test_discord_does_not_care_about_cuts_and_stays_finite(draw: list[tuple[int, float, float]], cut: int) -> None:
    rows = as_rows([[a, b] for _, a, b in draw], [slot for slot, _, _ in draw])
    chosen = DiscordSettings(shingle=3, scales=2, history=16, neighbours=2, calibration=64)
    whole, halves = Discord(("a", "b"), chosen), Discord(("a", "b"), chosen)
    whole.grow(2)
    halves.grow(2)
    one = whole.advance(rows)
    parts = [
        halves.advance(Rows(rows.slots[where], rows.times[where], rows.values[where]))
        for where in (slice(0, cut), slice(cut, None))
    ]
    assert one.expected is not None
    for name in ("score", "p_value", "contributions", "expected"):
        column = getattr(one, name)
        np.testing.assert_array_equal(column, np.concatenate([getattr(part, name) for part in parts]), err_msg=name)
        assert not np.isinf(column).any()
    assert np.isfinite(one.score).all()
    assert ((one.p_value > 0) & (one.p_value <= 1)).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(-60, 60))
def test_discord_does_not_care_about_the_unit(seed: int, power: int) -> None:
    """A power of two, so that rounding to single precision is the same too."""
    values = np.random.default_rng(seed).normal(5.0, 1.0, (120, 1))
    chosen = DiscordSettings(shingle=3, scales=2, history=16, calibration=64)
    said = []
    for table in (values, values * 2.0**power):
        detector = Discord(("a",), chosen)
        detector.grow(1)
        said.append(detector.advance(Rows(np.zeros(120, dtype=np.int64), np.zeros(120, dtype=np.int64), table)))
    np.testing.assert_array_equal(said[0].score, said[1].score)
    np.testing.assert_array_equal(said[0].p_value, said[1].p_value)


def spotted(values: list[float], depth: int, band: float = 0.999) -> Scores:
    detector = Spot(("a",), SpotSettings(calibration=20, peaks=10, patience=3, depth=depth, band=band))
    detector.grow(1)
    return detector.advance(as_rows([[value] for value in values]))


@QUICK
@given(
    st.lists(any_value, min_size=30, max_size=90), st.sampled_from([0, 5]), st.sampled_from([0.5, 0.9, 0.999, 1 - 1e-9])
)
def test_spot_p_value_and_band_say_the_same(values: list[float], depth: int, band: float) -> None:
    scores = spotted(values, depth=depth, band=band)
    assert scores.expected is not None
    assert scores.lower is not None
    assert scores.upper is not None
    x = np.clip(np.array(values), -1e150, 1e150)
    said = ~np.isnan(scores.lower[:, 0]) & ~np.isnan(x)
    x, expected, p_value = x[said], scores.expected[said, 0], scores.p_value[said]
    edge = np.where(x > expected, scores.upper[said, 0], scores.lower[said, 0])
    reach, distance = np.abs(edge - expected), np.abs(x - expected)
    assert np.isfinite(edge).all()
    # A hair's breadth from the edge, or from a threshold, rounding may decide either way.
    hair = 1e-6 * reach + 1e-9 * np.maximum(np.abs(expected), np.abs(x))
    assert (p_value[distance > reach + hair] <= (1 - band) * (1 + 1e-5)).all()
    assert (p_value[distance < reach - hair] >= (1 - band) * (1 - 1e-5)).all()


@QUICK
@given(st.integers(0, 2**32), st.sampled_from([0, 5]), st.sampled_from([1e-9, 0.3, 1e6]), st.floats(-50.0, 50.0))
def test_spot_does_not_care_about_units(seed: int, depth: int, factor: float, offset: float) -> None:
    values = np.random.default_rng(seed).standard_t(3, size=150)
    one = spotted(values.tolist(), depth=depth)
    other = spotted((factor * (values + offset)).tolist(), depth=depth)
    np.testing.assert_allclose(one.p_value, other.p_value, rtol=1e-5)


@QUICK
@given(st.lists(st.floats(-1e3, 1e3), min_size=25, max_size=25), st.lists(st.floats(-1e4, 1e4), min_size=2))
def test_spot_grades_by_distance(past: list[float], values: list[float]) -> None:
    detector = Spot(("a",), SpotSettings(calibration=25, depth=0))
    detector.grow(1)
    detector.learn(as_rows([[value] for value in past]))
    scores = detector.score(as_rows([[value] for value in sorted(values)]))
    assert scores.expected is not None
    above = np.array(sorted(values)) >= scores.expected[:, 0]
    assert (np.diff(scores.p_value[above]) <= 1e-12).all()
    assert (np.diff(scores.p_value[~above]) >= -1e-12).all()


@given(st.floats(1e-290, 1.0))
def test_the_gaussian_quantile_inverts_the_p_value(p: float) -> None:
    assert gaussian_p(gaussian_quantile(p)) == pytest.approx(p, rel=1e-9)


@given(st.floats(0.0, 1e308))
def test_no_gaussian_p_value_is_zero(z: float) -> None:
    assert SMALLEST_P <= gaussian_p(z) == gaussian_p(-z) <= 1.0


@given(st.lists(st.floats(0, 1), min_size=1), st.integers(1, 9))
def test_bonferroni_stays_a_probability(p_values: list[float], tests: int) -> None:
    corrected = bonferroni(np.array(p_values), float(tests))
    assert ((corrected > 0) & (corrected <= 1)).all()
    assert (corrected >= np.array(p_values)).all()


@QUICK
@given(
    st.lists(
        st.lists(st.tuples(st.floats(1e-6, 1), st.floats(0, 9), st.integers(0, 20)), min_size=4, max_size=4),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_the_combination_is_nearly_twice_the_mean_beyond_a_record_of_the_mature_while_there_is_no_past(
    draw: list[list[tuple[float, float, int]]],
) -> None:
    needed = [5 + 3 * i for i in range(len(draw))]
    parts = [
        Scores(
            score=np.array([score for _, score, _ in rows]),
            p_value=np.array([p if seen >= need else 1.0 for p, _, seen in rows]),
            contributions=np.array([[score / 2, score / 2] for _, score, _ in rows]),
            seen=np.array([seen for _, _, seen in rows]),
            expected=np.full((4, 2), float(i)) if i % 2 else None,
        )
        for i, (rows, need) in enumerate(zip(draw, needed, strict=True))
    ]
    ensemble = Ensemble(["ewma"] * len(parts))
    ensemble.grow(4)
    combined = ensemble.combine(np.arange(4), parts, needed, np.ones(4, dtype=np.bool_))
    for row in range(4):
        mature = [i for i, part in enumerate(parts) if part.seen[row] >= needed[i]]
        counts = [
            max(-math.log10(part.p_value[row]) - 0.5 * math.log10(part.seen[row] + 1), 0.0) for part in parts
        ]  # fmt: skip
        driver = min(mature, key=lambda i: (-counts[i], float(parts[i].p_value[row]))) if mature else 0
        nearly_twice = 1.8 * (sum(math.sqrt(counts[i]) for i in mature) / max(len(mature), 1)) ** 2
        assert combined.driver[row] == driver
        assert combined.needed[row] == needed[driver]
        assert combined.scores.seen[row] == parts[driver].seen[row]
        assert combined.scores.score[row] == parts[driver].score[row]
        alone = parts[driver].p_value[row] if mature else 1.0
        assert combined.scores.p_value[row] == pytest.approx(10.0**-nearly_twice if len(mature) > 1 else alone)
        if combined.scores.expected is not None:
            expected = combined.scores.expected[row, 0]
            assert expected == driver if driver % 2 else math.isnan(expected)
