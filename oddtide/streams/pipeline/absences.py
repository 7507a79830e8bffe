"""The absence stage: whose deadline has passed, who has returned, also among those that sleep.

The timers of series that sleep stay awake: their names and deadlines are kept here, under slots of their own, until the
deadline passes or the series wakes. So what sleeps costs memory only as long as somebody would be told of its silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from oddtide.domain.detection.absence import AbsencePolicy, Timers
from oddtide.domain.detection.events import AbsenceDetected, SeriesReturned
from oddtide.domain.errors import StateMismatchError, UsageError
from oddtide.domain.readings import IntArray, Readings, SeriesColumn, rfc3339
from oddtide.domain.slots import SlotState
from oddtide.streams.envelope import derive_id
from oddtide.streams.pipeline.outcome import Published
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.planned_work import PlannedWork
from oddtide.streams.pipeline.running_hash import EMPTY_HASH, advance_hash, digest_rows, hash_text
from oddtide.streams.pipeline.series import SeriesIndex, name_hashes

__all__ = ["AbsenceStage"]

_SECOND = 1e9
#: Columns of the timers. Of one that sleeps and was put off the readings seen are negative.
_DEADLINE, _SEEN = 1, 3
_ABSENT, _RETURNED = 0, 1
#: A name and its place in the index of those who sleep, in bytes.
_NAME_BYTES = 64
#: Time is let pass at most so far at once (ns), where the contract's ``max_ahead_s`` is less.
_LEAST_STEP = 60 * 10**9


class _Passed(NamedTuple):
    """A deadline that has passed: of which series, and when it last spoke."""

    deadline: int
    series: str
    since: int


class _Found(NamedTuple):
    """An absence, or a return, in the order in which they are said."""

    row: int
    what: int
    deadline: int
    series: str
    since: int


class AbsenceStage:
    """Follows when each series of a partition speaks.

    Guaranteed: what it says is a function of the readings kept, in the order of the log, and of the times that the
    ledger lets pass; batches, sleep and slots do not matter. An absence during planned work on its series is put off
    until as long after the work's end as the series may be silent."""

    def __init__(self, plan: StreamPlan, partition: int) -> None:
        self.plan = plan
        self.hash = EMPTY_HASH
        #: What was found where nothing arrived, and is to be published with the next batch.
        self.said: list[Published] = []
        self._partition = partition
        self._awake, self._asleep = Timers(), Timers()
        self._sleepers = SeriesIndex()

    @property
    def silence(self) -> str:
        """The running hash over all that was said, as the ledger shows it."""
        return hash_text(self.hash)

    @property
    def bytes_asleep(self) -> int:
        """Memory that the timers of series that sleep take."""
        return len(self._sleepers) * (self._asleep.bytes_per_slot + _NAME_BYTES)

    def take(self, readings: Readings, slots: IntArray, names: SeriesIndex, work: PlannedWork) -> list[Published]:
        """The kept readings of a batch: the absences that their times bring, and who has returned; before them what was
        found since the last."""
        policy, count = self._policy, len(readings)
        was, since = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        times, arrivals = (np.ascontiguousarray(each, dtype=np.int64) for each in (readings.times, readings.arrivals))
        slots = np.ascontiguousarray(slots, dtype=np.int64)
        found: list[_Found] = []
        row = 0
        while True:
            other = self._asleep.earliest
            row = self._awake.take(policy, slots, times, arrivals, row, other, was, since)
            if row == count:
                break
            found += (_Found(row, _ABSENT, *passed) for passed in self._expired(names, work))
        for row in np.flatnonzero(was).tolist():
            found.append(_Found(row, _RETURNED, int(was[row]), readings.series[row], int(since[row])))
        found.sort()
        self._mix(found)
        said, self.said = self.said, []
        return [*said, *(self._told(each, readings) for each in found)]

    def advance(self, now: int, offset: int, names: SeriesIndex, work: PlannedWork) -> None:
        """Nothing arrived before the record at ``offset`` until ``now``: note the absences that this brings."""
        self._awake.move(now)
        found = [_Found(0, _ABSENT, *passed) for passed in self._expired(names, work)]
        self._mix(found)
        self.said += [self._absence(each, offset) for each in found]

    def overdue(self, clock: int, quiet_since: int) -> int | None:
        """How far to let time pass where nothing has arrived since the moment ``quiet_since`` of the clock, which is
        now at ``clock`` (both ns); None where no deadline would pass.

        Time goes on from the newest reading as the clock does from that reading's record, in steps of the contract's
        ``max_ahead_s`` at most: a clock that is wrong for a moment does not fire every timer."""
        from oddtide.domain.detection.absence_timers import ANCHOR_ARRIVAL, ANCHOR_TIME, NEVER

        anchor, arrived = (int(self._awake.counts[each]) for each in (ANCHOR_TIME, ANCHOR_ARRIVAL))
        if NEVER in (anchor, arrived):
            return None
        step = max(int(min(self.plan.contract.max_ahead_s, 1e9) * _SECOND), _LEAST_STEP)
        to = min(anchor + max(clock - max(arrived, quiet_since), 0), self._awake.now + step)
        return to if self._awake.is_due(to) or self._asleep.is_due(to) else None

    def doze(self, slots: IntArray, names: SeriesColumn) -> None:
        """The series of ``slots`` go to sleep; those whose deadline lies ahead are watched on."""
        rows = self._awake.rows(slots)
        waiting = np.flatnonzero(rows[:, _DEADLINE] > self._awake.now)
        if len(waiting):
            self._watch_asleep(names.take(waiting), rows[waiting])

    def wake(self, slots: IntArray, names: SeriesColumn) -> None:
        """These series are awake again, in ``slots``; what was watched of them is up to date."""
        if not len(self._sleepers):
            return
        places = self._sleepers.find(names)
        held = places >= 0
        if held.any():
            rows = self._asleep.rows(places[held])
            rows[:, _SEEN] = np.abs(rows[:, _SEEN])
            self._awake.insert(slots[held], {"absence": rows})
            self._release(places[held])

    def _watch_asleep(self, names: SeriesColumn, rows: IntArray) -> None:
        slots = self._sleepers.put(names)
        self._asleep.grow(self._sleepers.capacity)
        self._asleep.move(self._awake.now)
        self._asleep.insert(slots, {"absence": rows})

    def _release(self, slots: IntArray) -> None:
        if len(slots):
            self._asleep.forget(slots)
            self._sleepers.release(slots)

    @property
    def _policy(self) -> AbsencePolicy:
        policy = self.plan.absence
        if policy is None:
            raise UsageError("The plan does not look for absences.", remedy="Make this stage for one that does.")
        return policy

    def _expired(self, names: SeriesIndex, work: PlannedWork) -> list[_Passed]:
        """All whose deadline has passed by now, by deadline and name; those under planned work are put off."""
        self._asleep.move(self._awake.now)
        found = [*self._passed(self._awake, names, work), *self._passed(self._asleep, self._sleepers, work)]
        return sorted(found)

    def _passed(self, timers: Timers, names: SeriesIndex, work: PlannedWork) -> Iterator[_Passed]:
        slots = timers.expire()
        rows = timers.rows(slots)
        put_off = rows[:, _SEEN] < 0
        for slot, series, (since, deadline, *_) in zip(slots.tolist(), names.names(slots), rows.tolist(), strict=True):
            later = _put_off(series, deadline, deadline - since, work)
            if later != deadline:
                timers.postpone(slot, later, marked=timers is self._asleep)
            if later <= timers.now:
                yield _Passed(later, series, since)
        if timers is self._asleep:
            # What the store has of a series says as much. Not so where its deadline was put off: that is kept.
            put_off |= timers.rows(slots)[:, _SEEN] < 0
            self._release(slots[~put_off])

    def _mix(self, found: list[_Found]) -> None:
        if not found:
            return
        columns = [[each.what, each.deadline, each.since] for each in found]
        what, deadlines, since = np.array(columns, dtype=np.int64).T
        series = name_hashes(SeriesColumn.of([each.series for each in found])).view(np.int64)
        self.hash = advance_hash(self.hash, digest_rows([what, series, deadlines, since], [], 0))

    def _told(self, found: _Found, readings: Readings) -> Published:
        offset, time = int(readings.offsets[found.row]), int(readings.times[found.row])
        if found.what == _ABSENT:
            return self._absence(found, offset)
        absence, plan = self._id(found), self.plan
        event = SeriesReturned(
            id=derive_id("returned", absence),
            stream=plan.name,
            series=found.series,
            time=rfc3339(time),
            absence=absence,
            since=rfc3339(found.since),
            silent_s=max(time - found.since, 0) / _SECOND,
            topic=plan.topic,
            partition=self._partition,
            offset=offset,
            row=int(readings.rows[found.row]),
        )
        return Published("detections", found.series, event.id, event)

    def _absence(self, found: _Found, offset: int) -> Published:
        plan, allowed = self.plan, (found.deadline - found.since) / _SECOND
        event = AbsenceDetected(
            id=self._id(found),
            stream=plan.name,
            series=found.series,
            time=rfc3339(found.deadline),
            since=rfc3339(found.since),
            deadline=rfc3339(found.deadline),
            allowed_s=allowed,
            topic=plan.topic,
            partition=self._partition,
            offset=offset,
            reason=f"silent since {rfc3339(found.since)}, longer than {allowed:.6g} s",
        )
        return Published("detections", found.series, event.id, event)

    def _id(self, found: _Found) -> str:
        plan = self.plan
        return derive_id("absence", plan.name, plan.topic, self._partition, found.series, found.deadline)

    @property
    def bytes_per_slot(self) -> int:
        """The timers'."""
        return self._awake.bytes_per_slot

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``."""
        self._awake.grow(slots)

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen."""
        self._awake.forget(slots)

    def extract(self, slots: IntArray) -> SlotState:
        """Copies of the state of ``slots``."""
        return self._awake.extract(slots)

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the state of ``slots``, for which there is room. Raises ``StateMismatchError``."""
        self._awake.insert(slots, state)

    def save(self) -> SlotState:
        """What is of no awake series: the partition's time, the hash, and the timers of those that sleep."""
        slots = self._sleepers.used()
        names = self._sleepers.names(slots).packed()
        return {
            "clock": self._awake.counts[1:].copy(),
            "hash": np.array([self.hash], dtype=np.uint64),
            "names": names.data.copy(),
            "sizes": names.size.copy(),
            "absence": self._asleep.rows(slots),
        }

    def load(self, state: SlotState) -> None:
        """The inverse; before the awake series are inserted, or their timers would fire again. Raises
        ``StateMismatchError`` where something is missing."""
        missing = {"clock", "hash", "names", "sizes", "absence"} - state.keys()
        if missing:
            raise StateMismatchError(f"The saved state has no {', '.join(sorted(missing))}.", remedy="Start anew.")
        columns = {name: np.asarray(column) for name, column in state.items()}
        self._awake.counts[1:] = columns["clock"]
        self.hash = int(columns["hash"][0])
        sizes = columns["sizes"]
        names = SeriesColumn(columns["names"], np.cumsum(sizes) - sizes, sizes)
        self._watch_asleep(names, columns["absence"])


def _put_off(series: str, deadline: int, allowed: int, work: PlannedWork) -> int:
    """The deadline, put off as long as the series is under planned work when it comes."""
    while (end := work.until(series, deadline)) is not None:
        deadline = end + allowed
    return deadline
