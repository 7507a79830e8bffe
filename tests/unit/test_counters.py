"""Counters: growth per second whatever the cuts, resets and gaps, from the stream's settings to the verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from oddtide.config.facade.detecting import default_toolkit
from oddtide.config.stream_settings import StreamSettings
from oddtide.domain.quality.counters import Rates
from oddtide.domain.readings import FloatArray
from oddtide.streams.agents import training
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.pipeline.processor import PartitionProcessor

SECOND = 10**9
T0 = 1_700_000_000 * SECOND


def rates(times_s: list[float], values: list[float], cut: int = 0) -> FloatArray:
    """Of one series and a counter, beside a feature that is none."""
    counters = Rates((True, False))
    counters.grow(1)
    times = (np.array(times_s) * SECOND).astype(np.int64)
    columns = np.column_stack([values, values])
    slots = np.zeros(len(times), dtype=np.int64)
    parts = [counters.of(slots[a:b], times[a:b], columns[a:b]) for a, b in ((0, cut), (cut, len(times)))]
    out = np.concatenate(parts)
    np.testing.assert_array_equal(out[:, 1], values)
    return out[:, 0]


@pytest.mark.kernels
@pytest.mark.parametrize("cut", range(11))
def test_growth_per_second_with_every_policy(cut: int) -> None:
    times = [0, 10, 30, 40, 40, 35, 50, 60, 70, 80, 90]
    values = [5, 25, 25, 4, 9, 9, np.nan, 24, -1, 7, 1e308]
    expected = [np.nan, 2, 0, 0.4, np.nan, np.nan, np.nan, 1, np.nan, np.nan, 1e290]
    np.testing.assert_allclose(rates([float(t) for t in times], values, cut), expected, rtol=1e-12)


@pytest.mark.kernels
def test_a_nanosecond_is_enough_and_no_rate_is_endless() -> None:
    assert rates([0.0, 1e-9], [0.0, 1e308])[1] == pytest.approx(1e300)


def plan_of(counter: bool) -> Any:
    features = [{"name": "value", "counter": True}] if counter else ["value"]
    return StreamSettings.model_validate({"features": features, "detectors": ["ewma"]}).plan("oddtide")


def records(count: int) -> list[Record]:
    steps = np.random.default_rng(1).poisson(50, count)
    steps[-1] = 5_000
    totals = np.cumsum(steps)
    return [
        Record(i, T0 // 10**6 + i * 10_000, None, orjson.dumps(
            {"series": "a", "time": T0 + i * 10 * SECOND, "value": float(totals[i])}
        ))
        for i in range(count)
    ]  # fmt: skip


def test_verdicts_are_of_the_rate() -> None:
    processor = PartitionProcessor(plan_of(True), default_toolkit(), application="test", partition=0)
    assert "counters" in processor._stages.parts
    first, second = processor.fold(records(200)[:90]), processor.fold(records(200)[90:])
    assert first.verdicts is not None
    assert second.verdicts is not None
    values = second.verdicts.readings.values[:, 0]
    assert values[:-1].mean() == pytest.approx(5.0, rel=0.1)
    assert values[-1] == 500.0
    assert second.verdicts.scores.p_value[-1] < 1e-6
    assert second.verdicts.scores.p_value[:-1].min() > 1e-4
    assert np.isnan(first.verdicts.readings.values[0, 0])


def test_only_a_plan_with_counters_has_another_digest_and_other_detectors() -> None:
    plain, counting = plan_of(False), plan_of(True)
    assert "counter" not in plain.content()["contract"]["features"][0]
    assert plain.digest != counting.digest
    assert plain.kept_by(counting) == ("validator", "profiles")
    assert "counters" in counting.kept_by(plan_of(True))
    assert "counters" not in plain.kept_by(plain)
    processor = PartitionProcessor(plain, default_toolkit(), application="test", partition=0)
    processor.fold(records(40))
    stages = processor._stages.under(counting, default_toolkit(), 0, 1)
    assert stages.under(plan_of(True), default_toolkit(), 0, 1).counters is stages.counters is not None


def test_a_model_is_trained_on_rates() -> None:
    chunk = training._decode(plan_of(True), 0, records(60))
    assert len(chunk.values) == 59
    assert chunk.values[:-1].mean() == pytest.approx(5.0, rel=0.1)
