"""Range novelty: what it says of series whose answer is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from oddtide.domain.detection import DetectorSpec, Rows, Scores
from oddtide.domain.detection.range_novelty import FARTHEST, RangeNovelty, RangeNoveltySettings
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray

pytestmark = pytest.mark.kernels


def run(values: FloatArray, **parameters: Any) -> Scores:
    table = values if values.ndim == 2 else values[:, None]
    detector = RangeNovelty(tuple(f"f{i}" for i in range(table.shape[1])), RangeNoveltySettings(**parameters))
    detector.grow(1)
    return detector.advance(Rows(np.zeros(len(table), dtype=np.int64), np.zeros(len(table), dtype=np.int64), table))


def one_side(past: FloatArray, y: float) -> float:
    """The p-value of ``y`` above all of ``past``, by the definition."""
    n, ordered = len(past), np.sort(past)[::-1]
    excess = max(float((ordered[:8] - ordered[8]).mean()), 1e-6 * abs(float(ordered[8])), 1e-150)
    beyond = 8 / (n + 1) * (1 + (y - ordered[8]) / (8 * excess)) ** -8
    return float(max(min(1 / (n + 1), beyond), (n + 1.0) ** -4))


@pytest.mark.parametrize("memory", [0, 70])
def test_a_plain_reference_gives_the_same(memory: int) -> None:
    values = np.random.default_rng(0).standard_t(2, size=500)
    values[[60, 200, 350]] = 40.0, 60.0, -80.0
    scores = run(values, memory=memory, band=0.99)
    assert scores.lower is not None
    assert scores.upper is not None
    records = 0
    for i in range(50, 500):
        start = 0 if memory == 0 else max((i - 1) // memory - 1, 0) * memory
        past, x = values[start:i], float(values[i])
        high, low = past.max(), past.min()
        assert scores.upper[i, 0] >= high
        assert scores.lower[i, 0] <= low
        if low <= x <= high:
            assert scores.p_value[i] == 1.0
            assert scores.score[i] == 0.0
            continue
        records += 1
        p = 2 * (one_side(past, x) if x > high else one_side(-past, -x))
        assert scores.p_value[i] == pytest.approx(min(p, 1.0), rel=1e-9)
        assert scores.score[i] == pytest.approx(max(x - high, low - x) / (high - low))
        assert (scores.p_value[i] < 0.01 * (1 - 1e-9)) <= (not scores.lower[i, 0] < x < scores.upper[i, 0])
    assert records >= 3


@pytest.mark.parametrize("law", ["normal", "exponential", "uniform"])
def test_records_are_as_frequent_as_their_p_values_say(law: str) -> None:
    values = getattr(np.random.default_rng(1), law)(size=(400, 250))
    detector = RangeNovelty(("a",))
    detector.grow(400)
    slots = np.tile(np.arange(400), 250)
    rows = Rows(slots, np.zeros(len(slots), dtype=np.int64), values.T.reshape(-1, 1))
    scores = detector.advance(rows)
    mature = scores.seen >= 50
    assert (scores.score[mature] > 0).mean() == pytest.approx((2 / np.arange(51, 251)).mean(), rel=0.1)
    for level in (1e-2, 1e-3):
        assert (scores.p_value[mature] <= level).mean() <= 1.2 * level


def test_the_band_is_where_the_p_value_says() -> None:
    values = np.random.default_rng(2).exponential(size=(60, 1))
    detector = RangeNovelty(("a",))
    detector.grow(1)
    zero = np.zeros(1, dtype=np.int64)
    detector.learn(Rows(np.zeros(60, dtype=np.int64), np.zeros(60, dtype=np.int64), values))
    told = detector.score(Rows(zero, zero, values[:1]))
    assert told.lower is not None
    assert told.upper is not None
    for edge in (told.lower[0, 0], told.upper[0, 0]):
        p_value = detector.score(Rows(zero, zero, np.array([[edge]]))).p_value[0]
        assert p_value == pytest.approx(1e-3, rel=1e-6)


def test_it_does_not_care_about_units() -> None:
    values = np.random.default_rng(3).normal(size=300)
    one, other = run(values), run(-3e4 * values + 17.0)
    np.testing.assert_allclose(one.p_value, other.p_value, rtol=1e-9)
    np.testing.assert_allclose(one.score, other.score, rtol=1e-9, atol=1e-12)


def test_what_was_seen_is_ordinary_until_it_is_forgotten() -> None:
    values = np.random.default_rng(4).normal(size=600)
    values[100] = values[140] = 50.0
    values[500] = 49.0
    for memory, again in ((0, False), (100, True)):
        scores = run(values, memory=memory)
        assert scores.p_value[100] < 1e-4
        assert scores.p_value[140] == 1.0
        assert (scores.p_value[500] < 1e-4) == again


def test_a_constant_series_that_moves() -> None:
    values = np.full(100, 5.0)
    values[80] = 6.0
    scores = run(values)
    assert (scores.score[:80] == 0.0).all()
    assert scores.score[80] == pytest.approx(FARTHEST / 5)
    assert scores.p_value[80] == pytest.approx(2 * 81.0**-4)


def test_the_strangest_feature_drives() -> None:
    values = np.random.default_rng(5).normal(size=(200, 3))
    values[150] = [4.5, 30.0, np.nan]
    values[160] = [0.0, 1.0, np.nan]
    scores = run(values)
    alone = run(values[:, 1])
    assert scores.p_value[150] == pytest.approx(2 * alone.p_value[150])
    assert scores.score[150] == alone.score[150]
    assert np.argmax(scores.contributions[150]) == 1
    assert scores.contributions[150, 0] > 0.0
    assert scores.contributions[150].sum() == pytest.approx(scores.score[150])
    assert math.isclose(scores.p_value[160], 1.0)


@pytest.mark.parametrize("parameters", [{"warm_up": 5}, {"memory": 10}, {"band": 1.0}, {"memories": 3}])
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        RangeNovelty.from_spec(DetectorSpec("range", parameters), ("a",))


def test_what_is_not_loud_is_not_told() -> None:
    values = np.random.default_rng(3).normal(size=(400, 1))
    values[-1] = 40.0
    loud, plain = run(values, loud=1e-8), run(values)
    told = loud.p_value < 1.0
    assert told.tolist() == [False] * 399 + [True]
    assert loud.relevance is not None
    np.testing.assert_array_equal(loud.relevance, told)
    assert loud.p_value[-1] == plain.p_value[-1]
    assert plain.relevance is None
