from __future__ import annotations

import numpy as np
import pytest

from oddtide.domain.errors import DecodeError
from oddtide.streams.codecs.times import EARLIEST, LATEST, Nanoseconds, nanoseconds, parse_time

NS = 1_769_860_800 * 10**9  # 2026-01-31T12:00:00Z


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-31T12:00:00Z", NS),
        ("2026-01-31t12:00:00z", NS),
        ("2026-01-31 12:00:00", NS),
        ("2026-01-31T12:00", NS),
        ("2026-01-31", NS - 12 * 3600 * 10**9),
        ("2026-01-31T13:00:00+01:00", NS),
        ("2026-01-31T06:30:00-0530", NS),
        ("2026-01-31T12:00:00-00:00", NS),
        ("2026-01-31T12:00:00.5Z", NS + 500_000_000),
        ("2026-01-31T12:00:00.123456789Z", NS + 123_456_789),
        ("2026-01-31T12:00:00.1234567899999Z", NS + 123_456_789),
        ("2026-01-31T12:00:00.123456+00:00", NS + 123_456_000),
        ("2026-01-31T11:59:60Z", NS),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * 10**9),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
        ("2014-04-01 00:00:00", 1_396_310_400 * 10**9),
        (NS // 10**9, NS),
        (NS // 10**6, NS),
        (NS // 10**3, NS),
        (NS, NS),
        (0, 0),
        (-1, -(10**9)),
        (1_769_860_800.123, NS + 123_000_000),
        (1_769_860_800_000.5, NS + 500_000),
        (1_769_860_800_000_000.0, NS),
        (1_769_860_800_000_000_000.0, NS),
        (Nanoseconds(5), 5),
    ],
)
def test_times_that_are_understood(value: object, expected: int) -> None:
    assert parse_time(value) == expected
    times, ok = nanoseconds([value])
    assert ok.tolist() == [True]
    assert times.tolist() == [expected]


@pytest.mark.parametrize(
    "value",
    [
        "", "now", "NaT", "today", "1700000000", "2026", "2026-W05-6", "20260131T120000Z", "2026-01-31T12:00:00,5Z",
        "2026-02-30T00:00:00Z", "2025-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z", "0000-01-01T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z", "2026-01-31T12:00:00+24:00", "2026-01-31T12:00:00+01:60", "2026-01-31T12:00:00 Z",
        "2026-01-31T12:00:00Z\x00", "2026-01-31T12:00:0\x00Z", "\uff1226-01-31T12:00:00Z", "2026-01-31X12:00:00Z",
        "2026-01-31T12:00:00.Z", " 2026-01-31T12:00:00Z", "2026-01-31T12:00:00." + "1" * 10_000 + "Z",
        "1677-12-31T23:59:59Z", "2262-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
        True, None, [], {}, b"2026-01-31", float("nan"), float("inf"), -float("inf"), 1e300, 1e19,
        2**63, 2**64, -(2**63), -(2**63) - 1, 10**11 - 1, 9_214_646_400, -9_214_560_001, Nanoseconds(2**70),
    ],
)  # fmt: skip
def test_times_that_are_refused(value: object) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_time(value)
    assert caught.value.reason == "invalid_time"
    assert len(caught.value.detail) < 200
    times, ok = nanoseconds([value])
    assert (times.tolist(), ok.tolist()) == ([0], [False])


def test_the_ends_of_the_range() -> None:
    assert parse_time("1678-01-01T00:00:00Z") == EARLIEST
    assert parse_time("2261-12-31T23:59:59.999999999Z") == LATEST
    for end in (EARLIEST, LATEST):
        times, ok = nanoseconds([Nanoseconds(end), 1])
        assert ok.all()
        assert times[0] == end
    times, ok = nanoseconds(["1678-01-01T00:00:00Z", "2261-12-31T23:59:59.999999999Z"])
    assert times.tolist() == [EARLIEST, LATEST]
    assert ok.all()


def test_columns_of_mixed_kinds_and_lengths() -> None:
    column = ["2026-01-31T12:00:00Z", 5, "?", 1.5, None, "2026-01-31T12:00:00.5Z"]
    times, ok = nanoseconds(column)
    assert ok.tolist() == [True, True, False, True, False, True]
    assert times.tolist() == [NS, 5 * 10**9, 0, 1_500_000_000, 0, NS + 500_000_000]


def test_an_empty_column() -> None:
    times, ok = nanoseconds([])
    assert times.dtype == np.dtype(np.int64)
    assert (len(times), len(ok)) == (0, 0)
