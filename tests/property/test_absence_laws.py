"""The laws of absence: what is said of silent series is what plain bookkeeping says, however the log is cut, whoever
sleeps, and wherever somebody goes on from a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oddtide.adapters.memory import MemorySleepStores
from oddtide.domain.detection.absence import AbsencePolicy
from oddtide.domain.detection.events import AbsenceDetected, SeriesReturned
from oddtide.domain.observability.controls import ControlApplied, PlannedWindow
from oddtide.domain.readings import rfc3339
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.sleeping import NAME_BYTES, MemoryBudget, Sleeping
from oddtide.streams.pipeline.snapshot import decode_snapshot, encode_snapshot, restore, take
from oddtide.streams.scratch import Scratch
from tests.property.test_processor_laws import PLANS, TOOLKIT, cuts

T0 = 1_700_000_000_000  # ms
AFTER = 10
FIXED = replace(PLANS["light"], profile_every=0, absence=AbsencePolicy(AFTER / 1_000))
AUTO = replace(FIXED, absence=AbsencePolicy(least_s=0.003))
NAMES = ["a", "b", "pump-3", "pump-4", "é"]
#: A step of the log: a reading of a series so many ms before or after the newest time, or nothing for a while.
STEPS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(-15, 12), st.integers(-2, 3))
    | st.tuples(st.just(""), st.integers(0, 40), st.just(0)),
    max_size=60,
)


def log_of(steps: Sequence[tuple[str, int, int]]) -> list[Record | ControlApplied]:
    """``ahead`` is how far the record's timestamp lies behind the reading's time (a clock that is wrong)."""
    newest, log, offset = T0, list[Record | ControlApplied](), 0
    for name, step, ahead in steps:
        if not name:
            newest += step
            log.append(ControlApplied(kind="time_advanced", offset=offset, time=rfc3339(newest * 10**6)))
            continue
        at = newest + step
        body = orjson.dumps({"series": name, "time": at, "value": 1.0 + offset % 3})
        log.append(Record(offset, at - ahead, None, body))
        newest, offset = max(newest, min(at, at - ahead)), offset + 1
    return log


def processor(plan: StreamPlan, awake: int = 0) -> PartitionProcessor:
    """One that keeps every series in memory, or ``awake`` of them."""
    sleeping = None
    if awake:
        cost = PartitionProcessor(plan, TOOLKIT, application="app", partition=1).bytes_per_slot + NAME_BYTES
        # The timers of those that sleep are taken off the budget: leave room for them.
        sleeping = Sleeping(MemorySleepStores(), MemoryBudget(awake * cost + len(NAMES) * 200))
    return PartitionProcessor(plan, TOOLKIT, application="app", partition=1, sleeping=sleeping)


def pieces(log: Sequence[Record | ControlApplied], draw: Any) -> list[list[Record] | ControlApplied]:
    """The log cut anywhere, and at every control."""
    found: list[list[Record] | ControlApplied] = []
    run: list[Record] = []
    for each in [*log, None]:
        if isinstance(each, Record):
            run.append(each)
            continue
        found += [cut for cut in (cuts(draw, run) if draw else [run]) if cut]
        run = []
        if each is not None:
            found.append(each)
    return found


def step(subject: PartitionProcessor, piece: list[Record] | ControlApplied) -> Outcome:
    if isinstance(piece, ControlApplied):
        subject.apply(piece)
        return subject.mark()
    return subject.fold(piece)


def said(outcomes: Sequence[Outcome]) -> list[Any]:
    events = [each.event for outcome in outcomes for each in outcome.events if each.role == "detections"]
    return [event for event in events if isinstance(event, AbsenceDetected | SeriesReturned)]


def told(events: Sequence[Any]) -> list[tuple[str, str, str]]:
    """Absences by series and deadline, returns by series and the absence that they end."""
    ids = {event.id: event.deadline for event in events if isinstance(event, AbsenceDetected)}
    return [
        ("absent", event.series, event.deadline)
        if isinstance(event, AbsenceDetected)
        else ("back", event.series, ids[event.absence])
        for event in events
    ]


def bookkeeping(log: Sequence[Record | ControlApplied], after: int) -> list[tuple[str, str, str]]:
    """The same in plain words, with every series looked at after every reading."""
    now, since, deadline, absent = -(2**62), dict[str, int](), dict[str, int](), set[str]()
    found = []
    for each in log:
        reading = None
        if isinstance(each, Record):
            reading = orjson.loads(each.value or b"")
            time = min(reading["time"], each.timestamp)
        else:
            from oddtide.domain.readings import parse_rfc3339

            time = parse_rfc3339(each.time) // 10**6
        now = max(now, time)
        for until, name in sorted((until, name) for name, until in deadline.items()):
            if until <= now and name not in absent:
                absent.add(name)
                found.append(("absent", name, rfc3339(until * 10**6)))
        if reading is not None:
            name = reading["series"]
            since[name] = max(since.get(name, time), time)
            if since[name] + after > now:
                if name in absent:
                    absent.discard(name)
                    found.append(("back", name, rfc3339(deadline[name] * 10**6)))
                deadline[name] = since[name] + after
    return found


@given(STEPS, st.data())
@settings(max_examples=40, deadline=None)
def test_absences_are_those_of_plain_bookkeeping_however_the_log_is_cut(steps: Any, data: st.DataObject) -> None:
    log, subject = log_of(steps), processor(FIXED)
    outcomes = [step(subject, piece) for piece in pieces(log, data.draw)]
    expected = bookkeeping(log, AFTER)
    events = said(outcomes)
    assert sorted(told(events)) == sorted(expected)
    assert len({event.id for event in events}) == len(events)
    assert sum(outcome.completed.absences for outcome in outcomes) == sum(what == "absent" for what, *_ in expected)
    whole = processor(FIXED)
    assert [event.id for event in said([step(whole, piece) for piece in pieces(log, None)])] == [e.id for e in events]
    assert whole.silence == subject.silence


def handed_over(subject: PartitionProcessor, other: PartitionProcessor, folder: Path) -> PartitionProcessor:
    """``other`` goes on from a snapshot of ``subject``, as another process would."""
    scratch = Scratch(folder)
    snapshot = take(subject, build="b", scratch=scratch)
    raw = b"".join(bytes(chunk) for chunk in encode_snapshot(snapshot))
    subject.close()
    read = decode_snapshot(raw)
    asleep = None
    if snapshot.folder is not None:
        from oddtide.streams.pipeline.snapshot import Part

        parts = [Part(name=file.name, reference="", digest="", size=0) for file in snapshot.files]
        read, asleep = read.with_parts(parts), snapshot.folder / "asleep"
    other.resume(read.about.in_force, {})
    restore(read, other, asleep)
    if snapshot.folder is not None:
        scratch.drop(snapshot.folder)
    return other


@pytest.mark.parametrize("plan", [FIXED, AUTO], ids=["fixed", "auto"])
@given(steps=STEPS, data=st.data(), awake=st.integers(1, 3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sleep_snapshots_and_planned_work_alter_none(
    plan: StreamPlan, steps: Any, data: st.DataObject, awake: int, tmp_path: Path
) -> None:
    log = log_of([*steps, *[(NAMES[i % 2], 1, 0) for i in range(40)], ("", 30, 0), ("pump-3", 0, 0)])
    work = PlannedWindow(
        id="w", from_time=rfc3339((T0 + 20) * 10**6), to_time=rfc3339((T0 + 45) * 10**6), series=("pump-*",), reason=""
    )
    subject, other = processor(plan), processor(plan, awake)
    for each in (subject, other):
        each.apply(ControlApplied(kind="planned_work", offset=0, work=work))
    for piece in pieces(log, data.draw):
        expected = step(subject, piece)
        if data.draw(st.integers(0, 4)) == 0:
            other = handed_over(other, processor(plan, awake), tmp_path)
        outcome = step(other, piece)
        assert [event.id for event in said([outcome])] == [event.id for event in said([expected])]
        assert (other.silence, other.hash, other.series) == (subject.silence, subject.hash, subject.series)
    other.close()


def test_the_same_time_twice_and_a_time_that_lies_behind_say_nothing_more() -> None:
    subject = processor(FIXED)
    log = log_of([("a", 0, 0), ("b", 5, 0)])
    subject.fold([each for each in log if isinstance(each, Record)])
    late = ControlApplied(kind="time_advanced", offset=2, time=rfc3339((T0 + 12) * 10**6))
    subject.apply(late)
    first = said([subject.mark()])
    assert told(first) == [("absent", "a", rfc3339((T0 + 10) * 10**6))]
    assert (first[0].since, first[0].allowed_s, first[0].offset) == (rfc3339(T0 * 10**6), 0.01, 2)
    assert subject.in_force.after(late) is subject.in_force
    before = subject.silence
    for again in (late, ControlApplied(kind="time_advanced", offset=2, time=rfc3339(T0 * 10**6))):
        subject.apply(again)
        assert said([subject.mark()]) == []
    assert subject.silence == before
