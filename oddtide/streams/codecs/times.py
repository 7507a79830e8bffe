"""Event times as producers write them, to nanoseconds since 1970 UTC.

* **Text**: RFC 3339 (``2026-01-31T12:00:00.123Z``, ``2026-01-31 13:00:00+01:00``). Also taken: no seconds, a date
  alone (its midnight), an offset without colon. A time **without offset is taken as UTC**. Digits beyond
  the nanosecond are cut; second 60 (a leap second) is the second after it.
* **Whole number**: a Unix epoch whose unit follows from its magnitude: below 1e11 seconds, below 1e14 milliseconds,
  below 1e17 microseconds, else nanoseconds. So milliseconds are read right from March 1973 on.
* **Number with a fraction**: the same, rounded to the microsecond, which is what a double can carry.

All must lie in the years 1678 to 2261, the range of 64-bit nanoseconds. Whether a time is *sane* is for the
contract to say, against the record's timestamp.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.errors import DecodeError
from oddtide.domain.quality.reasons import Reason
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.streams.codecs.refusing import refusal, show

__all__ = ["EARLIEST", "LATEST", "Nanoseconds", "nanoseconds", "parse_time"]

#: 1678-01-01 and the last nanosecond of 2261.
EARLIEST: Final = -9_214_560_000_000_000_000
LATEST: Final = 9_214_646_399_999_999_999

_UNIX_DAY = date(1970, 1, 1).toordinal()
_LONGEST = 64
_TEXT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:[Zz]|([+-])(\d\d):?(\d\d))?)?",
    re.ASCII,
)
#: (exclusive magnitude, nanoseconds in a unit): seconds, milliseconds, microseconds, nanoseconds.
_UNITS: Final = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3), (2**63, 1))
_SHAPE = "0000-00-00T00:00:00"
_MARKS = [(place, ord(mark)) for place, mark in enumerate(_SHAPE) if mark not in "0T"]
_DIGITS = [place for place, mark in enumerate(_SHAPE) if mark == "0"]


class Nanoseconds(int):
    """A time whose unit is known to be nanoseconds, however small (an Arrow timestamp)."""


def parse_time(value: object) -> int:
    """One time in nanoseconds. Raises ``DecodeError`` (``invalid_time``)."""
    if isinstance(value, str):
        time = _parse_text(value)
    elif type(value) is int:
        time = value * next((scale for limit, scale in _UNITS if -limit < value < limit), 1)
    elif type(value) is float:
        time = _parse_float(value)
    elif isinstance(value, Nanoseconds):
        time = int(value)
    else:
        raise refusal(Reason.INVALID_TIME, f"time is {show(value)}; send RFC 3339 or a Unix epoch")
    if not EARLIEST <= time <= LATEST:
        raise refusal(Reason.INVALID_TIME, f"time {show(value)} is outside the years 1678 to 2261")
    return time


def _parse_float(value: float) -> int:
    if not math.isfinite(value):
        raise refusal(Reason.INVALID_TIME, f"time is {value!r}; send RFC 3339 or a Unix epoch")
    scale = next((scale for limit, scale in _UNITS if -limit < value < limit), 1)
    return round(value * (scale / 1000)) * 1000


def _parse_text(text: str) -> int:
    match = _TEXT.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise refusal(Reason.INVALID_TIME, f"time {show(text)} is not RFC 3339")
    year, month, day, hour, minute, second, fraction, sign, offset_h, offset_m = match.groups()
    h, m, s = int(hour or 0), int(minute or 0), int(second or 0)
    oh, om = int(offset_h or 0), int(offset_m or 0)
    if max(h, oh) > 23 or max(m, om) > 59 or s > 60:
        raise refusal(Reason.INVALID_TIME, f"time {show(text)} has a part out of range")
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _UNIX_DAY
    except ValueError:
        raise refusal(Reason.INVALID_TIME, f"time {show(text)} is on no day of the calendar") from None
    offset = (oh * 60 + om) * (-60 if sign == "-" else 60)
    seconds = days * 86_400 + h * 3600 + m * 60 + s - offset
    return seconds * 10**9 + int((fraction or "")[:9].ljust(9, "0"))


def nanoseconds(column: Sequence[object]) -> tuple[IntArray, NDArray[np.bool_]]:
    """A column of times, and which of them could be read. Equal to :func:`parse_time` on each, only faster where
    all are of one kind; 0 stands for those that could not be read."""
    kinds = set(map(type, column))
    if kinds == {str}:
        return _texts(column)  # type: ignore[arg-type]  # the kinds were just looked at
    if kinds == {int}:
        try:
            return _whole(np.array(column, dtype=np.int64))
        except OverflowError:
            pass
    if kinds == {float}:
        return _fractions(np.array(column, dtype=np.float64))
    return _one_by_one(column)


def _whole(numbers: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
    times = np.zeros_like(numbers)
    ok = np.zeros(len(numbers), dtype=np.bool_)
    for limit, scale in reversed(_UNITS):
        bound = min(limit, 2**63 - 1)
        inside = (numbers > -bound) & (numbers < bound)
        ok[inside] = (numbers[inside] >= -(-EARLIEST // scale)) & (numbers[inside] <= LATEST // scale)
        times[inside] = np.where(ok[inside], numbers[inside], 0) * scale
    return times, ok


def _fractions(numbers: FloatArray) -> tuple[IntArray, NDArray[np.bool_]]:
    micros = np.full(len(numbers), np.inf)
    for limit, scale in reversed(_UNITS):
        inside = (numbers > -limit) & (numbers < limit)
        micros[inside] = np.rint(numbers[inside] * (scale / 1000))
    ok = (micros >= math.ceil(EARLIEST / 1000)) & (micros <= LATEST // 1000)
    return np.where(ok, micros, 0).astype(np.int64) * 1000, ok


def _one_by_one(column: Sequence[object]) -> tuple[IntArray, NDArray[np.bool_]]:
    times = np.zeros(len(column), dtype=np.int64)
    ok = np.ones(len(column), dtype=np.bool_)
    for place, value in enumerate(column):
        try:
            times[place] = parse_time(value)
        except DecodeError:
            ok[place] = False
    return times, ok


def _texts(column: Sequence[str]) -> tuple[IntArray, NDArray[np.bool_]]:
    times = np.zeros(len(column), dtype=np.int64)
    ok = np.zeros(len(column), dtype=np.bool_)
    lengths = np.fromiter(map(len, column), dtype=np.int64, count=len(column))
    for length in np.unique(lengths).tolist():
        where = np.flatnonzero(lengths == length)
        group = [column[i] for i in where.tolist()]
        if len(_SHAPE) <= length <= 35:
            times[where], ok[where] = _same_length(group, length)
        odd = where[~ok[where]]
        times[odd], ok[odd] = _one_by_one([column[i] for i in odd.tolist()])
    return times, ok


def _same_length(group: list[str], length: int) -> tuple[IntArray, NDArray[np.bool_]]:
    """The ordinary case: UTC, all digits in the same places. What is not ordinary is not ok here."""
    codes = np.array(group, dtype=f"U{length}").view(np.uint32).reshape(len(group), length)
    tail = next((mark for mark in ("+00:00", "Z") if group[0].endswith(mark)), "")
    stem = length - len(tail)
    ok = (codes[:, stem:] == np.array([ord(mark) for mark in tail], dtype=np.uint32)).all(axis=1)
    for place, mark in _MARKS:
        ok &= codes[:, place] == mark
    ok &= (codes[:, 10] == ord("T")) | (codes[:, 10] == ord(" "))
    fraction = list(range(20, stem))
    if stem > 19:
        ok &= (codes[:, 19] == ord(".")) & (0 < len(fraction) <= 9)
    numbers = codes.astype(np.int64) - ord("0")
    for place in _DIGITS + fraction:
        ok &= (numbers[:, place] >= 0) & (numbers[:, place] <= 9)
    return _combine(np.where(ok[:, None], numbers, 0), fraction, ok)


def _combine(numbers: IntArray, fraction: list[int], ok: NDArray[np.bool_]) -> tuple[IntArray, NDArray[np.bool_]]:
    def number(first: int, last: int) -> IntArray:
        total = np.zeros(len(numbers), dtype=np.int64)
        for place in range(first, last):
            total = total * 10 + numbers[:, place]
        return total

    year, month, day = number(0, 4), number(5, 7), number(8, 10)
    hour, minute, second = number(11, 13), number(14, 16), number(17, 19)
    ok = ok & (year >= 1678) & (year <= 2261) & (month >= 1) & (month <= 12) & (day >= 1)
    ok &= (hour <= 23) & (minute <= 59) & (second <= 59)
    months = np.where(ok, (year - 1970) * 12 + month - 1, 0)
    first_day = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    next_first = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    ok &= day <= next_first - first_day
    seconds = (first_day + day - 1) * 86_400 + hour * 3600 + minute * 60 + second
    parts = number(20, 20 + len(fraction)) * 10 ** (9 - len(fraction)) if fraction else 0
    return np.where(ok, np.where(ok, seconds, 0) * 10**9 + parts, 0), ok
