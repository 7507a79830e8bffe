"""Alert decisions: what opens, updates, resolves an alert, and what is refused."""

from __future__ import annotations

import pytest

from oddtide.domain.events import Event
from oddtide.domain.observability.alerts import AlertDecider
from oddtide.domain.observability.events import (
    AcknowledgeAlert,
    AlertAcknowledged,
    AlertOpened,
    AlertResolved,
    AlertUpdated,
    CommandRefused,
    ResolveAlert,
)
from oddtide.domain.observability.policy import AlertKind, AlertPolicy, Cause, worse
from oddtide.domain.readings import rfc3339

SECOND = 1_000_000_000
NOON = 1_700_000_000 * SECOND


def cause(
    offset: int = 0, *, at: float | None = None, series: str = "pump-1", kind: AlertKind = "anomaly",
    p: float | None = 1e-6, partition: int = 0, stream: str = "plant", id: str = "", arrived: float | None = None,
) -> Cause:  # fmt: skip
    seconds = float(offset) if at is None else at
    return Cause(
        id=id or f"c{partition}-{offset}", kind=kind, stream=stream, series=series, time=NOON + int(seconds * SECOND),
        arrived=NOON + int((seconds if arrived is None else arrived) * SECOND), summary=f"strange at {offset}",
        topic="oddtide.detections", partition=partition, offset=offset, p_value=p,
    )  # fmt: skip


def at(seconds: int) -> dict[tuple[str, int], int]:
    return {("oddtide.detections", 0): NOON + seconds * SECOND}


def opened(decider: AlertDecider, first: Cause) -> AlertOpened:
    (event,) = decider.take(first)
    assert isinstance(event, AlertOpened)
    return event


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_the_first_cause_opens_one_alert() -> None:
    decider = AlertDecider()
    alert = opened(decider, cause(3))
    assert (alert.kind, alert.stream, alert.series, alert.count) == ("anomaly", "plant", "pump-1", 1)
    assert (alert.opened, alert.last, alert.arrived) == (rfc3339(NOON + 3 * SECOND),) * 3
    assert (alert.source_topic, alert.source_partition, alert.source_offset) == ("oddtide.detections", 0, 3)
    assert alert.first_cause == alert.last_cause == "c0-3"
    assert decider.open_alerts() == [alert]
    assert decider.alert(alert.alert) == alert


def test_updates_come_at_2_5_10_20_50() -> None:
    decider = AlertDecider(AlertPolicy(update_s=1e6))
    counts = []
    for offset in range(120):
        counts += [event.count for event in decider.take(cause(offset)) if isinstance(event, AlertOpened)]
    assert counts == [1, 2, 5, 10, 20, 50, 100]
    (latest,) = decider.open_alerts()
    assert latest.count == 100
    live = decider.alert(latest.alert)
    assert live is not None
    assert live.count == 120


def test_an_update_is_logged_after_a_while_whatever_the_count() -> None:
    decider = AlertDecider(AlertPolicy(update_s=30))
    decider.take(cause(0))
    decider.take(cause(1))
    assert decider.take(cause(2, at=30)) == []
    (update,) = decider.take(cause(3, at=31))
    assert isinstance(update, AlertUpdated)
    assert update.count == 4


def test_counts_not_logged_are_due_after_a_while_and_hold_back_their_offsets() -> None:
    decider = AlertDecider(AlertPolicy(update_s=30))
    for offset in range(4):
        decider.take(cause(offset, at=0))
    assert decider.held_from("oddtide.detections", 0) == 2
    assert decider.held_from("oddtide.detections", 1) is None
    assert decider.due({}) == []
    assert decider.due({("oddtide.detections", 1): NOON + 10_000 * SECOND}) == []
    assert decider.due(at(29)) == []
    events = decider.due(at(30))
    assert decider.held_back() == events
    assert [event.count for event in events if isinstance(event, AlertUpdated)] == [4]
    decider.apply_all(events)
    assert decider.held_from("oddtide.detections", 0) is None
    assert decider.due(at(60)) == []


def test_severity_follows_the_p_value_and_only_rises() -> None:
    decider = AlertDecider()
    assert opened(decider, cause(0, p=1e-3)).severity == "info"
    decider.take(cause(1, p=1e-3))
    (up,) = decider.take(cause(2, p=1e-5))
    assert isinstance(up, AlertUpdated)
    assert (up.severity, up.p_value) == ("warning", 1e-5)
    (top,) = decider.take(cause(3, p=1e-12))
    assert isinstance(top, AlertUpdated)
    assert top.severity == "critical"
    (fifth,) = decider.take(cause(4, p=0.5))
    assert isinstance(fifth, AlertUpdated)
    assert (fifth.severity, fifth.p_value) == ("critical", 1e-12)


def test_a_cause_without_p_value_is_a_warning_unless_it_says_otherwise() -> None:
    policy = AlertPolicy()
    assert policy.severity(cause(p=None)) == "warning"
    health = Cause("x", "health", "", "w", NOON, NOON, "gone", "oddtide.health", 0, 0, "critical")
    assert policy.severity(health) == "critical"
    assert worse("info", "critical") == worse("critical", "info") == "critical"


def test_quiet_resolves_and_the_next_cause_opens_another() -> None:
    decider = AlertDecider(AlertPolicy(quiet_s=60))
    first = opened(decider, cause(0))
    for offset in range(1, 4):
        decider.take(cause(offset))
    assert decider.due(at(20)) == []
    events = decider.due(at(63))
    assert names(events) == ["AlertUpdated", "AlertResolved"]
    resolved = events[-1]
    assert isinstance(resolved, AlertResolved)
    assert (resolved.alert, resolved.how, resolved.time) == (first.alert, "quiet", rfc3339(NOON + 63 * SECOND))
    decider.apply_all(events)
    assert decider.open_alerts() == []
    assert decider.due(at(10_000)) == []
    second = opened(decider, cause(9, at=70))
    assert second.alert != first.alert


def test_history_read_at_speed_splits_into_the_episodes_it_had() -> None:
    decider = AlertDecider(AlertPolicy(quiet_s=900))
    first = opened(decider, cause(0, at=0, arrived=0))
    decider.take(cause(1, at=10, arrived=0.1))
    decider.take(cause(2, at=20, arrived=0.2))
    events = decider.take(cause(3, at=3600, arrived=0.3))
    assert names(events) == ["AlertUpdated", "AlertResolved", "AlertOpened"]
    resolved, second = events[1], events[2]
    assert isinstance(resolved, AlertResolved)
    assert isinstance(second, AlertOpened)
    assert (resolved.alert, resolved.time) == (first.alert, rfc3339(NOON + 920 * SECOND))
    assert decider.open_alerts() == [second]


def test_a_cause_older_than_the_newest_counts_and_moves_nothing_back() -> None:
    decider = AlertDecider()
    opened(decider, cause(0, at=100))
    (update,) = decider.take(cause(1, at=50))
    assert isinstance(update, AlertUpdated)
    assert update.last == rfc3339(NOON + 100 * SECOND)


def test_kinds_series_and_streams_have_their_own_alerts() -> None:
    decider = AlertDecider()
    causes = [
        cause(0), cause(1, series="pump-2"), cause(2, kind="drift"), cause(3, stream="office"),
    ]  # fmt: skip
    alerts = {opened(decider, one).alert for one in causes}
    assert len(alerts) == 4


def test_a_policy_by_stream_decides_what_opens_alerts() -> None:
    quiet = AlertPolicy(kinds=frozenset({"health"}))
    decider = AlertDecider(AlertPolicy(streams={"office": quiet}))
    assert decider.take(cause(0, stream="office")) == []
    assert decider.take(cause(0, stream="plant")) != []


def test_the_same_fact_logged_twice_counts_once() -> None:
    decider = AlertDecider()
    opened(decider, cause(0, id="lost"))
    assert decider.take(cause(1, id="lost")) == []
    assert decider.held_from("oddtide.detections", 0) is None


def test_a_fact_of_a_resolved_alert_does_not_open_it_again() -> None:
    decider = AlertDecider()
    alert = opened(decider, cause(0, id="lost"))
    decider.apply(AlertResolved(alert=alert.alert, how="quiet", time=alert.last))
    assert decider.take(cause(5, id="lost")) == []


def test_acknowledging_keeps_counting() -> None:
    decider = AlertDecider()
    alert = opened(decider, cause(0))
    ask = AcknowledgeAlert(alert=alert.alert, by="ann", time="2026-01-01T00:00:00Z", note="on it")
    (seen,) = decider.command(ask, "cmd-1")
    assert seen == AlertAcknowledged(
        alert=alert.alert, by="ann", time=ask.time, note="on it", causation="cmd-1"
    )  # fmt: skip
    decider.apply(seen)
    assert decider.is_acknowledged(alert.alert)
    assert decider.command(ask, "cmd-1") == []
    (update,) = decider.take(cause(1))
    assert isinstance(update, AlertUpdated)
    assert update.count == 2
    decider.apply_all(decider.due(at(10_000)))
    assert not decider.is_acknowledged(alert.alert)


def test_a_person_resolves_with_the_count_up_to_date() -> None:
    decider = AlertDecider()
    alert = opened(decider, cause(0))
    decider.take(cause(1))
    decider.take(cause(2))
    ask = ResolveAlert(alert=alert.alert, by="ann", time="2026-01-01T00:00:00Z")
    events = decider.command(ask, "cmd-1")
    assert names(events) == ["AlertUpdated", "AlertResolved"]
    decider.apply_all(events)
    assert decider.open_alerts() == []
    assert decider.command(ask, "cmd-1") == []
    (again,) = decider.command(ask, "cmd-2")
    assert isinstance(again, CommandRefused)
    assert again.reason == f"alert '{alert.alert}' is resolved already (by person)"
    assert again.causation == "cmd-2"
    decider.apply(again)
    assert decider.command(ask, "cmd-2") == []
    assert opened(decider, cause(3)).alert != alert.alert


def test_an_unknown_alert_is_refused_with_a_remedy() -> None:
    decider = AlertDecider()
    (refused,) = decider.command(AcknowledgeAlert(alert="nope", by="ann", time="2026-01-01T00:00:00Z"), "cmd-1")
    assert isinstance(refused, CommandRefused)
    assert refused.command == "AcknowledgeAlert"
    assert "does not exist" in refused.reason
    assert "oddtide alerts list" in refused.reason


def test_a_series_split_over_partitions_is_counted_exactly() -> None:
    decider = AlertDecider(AlertPolicy(update_s=1e6))
    decider.take(cause(5))
    decider.take(cause(6))
    assert decider.take(cause(7)) == []
    events = decider.take(cause(2, partition=1, at=8))
    assert [event.count for event in events if isinstance(event, AlertUpdated)] == [3, 4]
    assert decider.take(cause(7)) == []
    assert decider.take(cause(2, partition=1, at=8)) == []
    assert decider.open_alerts()[0].count == 4


def test_settling_forgets_what_only_served_to_recognise_repeats() -> None:
    decider = AlertDecider()
    alert = opened(decider, cause(5))
    decider.settle({("oddtide.detections", 0): 100})
    assert decider.take(cause(5)) == []
    decider.apply(AlertResolved(alert=alert.alert, how="quiet", time=alert.last))
    decider.settle({("oddtide.detections", 0): 5})
    assert decider.take(cause(4, id="other")) == []
    decider.settle({("oddtide.detections", 0): 6})
    assert names(decider.take(cause(4, id="other"))) == ["AlertOpened"]


def test_folding_the_same_events_twice_changes_nothing() -> None:
    decider = AlertDecider()
    alert = opened(decider, cause(0))
    resolved = AlertResolved(alert=alert.alert, how="quiet", time=alert.last)
    decider.apply(resolved)
    before = decider.state()
    decider.apply_all([alert, resolved])
    assert decider.state() == before


@pytest.mark.parametrize("event", [AlertAcknowledged(alert="x", by="a", time="t"), Event()])
def test_events_about_nothing_known_change_nothing(event: Event) -> None:
    decider = AlertDecider()
    before = decider.state()
    decider.apply(event)
    assert decider.state() == before


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oddtide.domain.observability.alerts._REMEMBERED", 2)
    decider = AlertDecider()
    for number in range(5):
        decider.apply(AlertResolved(alert=f"a{number}", how="quiet", time="2026-01-01T00:00:00Z"))
    (refused,) = decider.command(ResolveAlert(alert="a0", by="x", time="2026-01-01T00:00:00Z"), "c")
    assert isinstance(refused, CommandRefused)
    assert "does not exist" in refused.reason


def test_counts_not_logged_can_be_carried_over_into_a_fold_of_the_log() -> None:
    decider = AlertDecider()
    log = [event for offset in range(4) for event in decider.take(cause(offset))]
    log += decider.take(cause(0, series="pump-2"))
    rebuilt = AlertDecider()
    rebuilt.apply_all(log)
    rebuilt.carry_over(decider.pending())
    assert rebuilt.pending() == decider.pending() != {}
    (update,) = rebuilt.take(cause(4))
    assert isinstance(update, AlertUpdated)
    assert update.count == 5
    rebuilt.carry_over(decider.pending())
    assert rebuilt.pending() == {}
