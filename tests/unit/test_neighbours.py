"""Distance to the nearest of a sample of the past: against its definition in plain numpy, and what it promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oddtide.domain.detection import DetectorSpec, Rows, Scores, build_detector
from oddtide.domain.detection.auto import auto_detectors
from oddtide.domain.detection.ensemble import Ensemble
from oddtide.domain.detection.mahalanobis import MOST_FEATURES
from oddtide.domain.detection.order import ASKED_EVERY, Order
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray, IntArray

pytestmark = pytest.mark.kernels


def rows_of(values: FloatArray) -> Rows:
    n = len(values)
    return Rows(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), values)


def advanced(values: FloatArray, spec: DetectorSpec | None = None, **parameters: object) -> Scores:
    names = tuple(f"f{j}" for j in range(values.shape[1]))
    detector = build_detector(spec or DetectorSpec("neighbours", parameters), names, families={})
    detector.grow(1)
    return detector.advance(rows_of(values))


def mixed(counter: int) -> float:
    """SplitMix64."""
    mask = 2**64 - 1
    bits = ((counter ^ (counter >> 30)) * 0xBF58476D1CE4E5B9) & mask
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
    return float(((bits ^ (bits >> 31)) >> 11) / 2**53)


def by_definition(values: FloatArray, samples: int, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Scores and expectations; complete readings only."""
    mean, spread = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    sample: list[FloatArray] = []
    scores, expected = np.zeros(len(values)), np.full(values.shape, np.nan)
    for i, row in enumerate(values):
        if i >= 3:
            far = np.abs(row - np.array(sample)) / np.sqrt(spread)
            far = far / (1 + far / 4.0)
            order = np.argsort(far.sum(axis=1), kind="stable")[: max(len(sample) * (samples // 4) // samples, 1)]
            scores[i], expected[i] = far[order].mean(), np.array(sample)[order].mean(axis=0)
        weight = 1.0 / min(i + 1, horizon)
        away = row - mean
        mean, spread = mean + weight * away, (1 - weight) * (spread + weight * away**2)
        if i == 0:
            mean, spread = row.copy(), np.zeros(values.shape[1])
        place = i if i < samples else int(mixed((1 + (i + 1) * 0x9E3779B97F4A7C15) % 2**64) * min(i + 1, horizon))
        if i < samples:
            sample.append(row)
        elif place < samples:
            sample[place] = row
    return scores, expected


def test_it_is_its_definition() -> None:
    values = np.random.default_rng(0).normal(size=(300, 3)) * (1.0, 50.0, 0.01) + (0.0, -900.0, 7.0)
    found = advanced(values, samples=20, horizon=120)
    scores, expected = by_definition(values, samples=20, horizon=120)
    np.testing.assert_allclose(found.score[7:], scores[7:], rtol=1e-4)
    assert found.expected is not None
    np.testing.assert_allclose(found.expected[7:], expected[7:], rtol=1e-4, atol=1e-4)
    assert (found.score[:7] == 0.0).all()


def test_neither_units_nor_zero_points_matter() -> None:
    values = np.random.default_rng(1).normal(size=(400, 3))
    one, other = advanced(values), advanced(values * (1e-3, 1e6, 4.0) + (5.0, 0.0, -1e3))
    np.testing.assert_allclose(one.score, other.score, rtol=1e-3)


def test_it_knows_groups_and_who_is_in_none() -> None:
    """Between two groups every feature is ordinary and the distance from the middle is the smallest there is."""
    rng = np.random.default_rng(2)
    values = np.where(rng.random(800) < 0.5, -4.0, 4.0)[:, None] + rng.normal(size=(800, 4))
    between = np.arange(400, 800, 40)
    values[between] = rng.normal(size=(len(between), 4))
    found = advanced(values)
    others = np.setdiff1d(np.arange(400, 800), between)
    assert found.score[between].min() > found.score[others].max()
    assert found.p_value[between].max() < 0.01


def test_flags_that_are_hardly_ever_set_are_told_apart_by_how_rare_they_are() -> None:
    rng = np.random.default_rng(3)
    values = (rng.random((3_000, 3)) < (0.5, 0.2, 0.0)).astype(np.float64)
    values[2_999] = (1.0, 0.0, 1.0)
    found = advanced(values)
    assert found.score[2_999] > found.score[1_000:2_999].max()
    assert found.contributions[2_999].argmax() == 2


def test_what_is_missing_has_no_say() -> None:
    values = np.random.default_rng(4).normal(size=(200, 3))
    values[:, 2] = np.nan
    values[50] = np.nan
    found, without = advanced(values), advanced(values[:, :2])
    np.testing.assert_allclose(found.score, without.score, rtol=1e-12)
    assert (found.contributions[:, 2] == 0.0).all()
    assert (found.score[50], found.p_value[50], found.seen[51]) == (0.0, 1.0, 51)


def test_the_past_is_as_long_as_the_horizon() -> None:
    """A new level is strange at first and ordinary when it fills a part of the sample."""
    values = np.random.default_rng(5).normal(size=(1_500, 2))
    values[500:] += 9.0
    found = advanced(values, samples=32, horizon=300)
    assert found.score[500:510].min() > 4.0 * found.score[400:500].mean()
    assert found.score[1_000:].mean() < 1.3 * found.score[400:500].mean()


def ordered_at(values: FloatArray) -> IntArray:
    order = Order(values.shape[1])
    order.grow(1)
    found = order.ask(np.zeros(len(values), dtype=np.int64), values, learn=True)
    return np.flatnonzero(found)


def walk(rng: np.random.Generator, rows: int, features: int) -> FloatArray:
    """Autocorrelated by .9."""
    values = rng.normal(size=(rows, features))
    for i in range(1, rows):
        values[i] += 0.9 * values[i - 1]
    return values


def test_series_hang_together_and_rows_do_not() -> None:
    rng = np.random.default_rng(6)
    together = np.hstack([rng.normal(size=(500, 20)), walk(rng, 500, 1)])
    assert ordered_at(together)[0] == 3 * ASKED_EVERY
    for tail in (3.0, 30.0):
        assert not len(ordered_at(rng.standard_t(tail, size=(3_000, 40))))
    rare = (rng.random((2_000, 60)) < 0.01).astype(np.float64)
    rare[100:102] = 1.0
    assert not len(ordered_at(rare))
    assert not len(ordered_at(np.full((300, 2), 7.0)))


def test_of_two_that_ask_for_order_one_speaks() -> None:
    rng = np.random.default_rng(7)
    for values, speaks in ((rng.normal(size=(600, 5)), 0), (walk(rng, 600, 5), 1)):
        rows, specs = rows_of(values), auto_detectors(5)[:2]
        parts = [advanced(values, spec) for spec in specs]
        ensemble = Ensemble(["neighbours", "mahalanobis"])
        ensemble.grow(1)
        found = ensemble.combine(rows.slots, parts, [7, 100], np.ones(600, dtype=np.bool_))
        assert (found.driver[7 : 3 * ASKED_EVERY] == 0).all()
        assert (found.driver[200:] == speaks).all()
        np.testing.assert_array_equal(found.scores.p_value[200:], parts[speaks].p_value[200:])
        assert (parts[1 - speaks].score[200:] == 0.0).all()


def test_auto_takes_any_number_of_features() -> None:
    assert [spec.kind for spec in auto_detectors(MOST_FEATURES)] == ["neighbours", "mahalanobis", "range"]
    assert [spec.kind for spec in auto_detectors(MOST_FEATURES + 1)] == ["neighbours", "range"]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [("neighbours", {"rows": "ordered"}), ("neighbours", {"share": 0.0}), ("mahalanobis", {"rows": 1})],
)
def test_wrong_parameters_are_refused(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        build_detector(DetectorSpec(kind, wrong), ("a", "b"), families={})
    with pytest.raises(ConfigurationError, match="It takes any or ordered"):
        build_detector(DetectorSpec("mahalanobis", {"rows": "unordered"}), ("a", "b"), families={})
