"""Discords: distances against a plain reference, and shapes whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from oddtide.domain.detection import DetectorSpec, Rows, Scores
from oddtide.domain.detection.discord import FARTHEST, Discord, DiscordSettings
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray

pytestmark = pytest.mark.kernels
UCR = Path(__file__).parents[3] / "shared" / "data" / "ucr"
SMALL = DiscordSettings(shingle=6, scales=2, history=40, calibration=64)


def run(values: FloatArray, settings: DiscordSettings = SMALL) -> Scores:
    table = values if values.ndim == 2 else values[:, None]
    detector = Discord(tuple(f"f{j}" for j in range(table.shape[1])), settings)
    detector.grow(1)
    n = len(table)
    return detector.advance(Rows(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), table))


def season(n: int, period: int = 20, noise: float = 0.05, seed: int = 0) -> FloatArray:
    wave = np.sin(2 * np.pi * np.arange(n) / period)
    return wave + noise * np.random.default_rng(seed).normal(size=n)


def kept(values: FloatArray, history: int) -> FloatArray:
    """What is left of ``values`` where the oldest quarter goes whenever the next one finds no room."""
    left: list[float] = []
    for value in values:
        if len(left) == history:
            left = left[history // 4 :]
        left.append(float(value))
    return np.array(left)


def distance(values: FloatArray, newest: float, chosen: DiscordSettings) -> tuple[float, float]:
    """The root mean square distance of the centred pattern that ends with ``newest``, and the forecast for it."""
    m = chosen.shingle
    past = kept(values, chosen.history)
    pattern = np.append(past[len(past) - m + 1 :], newest)
    earlier = np.lib.stride_tricks.sliding_window_view(past, m)[: len(past) - 2 * m + 2]
    centred = earlier - earlier.mean(axis=1, keepdims=True)
    squares = np.sort(((centred - (pattern - pattern.mean())) ** 2).sum(axis=1))
    heads = earlier[:, :-1] - earlier[:, :-1].mean(axis=1, keepdims=True)
    guide = earlier[np.argmin(((heads - (pattern[:-1] - pattern[:-1].mean())) ** 2).sum(axis=1))]
    forecast = guide[-1] - guide[:-1].mean() + pattern[:-1].mean()
    return float(np.sqrt(squares[min(chosen.neighbours, len(squares)) - 1] / m)), float(forecast)


def units(values: FloatArray) -> FloatArray:
    """The mean absolute deviation before each reading, for steps that are never clipped but late."""
    level, unit, found = 0.0, 0.0, []
    for n, value in enumerate(values):
        found.append(max(unit, 1e-6 * abs(level), 1e-30))
        weight, step = max(0.001, 1 / (n + 1)), float(value) - level
        if n >= 30:
            step = min(max(step, -5 * found[-1]), 5 * found[-1])
        unit += weight * (abs(step) - unit) if n else 0.0
        level += weight * step
    return np.array(found)


@pytest.mark.parametrize("neighbours", [1, 3])
def test_a_plain_reference_gives_the_same(neighbours: int) -> None:
    rng = np.random.default_rng(1)
    values = np.cumsum(rng.normal(size=260)) + 50.0
    chosen = DiscordSettings(shingle=6, scales=2, history=40, neighbours=neighbours, calibration=64)
    scores, unit = run(values, chosen), units(values)
    assert scores.expected is not None
    for i in range(74, 260):
        fine, forecast = distance(values[:i], float(values[i]), chosen)
        pairs = values[: (i + 1) // 2 * 2].reshape(-1, 2).mean(axis=1)
        coarse, _ = distance(pairs[:-1], float(pairs[-1]), chosen)
        assert scores.score[i] == pytest.approx((fine + coarse) / 2 / unit[i], rel=1e-4)
        assert scores.expected[i, 0] == pytest.approx(forecast, abs=1e-4)


def test_a_wrong_shape_within_the_range_is_found() -> None:
    values = season(900)
    values[700:712] = values[700] + 0.05 * np.random.default_rng(5).normal(size=12)
    scores = run(values)
    assert 700 < int(np.argmax(scores.score)) < 730
    assert scores.p_value[700:730].min() < 1e-3
    assert (scores.p_value[400:700] <= 1e-3).sum() <= 2


def test_an_anomaly_that_came_once_is_still_one_for_the_second_neighbour() -> None:
    values = season(600, noise=0.01)
    for start in (500, 540):
        values[start : start + 10] = [0, 2, -2, 2, -2, 2, -2, 2, -2, 0]
    wide = {"shingle": 6, "scales": 1, "history": 200, "calibration": 64}
    nearest, second = (run(values, DiscordSettings(neighbours=k, **wide)).score for k in (1, 2))
    assert nearest[500:512].max() > 1.0
    assert nearest[546:551].max() < 0.2
    assert second[546:551].max() > 0.4


def test_what_is_expected_is_how_it_went_on_before() -> None:
    values = season(500, noise=0.0)
    values[450] += 3.0
    scores = run(values)
    assert scores.expected is not None
    assert scores.expected[450, 0] == pytest.approx(values[450] - 3.0, abs=1e-3)
    np.testing.assert_allclose(scores.expected[100:450, 0], values[100:450], atol=1e-3)
    assert np.isnan(scores.expected[:50]).all()
    assert scores.lower is None


def test_a_pattern_closes_over_what_is_missing() -> None:
    values = season(300)
    with_holes = np.insert(values, [120, 150, 150, 200], np.nan)
    scores, plain = run(with_holes), run(values)
    there = ~np.isnan(with_holes)
    np.testing.assert_array_equal(scores.score[there], plain.score)
    np.testing.assert_array_equal(scores.p_value[there], plain.p_value)
    assert (scores.score[~there] == 0).all()
    assert scores.seen[-1] == 303


def test_each_feature_is_judged_by_its_own_past() -> None:
    values = np.column_stack([season(400), season(400, period=13, seed=1), season(400, seed=2)])
    values[350:356, 1] += [1, -1, 1, -1, 1, -1]
    values[352, 2] = np.nan
    scores = run(values)
    assert (np.argmax(scores.contributions[350:356], axis=1) == 1).sum() >= 5
    alone = run(values[:, 1])
    np.testing.assert_allclose(scores.contributions[:, 1], alone.score, rtol=1e-12)
    assert scores.contributions[352, 2] == 0.0


@pytest.mark.parametrize("level", [0.0, 1e9, -1e5])
def test_where_the_series_lies_does_not_matter(level: float) -> None:
    values = season(500, noise=0.1)
    values[420:424] += [1.0, -1.0, 1.0, -1.0]
    plain, moved = run(values), run(values + level)
    # The first value is a nought that never comes again: the anchor has to move.
    late = run(np.concatenate([[0.0], values + level]))
    unit = max(units(values + level)[-1], units(values)[-1]) / units(values)[-1]
    assert np.argmax(moved.score) == np.argmax(plain.score)
    np.testing.assert_allclose(moved.score[60:] * unit, plain.score[60:], rtol=0.01 if level < 1e9 else 5.0, atol=1e-3)
    assert 420 <= np.argmax(late.score[300:]) + 299 <= 440


def test_a_constant_series_is_never_strange_until_it_moves() -> None:
    values = np.full(200, 5.0)
    values[180] = 5.1
    scores = run(values)
    assert (scores.score[:180] == 0).all()
    assert (scores.p_value[:180] == 1).all()
    assert 1_000 < scores.score[180] <= FARTHEST
    assert scores.p_value[180] < 1e-4


def test_on_gaussian_noise_p_values_are_roughly_what_they_claim() -> None:
    p_values = run(np.random.default_rng(3).normal(size=30_000), DiscordSettings()).p_value[4_000:]
    for level in (0.1, 0.01):
        assert 0.5 * level < (p_values <= level).mean() < 2.5 * level
    assert (p_values <= 1e-6).sum() <= 1


def test_the_state_takes_what_is_said() -> None:
    detector = Discord(("a",))
    assert detector.bytes_per_slot < 10.5 * 1024
    assert Discord(("a", "b")).bytes_per_slot - detector.bytes_per_slot < 6.3 * 1024
    assert detector.warm_up == 178


@pytest.mark.parametrize(
    "parameters",
    [
        {"shingle": 2}, {"scales": 0}, {"history": 60}, {"history": 15, "shingle": 3}, {"neighbours": 0},
        {"calibration": 3}, {"window": 9},
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Discord.from_spec(DetectorSpec("discord", parameters), ("a",))


@pytest.mark.skipif(not UCR.is_dir(), reason="the UCR series are not beside this checkout")
def test_on_real_series_most_discords_are_the_anomaly() -> None:
    """50 series of the UCR archive, defaults throughout: what the docstring claims, with a little room."""
    index = json.loads((UCR / "index.json").read_text(encoding="utf-8"))
    hits = 0
    for name, about in index.items():
        score = run(np.load(UCR / f"{name}.npz")["value"].astype(np.float64), DiscordSettings()).score
        found = about["train_end"] + int(np.argmax(score[about["train_end"] :]))
        hits += about["anomaly"][0] - 100 <= found <= about["anomaly"][1] + 100
    assert hits >= 36


def test_it_recalls_the_earlier_pattern_that_a_reading_is_compared_with() -> None:
    chosen = DiscordSettings(shingle=6, scales=1, history=64, calibration=64)
    values, n = 100.0 + np.cumsum(np.random.default_rng(3).normal(size=60)), 59
    detector = Discord(("a", "b"), chosen)
    detector.grow(1)
    table = np.column_stack([values, np.full(60, np.nan)])
    assert detector.recall(Rows(np.zeros(1, np.int64), np.zeros(1, np.int64), table[:1])) == [None]
    detector.learn(Rows(np.zeros(n, np.int64), np.zeros(n, np.int64), table[:n]))
    row = Rows(np.zeros(1, np.int64), np.zeros(1, np.int64), table[n:])
    before = detector.extract(np.zeros(1, np.int64))
    (found,) = detector.recall(row)
    assert found is not None
    assert (found.feature, found.step) == ("a", 1)
    assert found.now == pytest.approx(values[-6:], abs=1e-4)
    end = n - found.ago
    assert found.nearest == pytest.approx(values[end - 5 : end + 1], abs=1e-4)
    assert found.distance == pytest.approx(
        distance(values[:n], float(values[n]), chosen)[0] / units(values)[n], rel=1e-4
    )
    assert all(np.array_equal(before[name], kept) for name, kept in detector.extract(np.zeros(1, np.int64)).items())
    huge = Rows(np.zeros(1, np.int64), np.zeros(1, np.int64), np.full((1, 2), 1e300))
    assert detector.recall(huge)[0] is not None


def test_at_a_coarser_scale_it_recalls_means() -> None:
    values = season(80)
    values[72:] += np.repeat([2.0, -2.0], 4)
    detector = Discord(("a",), DiscordSettings(shingle=4, scales=3, history=64, calibration=64))
    detector.grow(1)
    for stop in (76, 77, 79):
        detector.forget(np.zeros(1, np.int64))
        detector.learn(Rows(np.zeros(stop, np.int64), np.zeros(stop, np.int64), values[:stop, None]))
        (found,) = detector.recall(Rows(np.zeros(1, np.int64), np.zeros(1, np.int64), values[stop : stop + 1, None]))
        assert found is not None
        blocks = values[: (stop + 1) // found.step * found.step].reshape(-1, found.step).mean(axis=1)
        assert found.now == pytest.approx(blocks[-4:], abs=1e-5)
        assert found.ago % found.step == 0
