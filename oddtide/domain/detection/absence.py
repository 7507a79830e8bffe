"""Absence: a series that falls silent, noticed by event time.

A series that says nothing cannot be scored, and to whoever looks at scores alone a dead sensor looks like a sound one.
So each series has a *deadline*: the time of its newest reading, plus how long it may be silent. A partition has a time
of its own, the newest that any of its readings shows (of a reading whose time lies after its Kafka record's timestamp,
that timestamp, so that one skewed clock cannot fire every timer). When that time reaches a series' deadline, the series
is absent, once; it has returned with the next reading that makes its deadline lie ahead again. No clock is read: the
same log gives the same absences. Where nothing arrives at all, the partition's owner lets time pass, and says so in the
ledger (``streams.idling``).

How long a series may be silent is a fixed number of seconds, or ``auto``: three times (``factor``) the longest silence
that it has lately had. That silence is measured up to the partition's time when the series speaks again, so that what
is sent in turn, one series after the other, is part of it. It fades by a 256th with each reading, and at most doubles
with one: an outage does not become the usual. For readings at random moments (Poisson) the longest of the last few
hundred gaps is about six mean gaps, so three times that is passed by one in 10^7 or 10^8; for a steady rhythm the third
missed reading is the one. ``auto`` says nothing of a series before 17 readings, and nothing within ``least_s``.

The idea is that of a watchdog timer; nothing here has a paper. Per series 64 bytes. A reading costs 8 to 40 ns among a
thousand series, 30 to 120 among a million (the more, the fewer readings a series has within its deadline), an absence
15 microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oddtide.domain.detection.settings import check_range
from oddtide.domain.readings import IntArray
from oddtide.domain.slots import SlotColumns, SlotState

__all__ = ["AbsencePolicy", "Timers"]

_SECOND = 1_000_000_000
_FOREVER = np.iinfo(np.int64).max
#: Slots taken off the heap at once.
_SOME = 4_096


@dataclass(frozen=True, slots=True)
class AbsencePolicy:
    """How long a series of the stream may be silent: ``after_s`` seconds, or (None) ``factor`` times the longest
    silence that it has lately had, but at least ``least_s``."""

    after_s: float | None = None
    factor: float = 3.0
    least_s: float = 60.0

    def __post_init__(self) -> None:
        if self.after_s is not None:
            check_range("after_s", self.after_s, 1e-3, 1e9)
        check_range("factor", self.factor, 1.0, 1e6)
        check_range("least_s", self.least_s, 1e-3, 1e9)

    @property
    def after_ns(self) -> int:
        """The fixed time in nanoseconds; 0 where it is learnt."""
        return 0 if self.after_s is None else int(self.after_s * _SECOND)

    @property
    def least_ns(self) -> int:
        """``least_s`` in nanoseconds."""
        return int(self.least_s * _SECOND)


class Timers:
    """The deadlines of slots, and the time that they are held against.

    Guaranteed: a deadline is only ever set ahead of ``now``, and only moves on. So a slot with one at or before ``now``
    has expired, and once: nothing else needs to be remembered of that. What moves the time is :meth:`take` and
    :meth:`move`; what has expired is then asked for by :meth:`expire`, before anything else is done."""

    def __init__(self) -> None:
        from oddtide.domain.detection import absence_timers  # numba is heavy; see the module

        self._kernels = absence_timers
        self._columns = SlotColumns("absence", {"absence": np.zeros(4, dtype=np.int64)})
        self._live = SlotColumns("absence", {"live": np.zeros((), dtype=np.int64)})
        self._keys = np.zeros(64, dtype=np.int64)
        self._slots = np.zeros(64, dtype=np.int64)
        self.counts: IntArray = np.array([0, *3 * [absence_timers.NEVER]], dtype=np.int64)

    @property
    def now(self) -> int:
        """The partition's time."""
        return int(self.counts[self._kernels.NOW])

    @property
    def earliest(self) -> int:
        """No deadline lies before this."""
        return int(self._keys[0]) if self.counts[self._kernels.SIZE] else _FOREVER

    @property
    def bytes_per_slot(self) -> int:
        """State, and an entry in the heap with room for growth."""
        return self._columns.bytes_per_slot + self._live.bytes_per_slot + 24

    def rows(self, slots: IntArray) -> IntArray:
        """(n, 4) of ``slots``: newest reading, deadline, longest silence, readings seen."""
        found: IntArray = self._columns["absence"][slots]
        return found

    def move(self, now: int) -> None:
        """Time has come to ``now``; it never goes back."""
        self.counts[self._kernels.NOW] = max(self.now, now)

    def postpone(self, slot: int, deadline: int, *, marked: bool) -> None:
        """A slot that has expired has another deadline; it is armed where that lies ahead. ``marked``, its number of
        readings is negative from now on, for whoever keeps the state elsewhere too; it must take no reading then."""
        row = self._columns["absence"][slot]
        row[self._kernels.DEADLINE] = deadline
        if marked:
            row[self._kernels.SEEN] = -abs(row[self._kernels.SEEN])
        self._arm(np.array([slot], dtype=np.int64))

    def take(
        self, policy: AbsencePolicy, slots: IntArray, times: IntArray, arrivals: IntArray, start: int, other: int,
        was: IntArray, since: IntArray,
    ) -> int:  # fmt: skip
        """Rows from ``start`` on, in order; see :func:`.absence_timers.take_rows`."""
        self._reserve(len(slots) - start)
        return int(self._kernels.take_rows(
            self._columns["absence"], self._live["live"], self._keys, self._slots, self.counts, slots, times, arrivals,
            start, np.int64(other), np.int64(policy.after_ns), np.float64(policy.factor), np.int64(policy.least_ns),
            was, since,
        ))  # fmt: skip

    def is_due(self, time: int) -> bool:
        """Whether some deadline is at or before ``time``."""
        return self.earliest <= time and bool(self._kernels.is_due(*self._heap(), np.int64(time)))

    def expire(self) -> IntArray:
        """The slots whose deadline has come and that were not given before; in no particular order."""
        found, out = list[IntArray](), np.empty(_SOME, dtype=np.int64)
        while self.earliest <= self.now:
            found.append(out[: self._kernels.expire(*self._heap(), np.int64(self.now), out)].copy())
        return np.concatenate(found) if found else out[:0]

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``."""
        self._columns.grow(slots)
        self._live.grow(slots)

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen."""
        self._columns.forget(slots)
        self._live.forget(slots)

    def extract(self, slots: IntArray) -> SlotState:
        """Copies of the state of ``slots``."""
        return self._columns.extract(slots)

    def insert(self, slots: IntArray, state: Mapping[str, Any]) -> None:
        """Replace the state of ``slots`` and arm them. Raises ``StateMismatchError``."""
        self._columns.insert(slots, state)
        self._live.forget(slots)
        self._arm(np.ascontiguousarray(slots, dtype=np.int64))

    def _arm(self, slots: IntArray) -> None:
        self._reserve(len(slots))
        self._kernels.arm(*self._heap(), slots)

    def _heap(self) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
        return self._columns["absence"], self._live["live"], self._keys, self._slots, self.counts

    def _reserve(self, more: int) -> None:
        """Room in the heap for ``more`` entries. What is left of forgotten slots goes when it is more than half."""
        size = int(self.counts[self._kernels.SIZE])
        if size + more <= len(self._keys):
            return
        live = self._live["live"]
        held = np.flatnonzero(live)
        if size > 2 * len(held) + _SOME:
            order = held[np.argsort(live[held], kind="stable")]
            self._keys[: len(order)], self._slots[: len(order)] = live[order], order
            size = self.counts[self._kernels.SIZE] = len(order)
        room = max(size + more, len(self._keys) + len(self._keys) // 2)
        self._keys, self._slots = np.resize(self._keys, room), np.resize(self._slots, room)
