"""What a stream of which nothing is known is watched by, as its user sees it."""

from __future__ import annotations

import numpy as np
import pytest

from oddtide.config.facade.detecting import detect_anomalies


@pytest.mark.parametrize("size", [300, 3_000])
def test_a_spike_beyond_all_doubt_is_an_alarm(size: int) -> None:
    """At the shipped threshold, however short the past is that it is held against."""
    values = np.random.default_rng(4).normal(20.0, 1.5, size)
    values[-1] += 50.0 * 1.5
    assert detect_anomalies(values, detector="auto").rows.tolist() == [size - 1]


def test_one_sensor_of_many_that_is_far_out_is_an_alarm() -> None:
    values = np.random.default_rng(8).normal(size=(600, 4))
    values[-1, 2] = 30.0
    found = detect_anomalies(values, detector="auto", features=("a", "b", "c", "d"))
    assert [(verdict.feature, verdict.detector) for verdict in found] == [("c", "far_out")]


def test_a_band_holds_its_share() -> None:
    """99.9 % by default, whoever drives the verdict: the band is that of whoever knew best beforehand."""
    values = np.random.default_rng(1).normal(20.0, 1.5, 4_000)
    found = detect_anomalies(values, detector="auto", all=True)
    lower, upper = found.column("lower")[500:], found.column("upper")[500:]
    assert 0.995 <= ((values[500:] >= lower) & (values[500:] <= upper)).mean() < 1.0
