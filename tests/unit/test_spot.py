"""SPOT: what it says of series whose answer is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from oddtide.domain.detection import DetectorSpec, Rows, Scores
from oddtide.domain.detection.spot import EXTREME, Spot, SpotSettings
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray

kernels = pytest.mark.kernels


def rows_of(values: FloatArray) -> Rows:
    """(n, d) values of one series."""
    return Rows(np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=np.int64), values)


def grown(features: int = 1, **parameters: Any) -> Spot:
    detector = Spot(tuple(f"f{i}" for i in range(features)), SpotSettings(**parameters))
    detector.grow(1)
    return detector


def run(values: FloatArray, **parameters: Any) -> Scores:
    table = values if values.ndim == 2 else values[:, None]
    return grown(table.shape[1], **parameters).advance(rows_of(table))


def many(values: FloatArray, **parameters: Any) -> Scores:
    """(series, n) values, side by side; the scores in the order of time."""
    series, n = values.shape
    detector = Spot(("a",), SpotSettings(**parameters))
    detector.grow(series)
    slots = np.tile(np.arange(series), n)
    return detector.advance(Rows(slots, np.zeros(series * n, dtype=np.int64), values.T.reshape(-1, 1)))


def fitted(excesses: FloatArray) -> tuple[float, float]:
    """Shape and scale by the same definition, in plain numpy: posterior mean of theta over the grid."""
    k = len(excesses)
    width = 0.5 * math.exp(np.log(excesses).mean())
    theta = -1.0 / excesses.max() - (1.0 - np.sqrt(24 / (np.arange(24) + 0.5))) / (3.0 * width)
    shape = np.log1p(theta[:, None] * excesses).mean(axis=1)
    likelihood = -k * (np.log(shape / theta) + shape) - 0.5 * (shape / np.where(shape < 0, 0.15, 1.0)) ** 2
    weights = np.exp(likelihood - likelihood.max())
    best = float((weights * theta).sum() / weights.sum())
    plain = float(np.log1p(best * excesses).mean())
    return min(max(plain + 0.5 / k, -0.25), 1.5), plain / best


@kernels
@pytest.mark.parametrize("law", ["normal", "exponential", "pareto", "uniform"])
def test_the_first_tails_equal_a_plain_reference(law: str) -> None:
    rng = np.random.default_rng(0)
    window = rng.pareto(1.5, 200) if law == "pareto" else getattr(rng, law)(size=200)
    ordered = np.sort(window)
    threshold = ordered[189]
    excesses = window[window > threshold] - threshold
    shape, scale = fitted(excesses)
    rate, evidence = (len(excesses) + 0.5) / 201, 15.0 + 0.12 * len(excesses)
    detector = grown(depth=0)
    detector.learn(rows_of(window[:, None]))
    for excess in (0.1, 1.0, 4.0):
        end = 1.0 + shape * excess
        surprise = math.log(end) / shape if end > 0 else math.inf
        p = max(2 * rate * (1 + surprise / evidence) ** -evidence, 1e-300)
        scores = detector.score(rows_of(np.array([[threshold + excess * scale]])))
        assert scores.p_value[0] == pytest.approx(p, rel=1e-9)
        assert scores.score[0] == pytest.approx(-math.log(p))
        assert scores.expected is not None
        assert scores.expected[0, 0] == ordered[100]


@kernels
def test_later_fits_equal_a_plain_reference() -> None:
    detector = grown(peaks=30)
    detector.advance(rows_of(np.random.default_rng(1).standard_t(4, size=(3_000, 1))))
    state: dict[str, Any] = detector.extract(np.array([0]))
    for side in (0, 1):
        excesses = state["peaks"][0, 0, side * 30 : side * 30 + 30]
        assert (excesses > 0).all()
        assert tuple(state["tails"][0, 0, side, 2:4]) == pytest.approx(fitted(excesses), rel=1e-9)


@kernels
def test_thresholds_and_centre_follow_their_quantiles() -> None:
    detector = grown(depth=0)
    detector.advance(rows_of(np.random.default_rng(2).exponential(size=(8_000, 1))))
    state: dict[str, Any] = detector.extract(np.array([0]))
    assert state["cells"][0, 0, 2] == pytest.approx(math.log(2), abs=0.15)
    assert state["tails"][0, 0, 0, 0] == pytest.approx(-math.log(0.05), abs=0.4)
    assert state["tails"][0, 0, 1, 0] == pytest.approx(math.log(0.95), abs=0.03)
    np.testing.assert_allclose(state["tails"][0, 0, :, 1], 0.05, atol=0.02)


NULLS = ["gaussian", "exponential", "student", "autocorrelated"]


@pytest.mark.parametrize("law", NULLS)
@pytest.mark.parametrize("depth", [0, 60])
def test_p_values_are_what_they_claim(law: str, depth: int) -> None:
    """The tolerance that the module states, with room for chance: 900,000 readings."""
    rng = np.random.default_rng(3)
    values = rng.standard_t(3, size=(300, 3_300)) if law == "student" else rng.normal(size=(300, 3_300))
    if law == "exponential":
        values = -np.log(rng.random((300, 3_300)))
    if law == "autocorrelated":
        for i in range(1, values.shape[1]):
            values[:, i] += 0.9 * values[:, i - 1]
    scores = many(values, depth=depth)
    p_values = scores.p_value[scores.seen >= 300]
    for level, most in ((1e-2, 1.2), (1e-3, 1.3), (1e-4, 1.8), (1e-5, 6.0)):
        assert (p_values <= level).mean() <= most * level
    # Only the upper tail of an exponential can go that far when nothing is taken off first.
    assert (p_values <= 1e-2).mean() >= (0.4 if law == "exponential" else 0.7) * 1e-2
    assert scores.lower is not None
    assert scores.upper is not None
    mature = scores.seen >= 300
    x = values.T.reshape(-1)[mature]
    assert ((x >= scores.lower[mature, 0]) & (x <= scores.upper[mature, 0])).mean() == pytest.approx(0.9993, abs=6e-4)


def test_power_on_single_outliers() -> None:
    values = np.random.default_rng(4).normal(size=(300, 1_501))
    values[:, 1_500] = 6.0
    p_values = many(values).p_value[-300:]
    assert (p_values < 1e-4).mean() > 0.75
    assert (p_values < 1e-6).mean() > 0.25


@kernels
@pytest.mark.parametrize("depth", [0, 60])
def test_a_level_shift_is_strange_and_then_followed(depth: int) -> None:
    values = np.random.default_rng(5).normal(size=1_500)
    values[1_000:] += 40.0
    scores = run(values, depth=depth)
    assert (scores.p_value[1_000:1_009] < EXTREME).all()
    assert (scores.p_value[1_010:] < EXTREME).sum() <= 1
    assert scores.expected is not None
    assert scores.expected[1_010, 0] == pytest.approx(40.0, abs=1.5)


@kernels
def test_a_spike_does_not_blind_and_regular_ones_become_ordinary() -> None:
    values = np.random.default_rng(6).normal(size=3_000)
    values[500] = values[540] = 50.0
    values[1_000::50] = 20.0
    p_values = run(values).p_value
    assert p_values[500] < 1e-6
    assert p_values[540] < 1e-3
    assert p_values[1_000] < 1e-3
    assert (p_values[2_000::50] > 1e-3).all()


@kernels
def test_a_short_excursion_is_learnt_once() -> None:
    values = np.random.default_rng(7).normal(size=700)
    values[600:605] = 50.0
    detector = grown()
    detector.advance(rows_of(values[:600, None]))
    before: dict[str, Any] = detector.extract(np.array([0]))
    detector.advance(rows_of(values[600:605, None]))
    after: dict[str, Any] = detector.extract(np.array([0]))
    assert after["tails"][0, 0, 0, 4] == before["tails"][0, 0, 0, 4] + 1
    assert after["cells"][0, 0, 4] == 5  # the streak
    detector.advance(rows_of(np.array([[-50.0], [0.0]])))
    ended: dict[str, Any] = detector.extract(np.array([0]))
    assert ended["cells"][0, 0, 4] == 0


@kernels
def test_a_change_of_spread_is_learnt() -> None:
    values = np.random.default_rng(8).normal(size=6_000)
    values[2_000:] *= 4.0
    p_values = run(values).p_value
    assert (p_values[2_000:2_100] < EXTREME).any()
    assert (p_values[3_500:] < EXTREME).sum() <= 3


@kernels
def test_drift_is_taken_off() -> None:
    values = np.random.default_rng(9).normal(size=3_000) + np.arange(3_000) * 0.02
    assert (run(values).p_value < EXTREME).sum() <= 2


@kernels
@pytest.mark.parametrize("depth", [0, 60])
def test_a_constant_series_that_wakes_up(depth: int) -> None:
    values = np.zeros(1_500)
    values[800] = 3.0
    values[1_000::10] = np.random.default_rng(10).gamma(2.0, size=50)
    p_values = run(values, depth=depth).p_value
    assert (p_values[:800] == 1.0).all()
    assert p_values[800] < 1e-6
    assert (p_values[1_300::10] > EXTREME).all()


@kernels
def test_only_the_side_that_is_watched_counts() -> None:
    values = np.random.default_rng(11).normal(size=(400, 1))
    detectors = {tails: grown(tails=tails) for tails in ("both", "upper", "lower")}
    told = {}
    for name, detector in detectors.items():
        detector.learn(rows_of(values))
        told[name] = detector.score(rows_of(np.array([[9.0], [-9.0]])))
    assert told["upper"].p_value[1] == told["lower"].p_value[0] == 1.0
    assert told["upper"].p_value[0] == pytest.approx(told["both"].p_value[0] / 2)
    assert told["lower"].p_value[1] == pytest.approx(told["both"].p_value[1] / 2)
    assert told["upper"].lower is not None
    assert told["lower"].upper is not None
    assert np.isnan(told["upper"].lower).all()
    assert np.isnan(told["lower"].upper).all()


@kernels
def test_the_strangest_feature_drives() -> None:
    values = np.random.default_rng(12).normal(size=(400, 3))
    detector = grown(3)
    detector.learn(rows_of(values))
    alone = grown()
    alone.learn(rows_of(values[:, 1:2]))
    scores = detector.score(rows_of(np.array([[0.1, 7.0, np.nan], [0.1, 7.0, 0.0]])))
    single = alone.score(rows_of(np.array([[7.0]])))
    np.testing.assert_allclose(scores.p_value, [2 * single.p_value[0], 3 * single.p_value[0]])
    np.testing.assert_array_equal(scores.score, [single.score[0]] * 2)
    assert (np.argmax(scores.contributions, axis=1) == 1).all()
    assert scores.contributions[0, 2] == 0.0


@kernels
def test_a_late_feature_matures_on_its_own() -> None:
    values = np.random.default_rng(13).normal(size=(700, 2))
    values[:300, 1] = np.nan
    scores = run(values)
    assert scores.expected is not None
    assert np.isnan(scores.expected[559, 1])
    assert not np.isnan(scores.expected[560, 1])


@kernels
def test_a_band_that_only_rare_excesses_reach() -> None:
    """A side whose share beyond the threshold is below 1 - band has its edge in the body."""
    values = np.random.default_rng(14).normal(size=(400, 1))
    scores = run(values, band=0.5)
    assert scores.lower is not None
    assert scores.upper is not None
    inside = (values > scores.lower) & (values < scores.upper)
    assert (scores.p_value[260:] >= 0.5 * (1 - 1e-9))[inside[260:, 0]].all()


def test_state_is_small() -> None:
    assert grown().bytes_per_slot == 8 + 8 * (6 + 10 + 256)


@pytest.mark.parametrize(
    "parameters",
    [
        {"calibration": 5},
        {"share": 0.5},
        {"peaks": 2},
        {"depth": -1},
        {"patience": 1},
        {"tails": "left"},
        {"band": 1.0},
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Spot.from_spec(DetectorSpec("spot", parameters), ("a",))
