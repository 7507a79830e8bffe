"""At most so many alerts a day, the strongest if possible, and nothing withheld in silence."""

from __future__ import annotations

from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.adapters.storage import SqlReadModels
from oddtide.domain.events import Event
from oddtide.domain.observability.alerts import AlertDecider
from oddtide.domain.observability.day_budget import DayBudget
from oddtide.domain.observability.events import AlertOpened, AlertResolved, AlertUpdated, AlertWithheld
from oddtide.domain.observability.policy import AlertKind, AlertPolicy, Cause
from oddtide.domain.readings import parse_rfc3339
from tests.read_model_events import NOW, Log

SECOND = 1_000_000_000
DAY = 86_400
MONDAY = parse_rfc3339("2026-03-02T00:00:00Z")
SOURCE = ("detections", 0)


def cause(number: int, at: float, p: float | None = 1e-7, *, series: str = "", kind: AlertKind = "anomaly") -> Cause:
    """A cause so many seconds after Monday began, by default of a series of its own."""
    moment = MONDAY + int(at * SECOND)
    return Cause(
        id=f"c{number}", kind=kind, stream="plant", series=series or f"s{number}", time=moment, arrived=moment,
        summary=f"cause {number}", topic="detections", partition=0, offset=number, p_value=p,
    )  # fmt: skip


def decider(per_day: int, zone: Any = UTC, quiet_s: float = 900.0) -> AlertDecider:
    return AlertDecider(AlertPolicy(quiet_s=quiet_s, day=DayBudget(per_day, zone)))


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def told(log: list[Event]) -> list[AlertOpened]:
    """The alerts that people are told of."""
    return [event for event in log if type(event) is AlertOpened and event.kind == "anomaly"]


def test_without_a_limit_everything_opens() -> None:
    subject = decider(0)
    assert all(names(subject.take(cause(n, n))) == ["AlertOpened"] for n in range(50))
    assert subject.digests({SOURCE: MONDAY + 10 * DAY * SECOND}) == []


def test_on_the_first_day_the_first_so_many_open_and_the_next_day_has_its_own() -> None:
    subject = decider(2)
    kinds = [
        names(subject.take(cause(n, at)))[0] for n, at in enumerate([0, 1, 2, 3, DAY - 1, 2 * DAY - 3, 2 * DAY - 2])
    ]
    assert kinds == ["AlertOpened"] * 2 + ["AlertWithheld"] * 3 + ["AlertOpened"] * 2


def test_other_kinds_are_told_whatever_the_budget_says() -> None:
    subject = decider(1)
    others: list[AlertKind] = ["health", "drift", "absence", "quality"]
    assert names(subject.take(cause(0, 0))) == ["AlertOpened"]
    for number, kind in enumerate(others, 1):
        assert names(subject.take(cause(number, number, None, kind=kind))) == ["AlertOpened"]


def a_week(subject: AlertDecider, strong_at: float) -> list[Event]:
    """Each day 20 weak episodes and 3 strong ones, the strong ones late; a random hour each."""
    random, log, number = np.random.default_rng(5), list[Event](), 0
    for day in range(8):
        weak = [(second, 1e-7) for second in random.uniform(0, DAY, 20)]
        strong = [(second, 1e-20) for second in random.uniform(strong_at, DAY, 3)]
        for second, p in sorted(weak + strong):
            log += subject.take(cause(number, day * DAY + second, p * random.uniform(0.1, 1.0)))
            number += 1
    return log


def test_the_strongest_win_over_the_first() -> None:
    log = a_week(decider(5), 0.5 * DAY)
    by_day: dict[str, list[float]] = {}
    for alert in told(log):
        by_day.setdefault(alert.last[:10], []).append(alert.p_value or 1.0)
    found = list(by_day.values())
    assert all(len(each) <= 5 for each in found)
    strong = [sum(p < 1e-12 for p in each) for each in found]
    assert strong[0] < 3  # nothing was known
    assert sum(strong[1:]) >= 17  # of 21
    assert sum(map(len, found[1:])) >= 30  # and what is left is used


def test_of_those_that_are_alike_a_part_opens_over_the_whole_day() -> None:
    subject, log = decider(6), list[Event]()
    for number in range(600):
        log += subject.take(cause(number, number * DAY / 100 + 1, 1e-9))
    later = [parse_rfc3339(alert.last) - MONDAY for alert in told(log)]
    hours = [moment / SECOND / 3600 % 24 for moment in later if moment >= DAY * SECOND]
    assert len(hours) == 30
    assert 8 <= sum(hour < 12 for hour in hours) <= 22


def test_an_episode_that_gets_strange_enough_opens_with_all_its_causes() -> None:
    subject = decider(1, quiet_s=1e6)
    subject.take(cause(0, 0, 1e-7))
    log = subject.take(cause(1, 10, 1e-7, series="pump"))
    log += subject.take(cause(2, 20, 1e-7, series="pump"))
    assert names(log) == ["AlertWithheld", "AlertWithheld"]
    (opened,) = subject.take(cause(3, DAY + 5, 1e-9, series="pump"))
    assert isinstance(opened, AlertOpened)
    assert (type(opened), opened.count, opened.alert) == (AlertOpened, 3, log[0].alert)  # type: ignore[attr-defined]  # an AlertWithheld
    assert names(subject.take(cause(4, DAY + 6, 1e-9))) == ["AlertWithheld"]  # that was the day's
    (update,) = subject.take(cause(5, DAY + 700, 1e-9, series="pump"))
    assert isinstance(update, AlertUpdated)


def test_one_digest_sums_up_a_day_once_all_of_it_is_known() -> None:
    subject = decider(1)
    for number, p in enumerate([1e-7, 1e-8, 1e-9]):
        subject.take(cause(number, number * 60, p))
    subject.take(cause(3, 200, 1e-8, series="s1"))
    early = {SOURCE: MONDAY + DAY * SECOND, ("detections", 1): MONDAY + (DAY - 1) * SECOND, ("health", 0): 0}
    assert subject.digests(early) == []
    over = {SOURCE: MONDAY + DAY * SECOND, ("detections", 1): MONDAY + (DAY + 1) * SECOND}
    (digest,) = subject.digests(over)
    assert isinstance(digest, AlertOpened)
    assert (digest.kind, digest.series, digest.count, digest.severity) == ("digest", "2026-03-02", 2, "warning")
    assert "2 alerts of 2026-03-02 were withheld, with 3 causes, beyond the 1 opened" in digest.summary
    assert digest.summary.index("s2") < digest.summary.index("s1")
    assert subject.digests(over) == [digest]  # until it is logged
    subject.apply(digest)
    assert subject.digests(over) == []
    subject.take(cause(4, 300))  # a late one
    (again,) = subject.digests(over)
    assert isinstance(again, AlertUpdated)
    assert (again.alert, again.count) == (digest.alert, 3)
    subject.apply(again)
    (ended, *_) = [event for event in subject.due({SOURCE: MONDAY + 2 * DAY * SECOND}) if event.alert == digest.alert]  # type: ignore[attr-defined]  # all are of alerts
    subject.apply(ended)
    subject.take(cause(5, 400))
    (another,) = subject.digests(over)
    assert isinstance(another, AlertOpened)
    assert not isinstance(another, AlertUpdated)
    assert (another.alert != digest.alert, another.count) == (True, 4)


def test_days_are_those_of_the_zone_also_with_23_hours() -> None:
    vienna = DayBudget(3, ZoneInfo("Europe/Vienna"))
    change = date(2026, 3, 29)
    assert vienna.day(parse_rfc3339("2026-03-28T23:30:00Z")) == change
    assert vienna.end(change) - vienna.end(change - timedelta(days=1)) == 23 * 3_600 * SECOND
    assert vienna.left(parse_rfc3339("2026-03-28T23:00:00Z")) == 1.0
    assert vienna.left(parse_rfc3339("2026-03-29T10:30:00Z")) == pytest.approx(0.5)


steps = st.tuples(
    st.integers(0, 4), st.sampled_from([0, 30, 4_000, 40_000, DAY]), st.sampled_from([None, 1e-3, 1e-7, 1e-7, 1e-12])
)


@given(st.lists(steps, max_size=40), st.integers(1, 3), st.integers(0, 40))
@settings(max_examples=60)
def test_the_budget_holds_and_is_a_fold_of_the_log(
    drawn: list[tuple[int, float, float | None]], per_day: int, crash: int
) -> None:
    subject, log, clock = decider(per_day), list[Event](), 0.0
    for number, (series, wait, p) in enumerate(drawn):
        if number == crash:  # another one goes on from the log, and reads everything again
            subject = decider(per_day)
            subject.apply_all(log)
            again = [
                subject.take(cause(n, at, q, series=f"s{s}")) for n, (at, s, q) in enumerate(_timed(drawn[:number]))
            ]
            log += [event for events in again for event in events]
        clock += wait
        log += subject.take(cause(number, clock, p, series=f"s{series}"))
        for decide in (subject.due, subject.digests):
            events = decide({SOURCE: MONDAY + int(clock * SECOND)})
            subject.apply_all(events)
            log += events
    rebuilt = decider(per_day)
    rebuilt.apply_all(log)
    assert rebuilt.state() == subject.state()
    opened = [alert.last[:10] for alert in told(log)]
    assert all(opened.count(day) <= per_day for day in opened)
    assert len({alert.alert for alert in told(log)}) == len(opened)
    for alert in {event.alert for event in log if isinstance(event, AlertOpened)}:
        counts = [event.count for event in log if isinstance(event, AlertOpened) and event.alert == alert]
        assert counts == sorted(set(counts))
    over = {SOURCE: MONDAY + int((clock + 9 * DAY) * SECOND)}
    subject.apply_all(subject.digests(over))
    assert subject.digests(over) == []


def _timed(drawn: list[tuple[int, float, float | None]]) -> list[tuple[float, int, float | None]]:
    clock, found = 0.0, []
    for series, wait, p in drawn:
        clock += wait
        found.append((clock, series, p))
    return found


def test_old_days_are_forgotten_once_they_are_told_of() -> None:
    subject = decider(1)
    for day in range(30):
        for number in range(2):
            subject.take(cause(2 * day + number, day * DAY + number, 0.0))
        subject.apply_all(subject.digests({SOURCE: MONDAY + (day + 1) * DAY * SECOND}))
        subject.settle({})
    days = subject._days._days
    assert min(days) == date(2026, 3, 31) - timedelta(days=8)
    assert max(days) == date(2026, 3, 31)


def test_read_models_show_what_was_withheld_and_tell_nobody(tmp_path: Path) -> None:
    subject, log = decider(1), list[Event]()
    for number in range(3):
        log += subject.take(cause(number, number))
    log += subject.due({SOURCE: MONDAY + 2 * DAY * SECOND})
    topic = Log()
    logged = [topic.append("oddtide.alerts", event, id=f"e{n}") for n, event in enumerate(log)]
    with SqlReadModels(f"sqlite:///{tmp_path}/read.db", clock=lambda: NOW, channels=["hook"]) as models:
        models.fold("observability", logged, {("oddtide.alerts", 0): len(logged)})
        assert models.notifications() == {"pending": 1}
        assert [row["series"] for row in models.alerts(states=("resolved",))] == ["s0"]
        assert sorted(row["series"] for row in models.alerts(states=("withheld",))) == ["s1", "s2"]
        row = models.alert(models.alerts(states=("withheld",))[0]["alert"])
        assert [step["type"] for step in row["history"]] == ["AlertWithheld", "AlertResolved"]
    assert [type(event) for event in log].count(AlertWithheld) == 2
    assert [type(event) for event in log].count(AlertResolved) == 3
