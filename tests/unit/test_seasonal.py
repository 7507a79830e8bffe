"""Seasonal: whether it finds the cycle that was put in, by the clock on the wall, and none where there is none."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from oddtide.adapters.calendars import holiday_dates
from oddtide.config.facade.detecting import default_toolkit
from oddtide.domain.detection import DetectorSpec, Rows, Scores
from oddtide.domain.detection.local_time import LocalTime
from oddtide.domain.detection.seasonal import Seasonal, SeasonalSettings
from oddtide.domain.errors import ConfigurationError, MissingExtraError
from oddtide.domain.readings import FloatArray, IntArray

HOUR = 3_600_000_000_000
BERLIN = "Europe/Berlin"
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def instants(days: int, step_h: float = 1.0, start: datetime = MONDAY) -> IntArray:
    first = int(start.timestamp()) * 1_000_000_000
    return first + (np.arange(int(days * 24 / step_h)) * step_h * HOUR).astype(np.int64)


def day(times: IntArray, zone: str = "UTC") -> FloatArray:
    """Ten at night, up to thirty at noon of the zone's clock."""
    hours = LocalTime(zone).of(times)[:, 0] / HOUR
    return 20.0 - 10.0 * np.cos(hours / 24 * 2 * np.pi)


def noise(n: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=n)


def told(times: IntArray, values: FloatArray, **parameters: Any) -> tuple[Scores, Seasonal]:
    detector = Seasonal.from_spec(DetectorSpec("seasonal", parameters), ("value",))
    detector.grow(1)
    return detector.advance(Rows(np.zeros(len(times), dtype=np.int64), times, values[:, None])), detector


def expected(scores: Scores) -> FloatArray:
    assert scores.expected is not None
    return scores.expected[:, 0]


@pytest.mark.kernels
def test_a_daily_cycle_is_found_after_three_days_and_expected_at_each_hour() -> None:
    times = instants(20, 0.5)
    truth = day(times)
    scores, detector = told(times, truth + noise(len(times)), band=0.95)
    spoken = ~np.isnan(expected(scores))
    assert not spoken[: 3 * 48].any()
    assert spoken[5 * 48 :].all()
    np.testing.assert_array_equal(
        scores.seen, np.where(spoken, np.arange(len(times)), np.minimum(range(len(times)), 29))
    )
    assert np.abs(expected(scores) - truth)[10 * 48 :].mean() < 0.5
    assert scores.lower is not None
    assert scores.upper is not None
    inside = (truth >= scores.lower[:, 0]) & (truth <= scores.upper[:, 0])
    assert inside[spoken].all()
    at_noon_by_night = Rows(np.zeros(1, dtype=np.int64), times[-1:] + HOUR // 2, np.array([[30.0]]))
    assert detector.score(at_noon_by_night).p_value[0] < 1e-4  # and 30 is nothing at noon
    assert scores.p_value[spoken].min() > 1e-5


@pytest.mark.kernels
def test_noise_walks_and_constants_have_no_season() -> None:
    times = instants(20)
    for values in (noise(len(times)), np.cumsum(noise(len(times), 2)), np.full(len(times), 7.0)):
        scores, _ = told(times, values)
        assert (scores.p_value == 1.0).all()
        assert (scores.score == 0.0).all()
        assert (scores.seen < 30).all()
    scores, _ = told(times, noise(len(times)), season="daily")
    assert (scores.seen[4 * 24 :] >= 30).all()


@pytest.mark.kernels
def test_the_clock_on_the_wall_decides() -> None:
    """On 29 March Berlin's clocks go forward: by its own clock nothing has changed, by UTC everything came early."""
    times = instants(31)
    values = day(times, BERLIN) + 0.3 * noise(len(times))
    after = times >= int(datetime(2026, 3, 29, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
    by_its_own, _ = told(times, values, time_zone=BERLIN)
    by_another, _ = told(times, values)
    error = [np.abs(expected(each) - values)[after].mean() for each in (by_its_own, by_another)]
    assert error[0] < 0.5
    assert error[1] > 3 * error[0]


@pytest.mark.kernels
@pytest.mark.parametrize("own", [False, True])
def test_weekends_are_learnt_and_holidays_are_judged_like_them(own: bool) -> None:
    times = instants(42)
    kinds = LocalTime().of(times)[:, 1]
    holidays = ["2026-03-10", "2026-03-17", "2026-03-24", "2026-03-31", "2026-04-09"]  # Tuesdays, the last a Thursday
    numbers = (times // (24 * HOUR)).tolist()
    off = np.isin([str(date(1970, 1, 1) + timedelta(days=n)) for n in numbers], holidays)
    rest = (kinds >= 5) | off
    values = np.where(rest, 12.0, day(times)) + 0.5 * noise(len(times))
    last = np.flatnonzero(off)[-24:]
    knowing, _ = told(times, values, holidays=holidays, holidays_as="own" if own else "sunday")
    ignorant, _ = told(times, values)
    assert np.abs(expected(knowing)[last] - 12.0).mean() < 3.0
    assert np.abs(expected(ignorant)[last] - 12.0).mean() > 6.0
    sunday = np.flatnonzero(kinds == 6)[-24:]
    assert np.abs(expected(knowing)[sunday] - 12.0).mean() < 2.0


@pytest.mark.kernels
def test_sampling_may_be_irregular_and_late_readings_are_not_learnt() -> None:
    rng = np.random.default_rng(3)
    times = np.sort(rng.choice(instants(15, 0.01), size=900, replace=False))
    values = day(times) + noise(900)
    scores, _ = told(times, values)
    assert np.abs(expected(scores) - day(times))[500:].mean() < 1.3
    again = np.repeat(times, 2)
    again[1::2] -= np.arange(900) % 2 * HOUR  # every reading is followed by one at its time, or an hour before
    doubled = np.repeat(values, 2)
    doubled[1::2] = 1e6
    other, _ = told(again, doubled)
    np.testing.assert_array_equal(expected(other)[::2], expected(scores))


@pytest.mark.kernels
def test_a_level_shift_stays_strange_for_a_day_and_is_followed_then() -> None:
    times = instants(24)
    values = day(times) + noise(len(times))
    values[14 * 24 :] += 15.0
    scores, _ = told(times, values)
    assert (scores.p_value[14 * 24 : 14 * 24 + 12] < 1e-2).all()
    assert scores.p_value[20 * 24 :].mean() > 0.2


def test_days_of_any_zone_are_those_of_its_clock() -> None:
    seconds = np.random.default_rng(4).integers(0, 4_000_000_000, 200)
    for zone in (BERLIN, "Australia/Lord_Howe", "America/Sao_Paulo"):
        found = LocalTime(zone, [date(2000, 1, 1)], own_kind=True).of(seconds * 1_000_000_000)
        for second, (time, kind, following) in zip(seconds.tolist(), found.tolist(), strict=True):
            local = datetime.fromtimestamp(second, ZoneInfo(zone))
            assert time == (local.hour * 3600 + local.minute * 60 + local.second) * 1_000_000_000
            assert (kind, following) == (local.weekday(), (local.weekday() + 1) % 7)


def test_wrong_settings_are_refused_with_the_remedy() -> None:
    for parameters, says in (
        ({"time_zone": "Europe/Nowhere"}, "Europe/Nowhere"),
        ({"time_zone": "../etc"}, "no time zone"),
        ({"season": "yearly"}, "yearly"),
        ({"holidays_as": "monday"}, "monday"),
        ({"holidays": "DE"}, "DE"),
        ({"holidays": ["Christmas"]}, "Christmas"),
        ({"cycles": 1}, "cycles"),
    ):
        with pytest.raises(ConfigurationError, match=says):
            Seasonal.from_spec(DetectorSpec("seasonal", parameters), ("value",))
    versions = {Seasonal(("v",), SeasonalSettings(time_zone=zone)).version for zone in ("UTC", BERLIN, "Etc/GMT-1")}
    assert len(versions) == 3


def test_a_country_stands_for_its_holidays(monkeypatch: pytest.MonkeyPatch) -> None:
    def country_holidays(country: str, subdiv: str | None, years: range) -> list[date]:
        if country != "XY":
            raise NotImplementedError(f"Country {country} not available")
        return [date(years[0], 12, 25), date(years[0], 1, 1 if subdiv is None else 6)]

    monkeypatch.setitem(sys.modules, "holidays", SimpleNamespace(country_holidays=country_holidays))
    holiday_dates.cache_clear()
    assert holiday_dates("XY-Z") == ("1990-01-06", "1990-12-25")
    build = default_toolkit().detector
    named = build(DetectorSpec("seasonal", {"holidays": "XY"}), ("value",))
    listed = build(DetectorSpec("seasonal", {"holidays": ("1990-01-01", "1990-12-25")}), ("value",))
    assert named.version == listed.version
    with pytest.raises(ConfigurationError, match="Country ZZ"):
        holiday_dates("ZZ")
    monkeypatch.setitem(sys.modules, "holidays", None)
    holiday_dates.cache_clear()
    with pytest.raises(MissingExtraError, match="library holidays") as error:
        holiday_dates("XY")
    assert "oddtide[holidays]" in str(error.value.remedy)
