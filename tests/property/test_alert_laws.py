"""Laws of alert decisions: state is a fold of the log, and feeding causes again changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from oddtide.domain.events import Event
from oddtide.domain.observability.alerts import AlertDecider
from oddtide.domain.observability.events import AcknowledgeAlert, AlertOpened, AlertResolved, AlertUpdated, ResolveAlert
from oddtide.domain.observability.policy import AlertPolicy, Cause

SECOND = 1_000_000_000
POLICY = AlertPolicy(quiet_s=60, update_s=20)

Step: TypeAlias = Callable[[AlertDecider], list[Event]]


@st.composite
def histories(draw: st.DrawFn) -> list[Cause]:
    """Causes of a few series over two partitions, in the order in which an agent would read them."""
    clock, offsets, causes = 0, [0, 0], []
    for number in range(draw(st.integers(1, 40))):
        clock += draw(st.sampled_from([0, 1, 5, 25, 100]))
        partition = draw(st.integers(0, 1))
        offsets[partition] += draw(st.integers(1, 3))
        split = draw(st.booleans()) and draw(st.booleans())
        causes.append(
            Cause(
                id=f"c{number}", kind=draw(st.sampled_from(["anomaly", "drift"])), stream="plant",
                series=draw(st.sampled_from(["a", "b"])) + ("" if split else str(partition)),
                time=clock * SECOND - draw(st.sampled_from([0, 0, 30])) * SECOND, arrived=clock * SECOND,
                summary=f"cause {number}", topic="detections", partition=partition, offset=offsets[partition],
                p_value=draw(st.sampled_from([None, 1e-3, 1e-6, 1e-12])),
            )
        )  # fmt: skip
    return causes


def run(decider: AlertDecider, causes: list[Cause]) -> list[Event]:
    log: list[Event] = []
    for cause in causes:
        log += decider.take(cause)
    return log


def counts(log: list[Event]) -> dict[str, int]:
    return {event.alert: event.count for event in log if isinstance(event, AlertOpened)}


@given(histories())
def test_the_state_is_the_fold_of_the_logged_events(causes: list[Cause]) -> None:
    decider = AlertDecider(POLICY)
    log = run(decider, causes)
    rebuilt = AlertDecider(POLICY)
    rebuilt.apply_all(log)
    assert rebuilt.state() == decider.state()


@given(histories(), st.data())
def test_feeding_any_tail_again_decides_nothing(causes: list[Cause], data: st.DataObject) -> None:
    decider = AlertDecider(POLICY)
    run(decider, causes)
    before = decider.state()
    again = causes[data.draw(st.integers(0, len(causes))) :]
    assert run(decider, again) == []
    assert decider.state() == before


@given(histories(), st.data())
def test_a_crash_anywhere_loses_no_count_and_opens_no_second_alert(causes: list[Cause], data: st.DataObject) -> None:
    """The decider dies after some causes; another folds the log and reads on from where offsets were held back."""
    undisturbed = AlertDecider(POLICY)
    run(undisturbed, causes)
    crash = data.draw(st.integers(0, len(causes)))
    first = AlertDecider(POLICY)
    log = run(first, causes[:crash])
    resume = {partition: first.held_from("detections", partition) for partition in (0, 1)}
    second = AlertDecider(POLICY)
    second.apply_all(log)
    for number, cause in enumerate(causes):
        held = resume[cause.partition]
        if number >= crash or (held is not None and cause.offset >= held):
            log += second.take(cause)
    opened = [event.alert for event in log if isinstance(event, AlertOpened) and not isinstance(event, AlertUpdated)]
    assert len(set(opened)) == len(opened)
    for decider in (undisturbed, second):
        decider.apply_all(
            decider.due(dict.fromkeys([("detections", 0), ("detections", 1)], causes[-1].arrived + 25 * SECOND))
        )
    whole, broken = ({a.alert: a.count for a in d.open_alerts()} for d in (undisturbed, second))
    assert whole == broken


@given(histories(), st.lists(st.tuples(st.integers(0, 39), st.booleans()), max_size=5))
def test_each_alert_opens_once_resolves_at_most_once_and_counts_upwards(
    causes: list[Cause], asks: list[tuple[int, bool]]
) -> None:
    decider = AlertDecider(POLICY)
    log: list[Event] = []
    for number, cause in enumerate(causes):
        log += decider.take(cause)
        for place, resolve in asks:
            if place == number and decider.open_alerts():
                kind = ResolveAlert if resolve else AcknowledgeAlert
                alert = decider.open_alerts()[0].alert
                events = decider.command(kind(alert=alert, by="ann", time="2026-01-01T00:00:00Z"), f"q{len(log)}")
                decider.apply_all(events)
                log += events
    rebuilt = AlertDecider(POLICY)
    rebuilt.apply_all(log)
    assert rebuilt.state() == decider.state()
    state: dict[str, int] = {}
    for event in log:
        if isinstance(event, AlertUpdated):
            assert event.count > state[event.alert] > 0
            state[event.alert] = event.count
        elif isinstance(event, AlertOpened):
            assert event.alert not in state
            state[event.alert] = 1
        elif isinstance(event, AlertResolved):
            assert state[event.alert] > 0
            state[event.alert] = -1
