"""The robust EWMA: what it says of series whose answer is known."""

from __future__ import annotations

import csv
import gzip
import json
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from oddtide.domain.detection import DetectorSpec, Rows, Scores, ThresholdRule
from oddtide.domain.detection.ewma import FARTHEST, Ewma, EwmaSettings
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray

pytestmark = pytest.mark.kernels
NAB = Path(__file__).parents[3] / "shared" / "data" / "nab"


def run(values: FloatArray, settings: EwmaSettings | None = None) -> Scores:
    table = values if values.ndim == 2 else values[:, None]
    names = tuple(f"f{i}" for i in range(table.shape[1]))
    detector = Ewma(names, settings)
    detector.grow(1)
    n = len(table)
    return detector.advance(Rows(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), table))


def test_a_plain_reference_gives_the_same() -> None:
    """Mean, variance and score recomputed one reading at a time, without clipping (clip is out of reach)."""
    values = np.random.default_rng(0).normal(5.0, 2.0, 200)
    scores = run(values, EwmaSettings(alpha=0.1, warm_up=10, clip=1e6, tails="gaussian"))
    assert scores.expected is not None
    mean, variance = float(values[0]), 0.0
    for n in range(1, 200):
        x = float(values[n])
        if n >= 10:
            z = abs(x - mean) / math.sqrt(variance)
            assert scores.score[n] == pytest.approx(z)
            assert scores.expected[n, 0] == pytest.approx(mean)
            assert scores.p_value[n] == pytest.approx(math.erfc(z / math.sqrt(2)))
        weight = max(0.1, 1 / (n + 1))
        step = x - mean
        mean += weight * step
        variance = (1 - weight) * (variance + weight * step * step)


def test_on_gaussian_noise_p_values_are_what_they_claim() -> None:
    p_values = run(np.random.default_rng(1).normal(size=60_000)).p_value[1_000:]
    for level in (0.1, 0.01, 0.001):
        assert (p_values <= level).mean() == pytest.approx(level, rel=0.35)
    assert (p_values <= 1e-6).sum() <= 2


def test_regular_spikes_become_ordinary() -> None:
    values = np.random.default_rng(2).normal(size=6_000)
    values[::60] += 25.0
    late = slice(3_000, None)
    assert (run(values).p_value[late] <= 1e-6).sum() <= 2
    gaussian = run(values, EwmaSettings(tails="gaussian"))
    assert (gaussian.p_value[late] <= 1e-6).sum() >= 45


def test_one_spike_does_not_hide_the_next() -> None:
    values = np.random.default_rng(3).normal(size=400)
    values[[300, 310]] = 1_000.0
    scores = run(values)
    assert (scores.p_value[[300, 310]] < 1e-6).all()


def test_a_new_level_is_learnt() -> None:
    values = np.random.default_rng(4).normal(size=1_000)
    values[500:] += 200.0
    found = np.flatnonzero(run(values).p_value <= 1e-6)
    assert found[0] == 500
    assert (found < 540).all()


@pytest.mark.parametrize("level", [0.0, 5.0, -3e9, 1e-30])
def test_a_change_of_a_constant_is_far_out(level: float) -> None:
    values = np.full(60, level)
    values[50] = level * 1.001 + (0.1 if level == 0 else 0.0)
    scores = run(values)
    assert scores.p_value[50] < 1e-9
    assert 10 < scores.score[50] <= FARTHEST
    assert (scores.p_value[31:50] == 1.0).all()


def test_rounding_noise_on_a_constant_is_nothing() -> None:
    values = np.full(60, 0.1, dtype=np.float32).astype(np.float64)
    values[50] = np.nextafter(np.float32(0.1), np.float32(1))
    assert run(values).p_value[50] > 0.5


def test_the_unit_does_not_matter() -> None:
    values = np.random.default_rng(5).normal(10.0, 1.0, 300)
    values[250] += 9.0
    one, other = run(values), run(values * 2.0**40)
    np.testing.assert_allclose(one.score, other.score, rtol=1e-9)
    np.testing.assert_allclose(one.p_value, other.p_value, rtol=1e-6)


def test_the_strangest_feature_drives() -> None:
    values = np.random.default_rng(6).normal(size=(200, 3))
    values[150] = [0.0, 30.0, np.nan]
    scores = run(values)
    assert scores.score[150] == pytest.approx(30.0, rel=0.3)
    assert np.argmax(scores.contributions[150]) == 1
    assert scores.contributions[150, 2] == 0.0
    assert run(values[:, 1]).p_value[150] * 2 == pytest.approx(scores.p_value[150])


def test_a_missing_feature_is_not_learnt() -> None:
    values = np.random.default_rng(7).normal(size=200)
    with_holes = np.insert(values, [100, 150], np.nan)
    scores, plain = run(with_holes), run(values)
    kept = ~np.isnan(with_holes)
    np.testing.assert_array_equal(scores.score[kept], plain.score)
    assert (scores.p_value[~kept] == 1.0).all()
    assert scores.seen[-1] == 201


def test_half_life_is_another_way_to_say_alpha() -> None:
    assert EwmaSettings(half_life=10).weight == pytest.approx(1 - 0.5**0.1)
    assert EwmaSettings(alpha=0.3).weight == 0.3


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"alpha": 0}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"alpha": "fast"}, "'fast'"),
        ({"warm_up": 1}, "warm_up"),
        ({"warm_up": 2.5}, "type int"),
        ({"warm_up": True}, "True"),
        ({"band": 1.0}, "band"),
        ({"clip": -1}, "clip"),
        ({"tails": "heavy"}, "adaptive or gaussian"),
        ({"alhpa": 0.1}, "Did you mean 'alpha'"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Ewma.from_spec(DetectorSpec("ewma", parameters), ("a",))


def test_the_version_names_what_decides() -> None:
    versions = {
        Ewma(("a",)).version,
        Ewma(("b",)).version,
        Ewma(("a",), EwmaSettings(alpha=0.5)).version,
        Ewma.from_spec(DetectorSpec("ewma", {"alpha": 0.02}), ("a",)).version,
    }
    assert len(versions) == 3


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.partition(".")[0]).timestamp()


@pytest.mark.skipif(not NAB.is_dir(), reason="the NAB series are not beside this checkout")
def test_on_real_series_alarms_are_few_and_hit() -> None:
    """30 NAB series, defaults throughout: what the docstring claims, with room for numeric differences."""
    windows = json.loads((NAB / "windows.json").read_text(encoding="utf-8"))
    hits = outside = 0
    for name, spans in windows.items():
        with gzip.open(NAB / "data" / f"{name}.gz", "rt", encoding="utf-8") as lines:
            table = list(csv.DictReader(lines))
        times = np.array([_seconds(row["timestamp"]) for row in table])
        scores = run(np.array([float(row["value"]) for row in table]))
        alarms = ThresholdRule().detections(scores.score, scores.p_value)
        alarms[: min(int(0.15 * len(table)), 750)] = False
        labelled = np.zeros(len(table), dtype=bool)
        for start, end in spans:
            inside = (times >= _seconds(start)) & (times <= _seconds(end))
            hits += bool(alarms[inside].any())
            labelled |= inside
        outside += int((alarms & ~labelled).sum())
    assert outside <= 45
    assert hits >= 19
