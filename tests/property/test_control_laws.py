"""The laws of controls: one that took effect at an offset does so again there, however the log is cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.domain.detection.ports import DetectorSpec, Rows, Scores
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.errors import ConfigurationError, StateMismatchError
from oddtide.domain.events import Message
from oddtide.domain.observability.controls import (
    ControlApplied,
    ControlsInForce,
    PlannedWindow,
    PlannedWorkCancelled,
    PlannedWorkDeclared,
)
from oddtide.domain.observability.events import FeedbackGiven, FeedbackWithdrawn
from oddtide.domain.readings import rfc3339
from oddtide.domain.slots import SlotState
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.controls import Controls, ControlSource, Place, publication
from oddtide.streams.envelope import Envelope
from oddtide.streams.pipeline.frames import encode_frames, expand_frame
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.planned_work import advance
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.ports import LoggedEvent
from tests.property.test_processor_laws import PLANS, T0, TOOLKIT, cuts, logs, said

PLACE = Place("s", "t", 1)
DEEP = PLANS["deep"]
VERSIONS = (
    DEEP,
    replace(DEEP, threshold=replace(DEEP.threshold, p_value=0.5), profile_every=3),
    replace(DEEP, detectors=(DEEP.detectors[0],)),
    replace(DEEP, detectors=(DetectorSpec("ewma", {"warm_up": 2}), DEEP.detectors[1])),
    replace(DEEP, contract=replace(DEEP.contract, order="accept", features=DEEP.contract.features[::-1])),
    replace(DEEP, detectors=(DEEP.detectors[0],), profile="light"),
    replace(DEEP, drift=replace(DEEP.drift, delta=0.2)),
)


class NoArtifacts:
    def put(self, name: str, content: bytes) -> tuple[str, str]:
        raise AssertionError("nothing is stored here")

    def get(self, reference: str, digest: str) -> bytes:
        raise AssertionError("no model is in force here")


def published(plan: StreamPlan) -> Message:
    return publication(plan, 1, by="ann", time="", settings={})


def accepted(id: str, series: str) -> Message:
    return FeedbackGiven(id=id, verdict=f"app/s/t/1/0/0@{id}", label="accepted", by="ann", time="", series=series)


def declared(id: str, begin: int, end: int, series: tuple[str, ...]) -> Message:
    times = [rfc3339((T0 + at) * 10**6) for at in (begin, end)]
    window = PlannedWindow(id=id, from_time=times[0], to_time=times[1], series=series)
    return PlannedWorkDeclared(stream="s", window=window, by="ann", time="")


IDS = st.sampled_from("123")
EVENTS = st.one_of(
    st.sampled_from(VERSIONS).map(published),
    st.builds(accepted, IDS, st.sampled_from(["x", "y", "nobody"])),
    st.builds(lambda id: FeedbackWithdrawn(feedback=id, by="ann", time=""), IDS),
    st.builds(declared, IDS, st.integers(0, 30), st.integers(5, 41), st.sampled_from([(), ("x",), ("[yz]", "q*")])),
    st.builds(lambda id: PlannedWorkCancelled(work=id, stream="s", by="ann", time=""), IDS),
)


def heard(controls: Controls, *events: Message) -> None:
    for event in events:
        controls.fold(LoggedEvent("", 0, 0, 0, "", Envelope("", "", ""), event))


def fresh(plan: StreamPlan) -> PartitionProcessor:
    return PartitionProcessor(plan, TOOLKIT, application="app", partition=1)


def live(draw: Callable[..., Any], records: list[Record], controls: Controls) -> tuple[list[Outcome], Any]:
    """A worker that hears of something now and then, and takes up what is due before a batch."""
    source, subject = ControlSource(controls.pipelines, NoArtifacts()), fresh(DEEP)
    outcomes = []
    for batch in filter(None, cuts(draw, records)):
        heard(controls, *draw(st.lists(EVENTS, max_size=2)))
        for control in controls.due(PLACE, subject.in_force, batch[0].offset):
            source.apply(subject, control)
        assert controls.due(PLACE, subject.in_force, batch[0].offset) == []
        outcomes.append(subject.fold(batch))
    return outcomes, subject


def replayed(
    draw: Callable[..., Any], records: list[Record], ledger: Sequence[ControlApplied], source: ControlSource
) -> tuple[list[Outcome], Any]:
    """The same log again: each control at its offset, everything else cut anyhow."""
    subject, outcomes = fresh(VERSIONS[-1]), []
    borders = sorted({control.offset for control in ledger})
    for begin, end in zip([-1, *borders], [*borders, records[-1].offset + 1], strict=True):
        for control in ledger:
            if control.offset == begin:
                source.apply(subject, control)
        part = [record for record in records if begin <= record.offset < end]
        outcomes += [subject.fold(batch) for batch in cuts(draw, part) if batch]
    return outcomes, subject


@given(data=st.data())
@settings(max_examples=80)
def test_a_control_in_the_ledger_gives_the_same_verdicts_again(data: st.DataObject) -> None:
    records, controls = data.draw(logs("deep")), Controls()
    heard(controls, published(DEEP))
    outcomes, subject = live(data.draw, records, controls)
    ledger = [control for outcome in outcomes for control in outcome.completed.controls]
    again, other = replayed(data.draw, records, ledger, ControlSource(controls.pipelines, NoArtifacts()))
    assert said(again) == said(outcomes)
    assert (other.hash, other.position, other.in_force) == (subject.hash, subject.position, subject.in_force)
    in_force = ControlsInForce()
    for control in ledger:
        in_force = in_force.after(control)
    assert in_force == subject.in_force
    coded = msgspec.msgpack.decode(msgspec.msgpack.encode(in_force), type=ControlsInForce)
    assert coded == in_force == msgspec.json.decode(msgspec.json.encode(in_force), type=ControlsInForce)


@given(data=st.data())
@settings(max_examples=40)
def test_a_saved_state_goes_on_with_what_was_in_force(data: st.DataObject) -> None:
    records, controls = data.draw(logs("deep")), Controls()
    heard(controls, published(DEEP), declared("1", 0, 40, ("x",)))
    _, subject = live(data.draw, records, controls)
    if not subject.in_force.pipeline:
        return
    source = ControlSource(controls.pipelines, NoArtifacts())
    other = fresh(source.plan("s", subject.in_force.pipeline))
    source.resume(other, subject.in_force)
    used = subject._series.used()
    other.insert(other._series.put(subject._series.names(used)), subject.extract(used))
    other.start_at(subject.position, subject.hash)
    future = [record._replace(offset=record.offset + subject.position) for record in data.draw(logs("deep"))]
    assert said([other.fold(future)]) == said([subject.fold(future)])
    assert other.hash == subject.hash


@given(data=st.data())
@settings(max_examples=40)
def test_state_put_away_before_a_change_of_the_plan_wakes_as_if_it_had_been_awake(data: st.DataObject) -> None:
    """What puts series to sleep leans on this: their state is extracted, forgotten and inserted again later."""
    records, controls = data.draw(logs("deep")), Controls()
    heard(controls, *map(published, VERSIONS))
    source, awake = ControlSource(controls.pipelines, NoArtifacts()), fresh(DEEP)
    sleepy = fresh(DEEP)
    slept: tuple[Any, dict[str, SlotState]] | None = None
    for batch in filter(None, cuts(data.draw, records)):
        if data.draw(st.booleans()):
            heard(controls, published(data.draw(st.sampled_from(VERSIONS))))
        if slept is None and data.draw(st.booleans()):
            used = sleepy._series.used()
            slept = used, sleepy.extract(used)
            sleepy.forget(used)
        for subject in (awake, sleepy):
            for control in controls.due(PLACE, subject.in_force, batch[0].offset):
                source.apply(subject, control)
        if slept is not None:
            sleepy.insert(*slept, slept=True)
            slept = None
        assert said([sleepy.fold(batch)]) == said([awake.fold(batch)])
    assert sleepy.hash == awake.hash


def test_state_of_before_a_change_is_not_taken_for_a_snapshot() -> None:
    controls, subject = Controls(), fresh(DEEP)
    heard(controls, published(VERSIONS[3]))
    every = subject._series.used()
    before = subject.extract(every)
    (control,) = controls.due(PLACE, subject.in_force, 7)
    ControlSource(controls.pipelines, NoArtifacts()).apply(subject, control)
    with pytest.raises(StateMismatchError, match="detector ewma@7"):
        subject.insert(every, before)


@pytest.mark.parametrize("kind", ["ewma", "half_space_trees"])
@given(data=st.data())
@settings(max_examples=40)
def test_what_is_suppressed_is_scored_and_not_learnt(kind: str, data: st.DataObject) -> None:
    rows = data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.floats(-9, 9), st.booleans(), st.booleans()), min_size=1, max_size=40)
    )
    slots, values, suppressed, _ = (np.array(column) for column in zip(*rows, strict=True))
    spec = DetectorSpec(kind, {"ewma": {"warm_up": 3}, "half_space_trees": {"trees": 2, "height": 3}}[kind])
    batch = Rows(slots.astype(np.int64), np.arange(len(rows)), values[:, None])
    whole, single = (build_detector(spec, ("value",), families={}) for _ in range(2))
    for subject in (whole, single):
        subject.grow(3)
    places = sorted(data.draw(st.sets(st.integers(0, len(rows)))))
    parts = [
        advance(whole, Rows(batch.slots[i:j], batch.times[i:j], batch.values[i:j]), suppressed[i:j])
        for i, j in zip([0, *places], [*places, len(rows)], strict=True)
        if i < j
    ]
    expected = []
    for i in range(len(rows)):
        row = Rows(batch.slots[i : i + 1], batch.times[i : i + 1], batch.values[i : i + 1])
        expected.append(single.score(row))
        if not suppressed[i]:
            single.learn(row)
    for column in fields(Scores):
        got, wanted = ([getattr(part, column.name) for part in side] for side in (parts, expected))
        if wanted[0] is not None:
            np.testing.assert_array_equal(np.concatenate(got), np.concatenate(wanted))


def test_planned_work_suppresses_detections_and_keeps_the_baseline() -> None:
    """Two series jump, one as planned. Only the other is a detection, and afterwards the first is as it was before."""
    plan = replace(PLANS["light"], detectors=(DetectorSpec("ewma", {"warm_up": 20}),))
    noise = np.random.default_rng(5).normal(0, 1, 400)
    rows = [
        {"series": "ab"[i % 2], "time": T0 + i, "value": float(noise[i] + (500 if 200 <= i < 300 else 0))}
        for i in range(400)
    ]
    records = [Record(i, T0, None, orjson.dumps(row)) for i, row in enumerate(rows)]
    controls, subject = Controls(), fresh(plan)
    heard(controls, published(plan), declared("w", 200, 300, ("a*",)))
    source = ControlSource(controls.pipelines, NoArtifacts())
    for control in controls.due(PLACE, subject.in_force, 0):
        source.apply(subject, control)
    outcome = subject.fold(records)
    verdicts = list(outcome.verdicts)
    under = [verdict for verdict in verdicts if verdict.suppressed_by]
    assert {(verdict.series, verdict.suppressed_by) for verdict in under} == {("a", "w")}
    assert [verdict.offset for verdict in under] == list(range(200, 300, 2))
    assert all(verdict.p_value < 1e-6 and not verdict.is_anomaly for verdict in under)
    assert (outcome.completed.suppressed, outcome.completed.detections) == (50, int(outcome.verdicts.is_anomaly.sum()))
    found = [published.event for published in outcome.events if published.role == "detections"]
    assert {getattr(event, "series", "") for event in found} == {"b"}
    after = [verdict for verdict in verdicts if verdict.offset >= 300 and verdict.series == "a"]
    assert all(abs(verdict.expected or 99.0) < 3 for verdict in after)


def test_a_level_that_was_accepted_is_learnt_anew() -> None:
    plan = replace(PLANS["light"], detectors=(DetectorSpec("ewma", {"warm_up": 5}),))
    controls, subject = Controls(), fresh(plan)
    heard(controls, published(plan))
    source = ControlSource(controls.pipelines, NoArtifacts())
    rows = [{"series": "xy"[i % 2], "time": T0 + i, "value": float(i % 4)} for i in range(80)]
    records = [Record(i, T0, None, orjson.dumps(row)) for i, row in enumerate(rows)]
    for batch in (records[:60], records[60:]):
        for control in controls.due(PLACE, subject.in_force, batch[0].offset):
            source.apply(subject, control)
        outcome = subject.fold(batch)
        heard(controls, accepted("1", "x"))
    seen = {verdict.series: verdict.seen for verdict in reversed(list(outcome.verdicts))}
    assert seen == {"x": 0, "y": 30}
    assert [(c.kind, c.series, c.feedback) for c in outcome.completed.controls] == [("feedback", "x", "1")]
    assert subject.in_force.feedback == ("1",)


def test_the_planned_work_is_part_of_the_verdict_its_frame_and_the_hash() -> None:
    rows = [{"series": "ab"[i % 2], "time": T0 + i, "value": float(i % 5)} for i in range(30)]
    records = [Record(i, T0, None, orjson.dumps(row)) for i, row in enumerate(rows)]
    plan = PLANS["light"]
    hashes = set()
    for id, series in (("w1", "a"), ("w2", "a"), ("w1", "b"), ("w1", "nobody")):
        controls, subject = Controls(), fresh(plan)
        heard(controls, published(plan), declared(id, 10, 20, (series,)))
        for control in controls.due(PLACE, subject.in_force, 0):
            ControlSource(controls.pipelines, NoArtifacts()).apply(subject, control)
        verdicts = subject.fold(records).verdicts
        framed = [verdict for frame in encode_frames(verdicts) for verdict in expand_frame(frame)]
        assert framed == list(verdicts)
        assert {verdict.suppressed_by for verdict in framed} == ({""} if series == "nobody" else {"", id})
        hashes.add(subject.hash)
    assert len(hashes) == 4


def test_a_pipeline_and_an_accepted_level_may_take_effect_together() -> None:
    controls, subject = Controls(), fresh(DEEP)
    source = ControlSource(controls.pipelines, NoArtifacts())
    row = {"series": "x", "time": T0, "features": {"b": 1.0}}
    subject.fold([Record(i, T0, None, orjson.dumps(row)) for i in range(3)])
    heard(controls, published(VERSIONS[4]), accepted("1", "x"))
    for control in controls.due(PLACE, subject.in_force, 3):
        source.apply(subject, control)
    assert (subject.in_force.pipeline, subject.in_force.feedback) == (VERSIONS[4].version, ("1",))


def test_a_pipeline_that_cannot_be_followed_changes_nothing() -> None:
    controls, subject, other = Controls(), fresh(DEEP), fresh(DEEP)
    source = ControlSource(controls.pipelines, NoArtifacts())
    records = [
        Record(i, T0, None, orjson.dumps({"series": "x", "time": T0 + i, "features": {"b": float(i % 3)}}))
        for i in range(20)
    ]
    for each in (subject, other):
        each.fold(records[:10])
    heard(controls, published(replace(DEEP, detectors=(DEEP.detectors[0], DetectorSpec("newfangled")))))
    (control,) = controls.due(PLACE, subject.in_force, 10)
    with pytest.raises(ConfigurationError, match="newfangled"):
        source.apply(subject, control)
    assert said([subject.fold(records[10:])]) == said([other.fold(records[10:])])
    assert (subject.hash, subject.in_force) == (other.hash, ControlsInForce())
