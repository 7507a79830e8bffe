"""Mahalanobis distance against its definition in plain numpy, and what it promises beyond that."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oddtide.domain.detection import DetectorSpec, Rows, Scores
from oddtide.domain.detection.calibration import Calibration
from oddtide.domain.detection.mahalanobis import Mahalanobis
from oddtide.domain.detection.mahalanobis_laws import apply_laws
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray

pytestmark = pytest.mark.kernels


def rows_of(values: FloatArray) -> Rows:
    n = len(values)
    return Rows(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), values)


def grown(features: int, **parameters: object) -> Mahalanobis:
    names = tuple(f"f{j}" for j in range(features))
    detector = Mahalanobis.from_spec(DetectorSpec("mahalanobis", parameters), names)
    detector.grow(1)
    return detector


def advanced(values: FloatArray, **parameters: object) -> Scores:
    return grown(values.shape[1], **parameters).advance(rows_of(values))


def correlated(n: int, seed: int = 0) -> FloatArray:
    """Three features, the first two twins."""
    values = np.random.default_rng(seed).normal(size=(n, 3))
    values[:, 1] = 0.95 * values[:, 0] + math.sqrt(1 - 0.95**2) * values[:, 1]
    return values * (1.0, 20.0, 0.01) + (5.0, -300.0, 0.0)


def smoothed(values: FloatArray, alpha: float) -> FloatArray:
    out = values.copy()
    for i in range(1, len(values)):
        out[i] = out[i - 1] + max(alpha, 1 / (i + 1)) * (values[i] - out[i - 1])
    return out


def reference_of(values: FloatArray, least: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, sigmas and shrunk correlation, as the docstring defines them."""
    n, d = values.shape
    r = np.corrcoef(values.T)
    squares = (r**2).sum()
    share = ((1 - 2 / d) * squares + d * d) / ((n + 1 - 2 / d) * (squares - d))
    share = max(min(share, 1.0), least)
    return values.mean(axis=0), values.std(axis=0), (1 - share) * r + share * np.eye(d)


def log_tail(square: float, k: int) -> float:
    """The chi-square law's, by its closed form for an even ``k``."""
    terms = [(square / 2) ** i / math.factorial(i) for i in range(k // 2)]
    return -square / 2 + math.log(sum(terms))


def laws(squares: FloatArray, k: int, worth: float) -> FloatArray:
    found = np.tile([0.0, k, worth, 1.0, 1.0], (len(squares), 1))
    found[:, 0] = squares
    told = np.empty((len(squares), 2))
    apply_laws(found, told)
    return told


@pytest.mark.parametrize("k", [2, 4, 38])
def test_sigmas_are_as_rare_as_the_distance(k: int) -> None:
    squares = np.array([1e-12, 0.01, 1.0, 5.0, 30.0, 200.0, 900.0])
    for square, z in zip(squares, laws(squares, k, 100.0)[:, 0], strict=True):
        if z < 30:
            assert math.log(math.erfc(z / math.sqrt(2))) == pytest.approx(log_tail(square, k), rel=1e-6, abs=1e-8)
    far = laws(np.array([1e3, 1e4, 1e6]), k, 100.0)[:, 0]
    assert far == pytest.approx([math.sqrt(1e3), 1e2, 1e3], rel=0.15 if k == 38 else 0.01)
    assert (np.diff(laws(np.geomspace(1e-9, 1e7, 400), k, 50.0)[:, 0]) >= 0).all()


def test_hotellings_law_has_its_closed_form_for_two_features() -> None:
    squares = np.array([0.0, 0.1, 3.0, 50.0, 1e4])
    for worth in (20.0, 400.0):
        told = laws(squares, 2, worth)[:, 1]
        np.testing.assert_allclose(told, np.maximum((1 + squares / worth) ** (-(worth - 2) / 2), 1e-300), rtol=1e-9)
    assert laws(np.array([1e300]), 2, 400.0)[0, 1] >= 1e-300
    assert laws(np.array([0.0]), 1, 3.0).tolist() == [[0.0, 1.0]]
    assert math.isnan(laws(np.array([np.nan]), 1, 3.0)[0, 0])


@pytest.mark.parametrize("smooth", [0.1, 1.0])
def test_it_is_the_distance_from_a_frozen_reference(smooth: float) -> None:
    values = correlated(140)
    values[100:] += (0.5, -10.0, 0.0)
    scores = advanced(values, reference=80, warm_up=80, smooth=smooth, shrink=0.01)
    level = smoothed(values, smooth)
    mean, sigma, r = reference_of(level[:80], 0.01)
    z = (level - mean) / sigma
    z /= np.sqrt(1 + z**2 / 80)
    precision = np.linalg.inv(r)
    square = np.einsum("ij,jk,ik->i", z, precision, z)
    np.testing.assert_allclose(scores.score[80:], laws(square, 3, 80.0)[80:, 0], rtol=1e-9)
    lam, v = np.linalg.eigh(r)
    shares = (z @ (v / np.sqrt(lam)) @ v.T) ** 2
    wanted = scores.score[:, None] * shares / square[:, None]
    np.testing.assert_allclose(scores.contributions[80:], wanted[80:], rtol=1e-7, atol=1e-12)
    expected = mean + sigma * (z - z @ precision / np.diag(precision))
    assert scores.expected is not None
    np.testing.assert_allclose(scores.expected[80:], expected[80:], rtol=1e-9, atol=1e-9)
    assert (scores.score[:80] == 0).all()


def test_a_missing_feature_leaves_the_distance_of_the_others() -> None:
    values = np.random.default_rng(4).normal(size=(90, 5)) @ np.random.default_rng(5).normal(size=(5, 5))
    detector = grown(5, reference=80, warm_up=80, smooth=1.0, shrink=0.01)
    detector.advance(rows_of(values[:80]))
    mean, sigma, r = reference_of(values[:80], 0.01)
    z = (values - mean) / sigma
    z /= np.sqrt(1 + z**2 / 80)
    for gone in ([1], [0, 3], [0, 1, 2, 4]):
        holed = values[80:].copy()
        holed[:, gone] = np.nan
        there = [j for j in range(5) if j not in gone]
        part = z[80:, there]
        square = np.einsum("ij,jk,ik->i", part, np.linalg.inv(r[np.ix_(there, there)]), part)
        scores = detector.score(rows_of(holed))
        np.testing.assert_allclose(scores.score, laws(square, len(there), 80.0)[:, 0], rtol=1e-8)
        assert (scores.contributions[:, gone] == 0).all()
        assert scores.expected is not None
        guess = part @ np.linalg.inv(r[np.ix_(there, there)]) @ r[np.ix_(there, gone)]
        np.testing.assert_allclose(scores.expected[:, gone], mean[gone] + sigma[gone] * guess, rtol=1e-8, atol=1e-9)


def test_twins_that_part_are_strange_though_each_is_in_range() -> None:
    values = correlated(400)
    values[-1] = (6.5, -330.0, 0.0)  # +1.5 and -1.5 sigmas
    values[-2] = (6.5, -270.0, 0.0)  # together
    scores = advanced(values, reference=300, smooth=1.0, shrink=0.01)
    assert scores.score[-1] > 6 > 3 > scores.score[-2]
    assert scores.p_value[-1] < 1e-4
    assert scores.contributions[-1, :2].sum() > 0.95 * scores.score[-1]
    assert scores.expected is not None
    assert scores.lower is not None
    assert scores.upper is not None
    assert scores.expected[-1, 1] == pytest.approx(-270, abs=5)  # what the first feature says of the second
    assert not scores.lower[-1, 1] <= values[-1, 1] <= scores.upper[-1, 1]


def test_one_feature_works_as_well() -> None:
    values = np.random.default_rng(1).normal(10, 2, size=(200, 1))
    values[-1] = 30
    scores = advanced(values, reference=150, smooth=1.0)
    z = abs(values[150:, 0] - values[:150].mean()) / values[:150].std()
    np.testing.assert_allclose(scores.score[150:], z / np.sqrt(1 + z**2 / 150), rtol=1e-9)
    assert scores.p_value[-1] < 1e-3


def test_a_fault_that_lasts_stays_strange_unless_the_reference_may_follow() -> None:
    values = correlated(900)
    values[400:, 2] += 0.05
    frozen = advanced(values, reference=200, smooth=0.2).score
    assert frozen[420:].min() > 0.7 * frozen[420:].max() > 5
    following = advanced(values, reference=200, smooth=0.2, adapt=0.01).score
    assert following[405:420].max() > 4 > 2 > following[-100:].mean()


def test_a_single_spike_is_strange_too_and_whose_it_is() -> None:
    values = correlated(3_000, seed=6)
    values[2_500, 2] += 8.0 * 0.01
    found, without = advanced(values), advanced(values, spikes=0.0)
    assert found.p_value[2_500] < 1e-4
    assert without.p_value[2_500] > 1e-2
    assert found.contributions[2_500].argmax() == 2
    assert found.p_value[2_501] > 1e-2


def test_copies_constants_and_more_features_than_readings_do_no_harm() -> None:
    rng = np.random.default_rng(2)
    one = rng.normal(size=(60, 1))
    values = np.hstack([one, one, one * 3.0 - 1.0, np.full((60, 2), 7.0), rng.normal(size=(60, 7))])
    values[50:, 3] = 8.0
    scores = advanced(values, reference=10, warm_up=10, smooth=1.0)
    assert np.isfinite(scores.score).all()
    assert np.isfinite(scores.contributions).all()
    calm, off = scores.score[10:50], scores.score[50:]
    # A feature is bounded by sqrt(10) sigmas: the broken constant shows, and drowns nothing.
    assert (scores.contributions[50:, 3] > 0.05 * off).all()
    assert off.max() < 3 * calm.max()


def test_scores_come_before_the_reference_is_whole() -> None:
    values = correlated(300)
    values[130, 2] += 0.2
    scores = advanced(values, reference=200, warm_up=60, smooth=1.0)
    assert (scores.score[:60] == 0).all()
    assert (scores.score[60:] > 0).all()
    assert scores.score[130] > 5
    assert np.argmax(scores.contributions[130]) == 2


def test_a_feature_that_the_reference_never_saw_has_no_say() -> None:
    values = correlated(300)
    values[:100, 1] = np.nan
    parameters: dict[str, object] = {"reference": 100, "warm_up": 50}
    for smooth in (0.3, 1.0):
        scores = advanced(values, smooth=smooth, **parameters)
        alone = advanced(values[:, [0, 2]], smooth=smooth, **parameters)
        assert (scores.contributions[:, 1] == 0).all()
        np.testing.assert_allclose(scores.score, alone.score, rtol=0.2, atol=1e-9)  # shrunk a little more
        assert scores.expected is not None
        assert np.isnan(scores.expected[:, 1]).all()


def test_p_values_and_bands_hold_on_nulls() -> None:
    """Independent and autocorrelated Gaussian series; wider limits than the docstring's, as there are fewer."""
    rng = np.random.default_rng(3)
    early, late, inside = [], [], []
    for echo in (0.0, 0.9):
        for _ in range(3):
            noise = rng.normal(size=(1_600, 2))
            values = noise.copy()
            for i in range(1, len(values)):
                values[i] = echo * values[i - 1] + noise[i]
            scores = advanced(values, reference=150, warm_up=100, smooth=0.3, band=0.95)
            early.append(scores.p_value[100:300])
            late.append(scores.p_value[300:])
            assert scores.lower is not None
            assert scores.upper is not None
            inside.append(((values >= scores.lower) & (values <= scores.upper))[300:])
    assert 0.001 <= (np.concatenate(early) < 0.05).mean() <= 0.1
    assert 0.02 <= (np.concatenate(late) < 0.05).mean() <= 0.1
    assert (np.concatenate(late) < 1e-3).mean() <= 0.005
    assert np.concatenate(inside).mean() == pytest.approx(0.95, abs=0.02)


def test_units_do_not_matter() -> None:
    values = correlated(300)
    values[::7, 0] = np.nan
    other = values * (-1e-3, 7.0, 1e5) + (0.5, 0.0, -3e4)
    parameters: dict[str, object] = {"reference": 120, "warm_up": 50, "adapt": 0.01}
    one, two = advanced(values, **parameters), advanced(other, **parameters)
    np.testing.assert_allclose(one.score, two.score, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.contributions, two.contributions, rtol=1e-5, atol=1e-7)


def test_too_many_features_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="129"):
        grown(129)


def test_memory_is_what_the_docstring_says() -> None:
    assert [grown(d).bytes_per_slot for d in (1, 8, 38)] == [2_176, 3_184, 16_384]


def test_calibration_keeps_what_it_is_told_to_and_says_otherwise_until_then() -> None:
    calibration = Calibration(64, minimum=10)
    calibration.grow(1)
    slots, scores = np.zeros(100, dtype=np.int64), np.arange(100.0)
    keep = np.arange(100) % 5 == 0
    otherwise = np.full(100, 0.25)
    told = calibration.grade(slots, scores, learn=True, keep=keep, otherwise=otherwise)
    assert (told[:46] == 0.25).all()  # 10 kept after row 45
    assert (told[46:] != 0.25).all()
    assert calibration.grade(slots[:1], np.array([7.0]), learn=False)[0] == pytest.approx(18 * (19 / 18) ** 0.6 / 21)


@pytest.mark.parametrize(
    "parameters",
    [{"reference": 1}, {"warm_up": 1}, {"warm_up": 500}, {"smooth": 0.0}, {"adapt": 0.6}, {"clip": 0.1},
     {"shrink": 0.0}, {"band": 1.0}, {"calibration": 3}, {"references": 1}],
)  # fmt: skip
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        grown(1, **parameters)
