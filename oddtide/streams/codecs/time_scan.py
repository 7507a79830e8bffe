"""Times of plain JSON readings, from their bytes or numbers to nanoseconds. Compiled.

It reads what is ordinary: ``2026-01-31T12:00:00.123Z`` with up to nine digits, a space for the T, an offset like
``+01:00`` or none; and epochs. It gives what ``times.parse_time`` gives or leaves the time to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import ByteArray, FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["read_times"]

_EARLIEST, _LATEST = -9_214_560_000_000_000_000, 9_214_646_399_999_999_999
_TEXT, _WHOLE = 1, 2
_ODD = -1
_SECOND = 10**9
#: Magnitudes below which an epoch is in seconds, milliseconds, microseconds.
_SECONDS, _MILLIS, _MICROS = 10**11, 10**14, 10**17


@inlined
def _two(data: ByteArray, at: int) -> int:
    """Two digits, or a million where they are none."""
    tens, ones = np.int64(data[at]) - 0x30, np.int64(data[at + 1]) - 0x30
    return int(tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else 10**6)


@inlined
def _day(year: int, month: int, day: int) -> int:
    """Days since 1970 of a day of the calendar; far outside for one that is none. Months count from March, so that
    February ends the year (Richards 2013, in "Explanatory Supplement to the Astronomical Almanac", 15.11)."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = 28 + leap if month == 2 else 30 + (month + month // 8) % 2
    if not (1 <= month <= 12 and 1 <= day <= last):
        return -(10**9)
    since = year - (month <= 2)
    days = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return since * 365 + since // 4 - since // 100 + since // 400 + days - 719_468


@inlined
def _offset(data: ByteArray, at: int, end: int) -> int:
    """What stands behind the time of day, in seconds to take off; a large number where it is not ordinary."""
    if at == end or (end - at == 1 and data[at] == 0x5A):
        return 0
    if end - at != 6 or data[at + 3] != 0x3A or (data[at] != 0x2B and data[at] != 0x2D):
        return 10**9
    hours, minutes = _two(data, at + 1), _two(data, at + 4)
    if hours > 23 or minutes > 59:
        return 10**9
    seconds = hours * 3600 + minutes * 60
    return -seconds if data[at] == 0x2D else seconds


@inlined
def _fraction(data: ByteArray, at: int, end: int) -> tuple[int, int]:
    """Nanoseconds behind the point, if there is one, and the place behind them; odd for none or more than nine."""
    if at == end or data[at] != 0x2E:
        return 0, at
    place = at + 1
    number = 0
    while place < end and 0x30 <= data[place] <= 0x39 and place < at + 11:
        number = number * 10 + (int(np.int64(data[place])) - 0x30)
        place += 1
    digits = place - at - 1
    if not 1 <= digits <= 9:
        return _ODD, at
    for _ in range(9 - digits):
        number *= 10
    return number, place


@inlined
def _punctuated(data: ByteArray, at: int) -> bool:
    return bool(
        data[at + 4] == 0x2D
        and data[at + 7] == 0x2D
        and (data[at + 10] == 0x54 or data[at + 10] == 0x20)
        and data[at + 13] == 0x3A
        and data[at + 16] == 0x3A
    )


@inlined
def _text(data: ByteArray, at: int, size: int) -> tuple[int, bool]:
    if size < 19 or not _punctuated(data, at):
        return 0, False
    century, year, month, day = _two(data, at), _two(data, at + 2), _two(data, at + 5), _two(data, at + 8)
    hour, minute, second = _two(data, at + 11), _two(data, at + 14), _two(data, at + 17)
    year = century * 100 + year
    if not 1678 <= year <= 2261 or hour > 23 or minute > 59 or second > 59:
        return 0, False
    days = _day(year, month, day)
    fraction, behind = _fraction(data, at + 19, at + size)
    offset = _offset(data, behind, at + size)
    if days < -(10**8) or fraction == _ODD or offset == 10**9:
        return 0, False
    return (days * 86_400 + hour * 3600 + minute * 60 + second - offset) * _SECOND + fraction, True


@inlined
def _unit(number: float) -> int:
    """Nanoseconds in the unit that a number of this magnitude is in."""
    if -_SECONDS < number < _SECONDS:
        return _SECOND
    if -_MILLIS < number < _MILLIS:
        return 10**6
    return 10**3 if -_MICROS < number < _MICROS else 1


@inlined
def _whole(number: int) -> tuple[int, bool]:
    unit = _unit(number)
    # 1e11 seconds are more nanoseconds than 63 bits hold: looked at before they are multiplied.
    fits = -(-_EARLIEST // unit) <= number <= _LATEST // unit
    return number * unit if fits else 0, fits


@inlined
def _broken(number: float) -> tuple[int, bool]:
    micros = np.rint(number * (_unit(number) / 1000))
    fits = _EARLIEST / 1000 < micros < _LATEST / 1000
    return int(np.int64(micros)) * 1000 if fits else 0, bool(fits)


@bare_kernel
def read_times(
    data: ByteArray, kinds: IntArray, at: IntArray, size: IntArray, numbers: IntArray, doubles: FloatArray,
    times: IntArray, ok: NDArray[np.bool_],
) -> None:  # fmt: skip
    """(n,) times in nanoseconds, for the rows that are ``ok``: of kind 1 from the text of ``size`` bytes at ``at``, 2
    from ``numbers``, 3 from ``doubles``. What is not ordinary ceases to be ``ok``."""
    for row in range(len(kinds)):
        times[row] = 0
        if ok[row]:
            if kinds[row] == _TEXT:
                times[row], ok[row] = _text(data, at[row], size[row])
            elif kinds[row] == _WHOLE:
                times[row], ok[row] = _whole(numbers[row])
            else:
                times[row], ok[row] = _broken(doubles[row])
            ok[row] = ok[row] and _EARLIEST <= times[row] <= _LATEST
