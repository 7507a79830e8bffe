"""Local time of day and kind of day, for detectors that know of days and weeks.

A reading's time is an instant. What people do follows the clock on their wall: at 09:00 an office fills, and that is
another instant in summer than in winter. A :class:`LocalTime` turns instants into the local time of day, from a table
of the zone's changes that is made once, so that nothing is looked up per reading.

Days have *kinds*: 0 (Monday) to 6 (Sunday). A holiday counts as a Sunday, or has a kind of its own, 7.

Changes are found to the second between 1900 and 2100; after that the last offset stays. Two changes within a week that
cancel each other are unseen (no zone of today has any).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import IntArray

__all__ = ["DAY_NS", "KINDS", "LocalTime", "read_dates"]

DAY_NS = 86_400_000_000_000
#: How many kinds of day there are, holidays included.
KINDS = 8
_SUNDAY, _HOLIDAY = 6, 7
#: 1970-01-01 was a Thursday.
_THURSDAY = 3
_SECOND_NS = 1_000_000_000
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REMEDY = "It takes a name of the IANA zone database, such as Europe/Berlin (pip install tzdata where there is none)."


def read_dates(texts: Iterable[object]) -> tuple[date, ...]:
    """Dates as ISO writes them (``2026-12-25``), sorted. Raises ``ConfigurationError`` for anything else."""
    try:
        return tuple(sorted({date.fromisoformat(str(text)) for text in texts}))
    except ValueError as error:
        raise ConfigurationError(
            f"Parameter holidays: {error}.", remedy='Give dates such as "2026-12-25", or a country code such as "DE".'
        ) from None


class LocalTime:
    """The calendar of one place: its zone and its holidays. ``own_kind``: holidays are no Sundays."""

    def __init__(self, zone: str = "UTC", holidays: Iterable[date] = (), *, own_kind: bool = False) -> None:
        self._changes, self._offsets = _table(zone)
        days = [(day - date(1970, 1, 1)).days for day in holidays]
        self._holidays: IntArray = np.array(sorted(days), dtype=np.int64)
        self._as = _HOLIDAY if own_kind else _SUNDAY

    @property
    def contents(self) -> tuple[bytes, ...]:
        """Everything that it says anything by: equal where no instant is told apart."""
        return self._changes.tobytes(), self._offsets.tobytes(), self._holidays.tobytes(), bytes([self._as])

    def of(self, times: IntArray) -> IntArray:
        """(n, 3) of instants in nanoseconds: local time of day (ns), kind of that day, kind of the next."""
        local = times.astype(np.int64, copy=True)
        if len(self._changes):
            local += self._offsets[np.searchsorted(self._changes, times, side="right")]
        day = local // DAY_NS
        out = np.empty((len(times), 3), dtype=np.int64)
        out[:, 0] = local - day * DAY_NS
        out[:, 1] = (day + _THURSDAY) % 7
        out[:, 2] = (day + _THURSDAY + 1) % 7
        if len(self._holidays):
            out[self._holiday(day), 1] = self._as
            out[self._holiday(day + 1), 2] = self._as
        return out

    def _holiday(self, day: IntArray) -> NDArray[np.bool_]:
        place = np.minimum(np.searchsorted(self._holidays, day), len(self._holidays) - 1)
        found: NDArray[np.bool_] = self._holidays[place] == day
        return found


@lru_cache(maxsize=64)
def _table(name: str) -> tuple[IntArray, IntArray]:
    """(changes, offsets) in nanoseconds: ``offsets[i]`` holds before ``changes[i]``, the last one after them all."""
    if name == "UTC":
        return np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(f"There is no time zone {name!r}.", remedy=_REMEDY) from None
    changes, offsets, moment = [], [_offset(zone, _FIRST)], _FIRST
    while moment < _LAST:
        following = moment + timedelta(days=7)
        if _offset(zone, following) != offsets[-1]:
            change = _change(zone, moment, following)
            changes.append((change - _EPOCH) // timedelta(seconds=1) * _SECOND_NS)
            offsets.append(_offset(zone, change))
            following = change
        moment = following
    return np.array(changes, dtype=np.int64), np.array(offsets, dtype=np.int64)


def _offset(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    return 0 if offset is None else offset // timedelta(seconds=1) * _SECOND_NS


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second with another offset than ``before``."""
    seconds, old = int((after - before).total_seconds()), _offset(zone, before)
    low = 0
    while seconds - low > 1:
        middle = (low + seconds) // 2
        if _offset(zone, before + timedelta(seconds=middle)) == old:
            low = middle
        else:
            seconds = middle
    return before + timedelta(seconds=seconds)
