"""Absences: what is learnt of a series' rhythm, when time passes, alerts that end with the return, and what is said."""

from __future__ import annotations

import numpy as np
import pytest

from oddtide.config.cli.records import describe_line
from oddtide.config.stream_settings import StreamSettings
from oddtide.domain.detection.absence import AbsencePolicy, Timers
from oddtide.domain.detection.events import AbsenceDetected
from oddtide.domain.errors import ConfigurationError, UsageError
from oddtide.domain.observability.alerts import AlertDecider
from oddtide.domain.observability.controls import PlannedWindow
from oddtide.domain.observability.events import AlertOpened, AlertResolved
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.observability.policy import Cause
from oddtide.domain.readings import IntArray, rfc3339
from oddtide.streams.agents.causes import cause_of
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.envelope import Envelope
from oddtide.streams.pipeline.absences import AbsenceStage
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.planned_work import PlannedWork
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.ports import LoggedEvent
from oddtide.streams.replay.folding import Folded
from oddtide.streams.replay.reading import LedgerEntry
from oddtide.streams.replay.verifying import HashCheck, Verification
from tests.property.recovery_world import PLAN, T0, TOOLKIT, log_of

SECOND = 10**9
START = 1_700_000_000 * SECOND


def spoken(timers: Timers, policy: AbsencePolicy, seconds: list[float], slot: int = 0) -> tuple[IntArray, list[float]]:
    """The last deadline after a slot has spoken at these moments, and when a deadline passed (both in seconds)."""
    timers.grow(slot + 1)
    times = START + (np.array(seconds) * SECOND).astype(np.int64)
    slots, was, since = np.full(len(times), slot), np.zeros(len(times), np.int64), np.zeros(len(times), np.int64)
    row, passed = 0, []
    while (row := timers.take(policy, slots, times, times, row, 2**63 - 1, was, since)) < len(times):
        passed += [float(seconds[row])] * len(timers.expire())
    return timers.rows(np.array([slot]))[0], passed


@pytest.mark.kernels
def test_what_is_usual_is_learnt_per_series() -> None:
    policy, timers = AbsencePolicy(least_s=1.0), Timers()
    young, passed = spoken(timers, policy, [10.0 * i for i in range(16)])
    assert (young[1], passed) == (0, [])  # too young to be missed
    row, passed = spoken(timers, policy, [160.0, 170.0])
    assert ((row[1] - START) / SECOND, passed) == (200.0, [])
    row, passed = spoken(timers, policy, [1_000.0])  # an outage: found, and not the new usual
    assert passed == [1_000.0]
    assert (row[1] - START) / SECOND == 1_000 + 3 * 20
    row, _ = spoken(timers, policy, [1_000.0 + 5 * i for i in range(1, 800)])
    assert 4_995 + 15 <= (row[1] - START) / SECOND <= 4_995 + 18  # it fades
    other, _ = spoken(timers, policy, [5_000.0 + 0.01 * i for i in range(20)], slot=1)
    assert (other[1] - START) / SECOND == pytest.approx(5_000.19 + 1.0)  # no sooner than least_s


@pytest.mark.kernels
def test_what_others_send_in_between_is_part_of_the_usual_silence() -> None:
    policy, timers = AbsencePolicy(least_s=1.0), Timers()
    for upload in range(20):  # one series after the other, ten minutes of each
        for slot in (0, 1):
            times = [600.0 * upload + 60.0 * i for i in range(10)]
            _, passed = spoken(timers, policy, times, slot=slot)
            assert passed == []


@pytest.mark.kernels
def test_time_goes_on_from_the_newest_reading_as_the_clock_does() -> None:
    plan = StreamPlan("s", "t", absence=AbsencePolicy(7_200.0))
    stage = AbsenceStage(plan, 0)
    assert stage.overdue(START, 0) is None  # nothing was ever seen
    stage.grow(1)
    times, arrivals = np.array([START]), np.array([START + 5 * SECOND])
    was, since = np.zeros(1, np.int64), np.zeros(1, np.int64)
    policy = AbsencePolicy(7_200.0)
    stage._awake.take(policy, np.array([0]), times, arrivals, 0, 2**63 - 1, was, since)
    noon = START + 5 * SECOND
    assert stage.overdue(noon + 7_199 * SECOND, 0) is None
    assert stage.overdue(noon + 99_999 * SECOND, 0) is None  # an hour at once at most: the clock may be wrong
    stage._awake.move(START + 3_601 * SECOND)
    assert stage.overdue(noon + 7_200 * SECOND, 0) == START + 7_200 * SECOND
    assert stage.overdue(noon + 99_999 * SECOND, 0) == START + 7_201 * SECOND
    assert stage.overdue(noon + 99_999 * SECOND, noon + 99_998 * SECOND) is None  # until a second ago it was read
    with pytest.raises(UsageError, match="look for absences"):
        AbsenceStage(StreamPlan("s", "t"), 0)._policy  # noqa: B018 - it is the looking that raises


def test_planned_work_until_when() -> None:
    window = PlannedWindow(id="w", from_time=rfc3339(START), to_time=rfc3339(START + SECOND), series=("pump-*",))
    longer = PlannedWindow(id="x", from_time=rfc3339(START), to_time=rfc3339(START + 2 * SECOND))
    assert PlannedWork((window,)).until("pump-3", START) == START + SECOND
    assert PlannedWork((window,)).until("fan", START) is None
    assert PlannedWork((window,)).until("pump-3", START + SECOND) is None
    assert PlannedWork((window, longer)).until("pump-3", START) == START + 2 * SECOND


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        (None, None),
        ("auto", AbsencePolicy()),
        (600, AbsencePolicy(600.0)),
        ({"factor": 5}, AbsencePolicy(None, 5.0)),
        ({"after_s": 30, "least_s": 9}, AbsencePolicy(30.0, 3.0, 9.0)),
    ],
)
def test_settings(written: object, policy: AbsencePolicy | None) -> None:
    plan = StreamSettings.model_validate({"absence": written}).plan("p")
    assert plan.absence == policy
    assert ("absence" in plan.content()) == (policy is not None)


def test_what_no_policy_can_be_is_refused() -> None:
    for bad in ({"after_s": 0.0}, {"factor": 0.5}, {"least_s": 0.0}):
        with pytest.raises(ConfigurationError):
            AbsencePolicy(**bad)


def absence(series: str, offset: int, second: int) -> Cause:
    when = rfc3339(START + second * SECOND)
    event = AbsenceDetected(
        id=f"{series}-{second}", stream="s", series=series, time=when, since=when, deadline=when, allowed_s=9.0,
        reason="silent",
    )  # fmt: skip
    found = cause_of(LoggedEvent("d", 0, offset, (START + second * SECOND) // 10**6, "", Envelope("", "", ""), event))
    assert found is not None
    return found


def test_an_alert_of_an_absence_ends_when_the_series_speaks_again_and_not_before() -> None:
    decider = AlertDecider()
    (alert,) = decider.take(absence("a", 3, 0))
    assert isinstance(alert, AlertOpened)
    assert (alert.kind, alert.severity, alert.summary) == ("absence", "warning", "silent")
    assert decider.due({("d", 0): START + 10**6 * SECOND}) == []  # quiet is no end of it
    assert decider.returned("s", "a", "another", "2026-01-01T00:00:00Z", "r0") == []
    assert decider.returned("s", "b", "b-0", "2026-01-01T00:00:00Z", "r0") == []
    (end,) = decider.returned("s", "a", "a-0", "2026-01-01T00:00:00Z", "r1")
    assert isinstance(end, AlertResolved)
    assert (end.alert, end.how, end.causation) == (alert.alert, "returned", "r1")
    decider.apply(end)
    assert decider.take(absence("a", 3, 0)) == []  # read once more after a crash
    (second,) = decider.take(absence("a", 9, 500))
    assert decider.returned("s", "a", "a-0", "2026-01-01T00:00:00Z", "r1") == []  # the first one's return, once more
    assert [each.alert for each in decider.open_alerts()] == [second.alert]  # type: ignore[attr-defined]  # an AlertOpened


def test_what_people_see() -> None:
    head = {"partition": 1, "offset": 2, "time": "T", "key": None, "series": "a"}
    line = describe_line({**head, "type": "oddtide.AbsenceDetected", "reason": "silent since noon"})
    assert line == "1:2  T  AbsenceDetected  a  ABSENT: silent since noon"
    line = describe_line({**head, "type": "oddtide.SeriesReturned", "silent_s": 90.0})
    assert line == "1:2  T  SeriesReturned  a  is back after 90 s"
    batch = BatchCompleted(
        stream="s", topic="t", partition=0, from_offset=1, to_offset=1, records=0, holes=0, readings=0, scored=0
    )
    control = {"kind": "time_advanced", "time": "T9"}
    row = {**head, "type": "oddtide.BatchCompleted", "from": 1, "to": 1, "controls": [control]}
    row |= {name: getattr(batch, name) for name in ("readings", "scored", "rejected", "skipped", "detections")}
    assert describe_line(row).endswith("in force from here: time_advanced to T9")


@pytest.mark.parametrize(("tampered", "mark"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_ledger_with_other_absences_is_different(tampered: bool, mark: bool) -> None:
    from dataclasses import replace

    import msgspec

    plan = replace(PLAN, absence=AbsencePolicy(0.005))
    subject = PartitionProcessor(plan, TOOLKIT, application="app", partition=0)
    block = RecordBlock.of([record for record in log_of(60) if not 20 <= record.offset < 40])
    outcome = subject.fold(block)
    assert outcome.completed.absences > 0
    check = HashCheck("b", Verification(stream="s", topic="t", partition=0))
    change = {"build": "b", **({"silence": "0" * 16} if tampered else {})}
    entry = LedgerEntry(msgspec.structs.replace(outcome.completed, **change), T0)
    if mark:
        check.close(LedgerEntry(msgspec.structs.replace(subject.mark().completed, **change), T0), subject.silence)
    else:
        check.expect(entry)
        check.take(Folded(block, 0, outcome))
    assert (check.difference is not None) == tampered
    if check.difference is not None:
        assert check.result.status == "different"
        assert check.difference.detail.startswith("absences: hash 0000000000000000 in the ledger, ")
