"""Counts: exact laws, p-values that come up no more often than they should, and silence about what is no count."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from oddtide.domain.detection import DetectorSpec, Rows, Scores
from oddtide.domain.detection.counts import Counts
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray


def rows_of(values: FloatArray) -> Rows:
    """(readings, series) as they would arrive."""
    readings, series = values.shape
    slots = np.tile(np.arange(series), readings)
    return Rows(slots, np.zeros(len(slots), dtype=np.int64), values.reshape(-1, 1).astype(np.float64))


def told(values: Any, series: int = 1, **parameters: Any) -> tuple[Scores, Counts]:
    detector = Counts.from_spec(DetectorSpec("counts", parameters), ("value",))
    detector.grow(series)
    return detector.advance(rows_of(np.asarray(values, dtype=np.float64).reshape(-1, series))), detector


def p_of(detector: Counts, value: float) -> float:
    return float(detector.score(rows_of(np.array([[value]]))).p_value[0])


@pytest.mark.kernels
def test_on_a_plain_law_p_values_are_those_of_the_law() -> None:
    """After many readings the learnt law is near the true one: Poisson with mean 3, middle p-values."""
    _, detector = told(np.random.default_rng(0).poisson(3.0, 900))

    def mass(k: int) -> float:
        return math.exp(-3.0) * 3.0**k / math.factorial(k)

    for value in (0, 6, 7, 8, 9, 10):
        above = sum(mass(k) for k in range(value + 1, 80)) + 0.5 * mass(value)
        exact = min(2.0 * min(above, 1.0 - above), 1.0)
        assert exact / 4 < p_of(detector, value) < exact * 4
    assert p_of(detector, 1.5) == 1.0


@pytest.mark.kernels
def test_too_many_and_too_few_for_too_long_are_strange() -> None:
    rng = np.random.default_rng(1)
    scores, detector = told([*rng.poisson(3.0, 300), 16, *rng.poisson(3.0, 50), *[0] * 12])
    assert scores.p_value[300] < 1e-4
    assert scores.p_value[-1] < 1e-4  # nobody sees anything in a single zero
    assert scores.p_value[-12] > 0.01
    assert scores.p_value[50:300].min() > 1e-3
    np.testing.assert_allclose(scores.score, -np.log(scores.p_value), atol=1e-12)
    assert detector.bytes_per_slot == 184


@pytest.mark.kernels
def test_of_binary_features_it_says_how_rare_a_state_is_and_that_it_lasts() -> None:
    often = np.tile([0, 0, 0, 1, 1], 120)
    scores, detector = told(often)
    assert scores.p_value[50:].min() > 0.05
    assert p_of(detector, 1.0) > 0.01
    assert told([*often, *[1] * 40])[0].p_value[-1] < 1e-4
    _, rare = told(np.zeros(600))
    assert p_of(rare, 1.0) < 2e-3
    assert p_of(rare, 0.0) > 0.9
    clumped = np.tile([0] * 40 + [1] * 10, 12)
    assert told(clumped)[0].p_value[200:].min() > 0.01


@pytest.mark.kernels
def test_it_says_nothing_of_what_is_no_small_count() -> None:
    rng = np.random.default_rng(2)
    walk = np.round(20.0 + 15.0 * np.sin(np.arange(200) / 10.0))
    for values in (rng.normal(size=200), np.full(200, 5.0), rng.poisson(500.0, 200), -rng.poisson(3.0, 200), walk):
        scores, _ = told(values)
        assert (scores.p_value == 1.0).all()
        assert (scores.seen < 50).all()
        assert scores.expected is not None
        assert np.isnan(scores.expected).all()
    broken = rng.poisson(3.0, 300).astype(np.float64)
    broken[150] = 2.5
    scores, _ = told(broken)
    assert (scores.seen[60:150] >= 50).all()
    assert (scores.seen[151:201] < 50).all()
    assert (scores.seen[201:] >= 50).all()


@pytest.mark.kernels
def test_a_new_rate_is_followed_and_a_long_silence_learnt() -> None:
    rng = np.random.default_rng(3)
    scores, _ = told([*rng.poisson(2.0, 200), *rng.poisson(20.0, 200)], sizes=50)
    assert scores.p_value[200] < 1e-3
    assert np.median(scores.p_value[-50:]) > 0.2
    scores, _ = told([*rng.poisson(2.0, 100), *[0] * 400], sizes=100)
    assert scores.p_value[120] < 1e-3
    assert (scores.p_value[-50:] > 1e-3).all()


@pytest.mark.parametrize("law", ["poisson", "zeros", "negative binomial", "clumps"])
def test_on_counts_p_values_come_up_no_more_often_than_they_should(law: str) -> None:
    rng, shape = np.random.default_rng(4), (1_000, 50)
    laws: dict[str, Callable[[], Any]] = {
        "poisson": lambda: rng.poisson(4.0, shape),
        "zeros": lambda: rng.poisson(5.0, shape) * (rng.random(shape) < 0.2),
        "negative binomial": lambda: rng.negative_binomial(1, 0.2, shape),
        "clumps": lambda: np.repeat(rng.random((100, 50)) < 0.2, 10, axis=0) * rng.poisson(3.0, shape),
    }
    values = np.asarray(laws[law](), dtype=np.float64)
    scores, _ = told(values, series=50, band=0.95)
    said = scores.seen >= 50
    for alpha in (1e-2, 1e-3):
        assert (scores.p_value[said] <= alpha).mean() < 2.0 * alpha
    assert scores.lower is not None
    assert scores.upper is not None
    inside = (values.ravel() >= scores.lower[:, 0]) & (values.ravel() <= scores.upper[:, 0])
    assert inside[said].mean() > 0.94


def test_wrong_settings_are_refused() -> None:
    for parameters in ({"warm_up": 3}, {"memory": 0}, {"sizes": 1}, {"largest": 0.0}, {"band": 1.0}):
        with pytest.raises(ConfigurationError):
            Counts.from_spec(DetectorSpec("counts", parameters), ("value",))
