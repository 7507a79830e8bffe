"""A snapshot as a value: what is taken, written, read and taken up again goes on to the same future."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oddtide.adapters.river import drift
from oddtide.adapters.river.detectors import build as build_river
from oddtide.domain.detection.alarm_budget import BudgetRule
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.errors import DecodeError, SchemaVersionError, StateMismatchError
from oddtide.domain.observability.controls import ControlApplied
from oddtide.streams.codecs.container import Content, read_container, write_container
from oddtide.streams.pipeline import snapshot as module
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.snapshot import FORMAT, Snapshot, decode_snapshot, encode_snapshot, restore, take
from oddtide.streams.ports import Toolkit
from tests.property.recovery_world import PLAN, log_of

#: Written by format 1 and kept: whatever the present format is, this must be readable.
FIRST = Path(__file__).with_name("snapshot-format-1.bin")
LOG = log_of(120)
TOOLKIT = Toolkit(detector=partial(build_detector, families={"river": build_river}), monitors=drift.adwin)
DEEP = StreamPlan(
    "s", "t", detectors=(DetectorSpec("ewma"), DetectorSpec("river:GaussianScorer"), DetectorSpec("half_space_trees")),
    profile="deep", profile_every=10,
)  # fmt: skip
BUDGETED = replace(PLAN, alarm_budget=BudgetRule(0.1))


def processor(plan: StreamPlan = PLAN, partition: int = 0) -> PartitionProcessor:
    return PartitionProcessor(plan, TOOLKIT, application="a", partition=partition)


def raw(snapshot: Snapshot) -> bytes:
    return b"".join(encode_snapshot(snapshot))


@pytest.mark.parametrize("plan", [PLAN, DEEP, BUDGETED])
@pytest.mark.parametrize("cut", [0, 1, 60])
def test_taken_up_again_it_goes_on_to_the_same_future(plan: StreamPlan, cut: int) -> None:
    one = processor(plan)
    one.fold(LOG[:cut])
    taken = take(one, build="b")
    expected = one.fold(LOG[cut:])  # after taking: a copy does not change with its origin
    other = processor(plan)
    restore(decode_snapshot(raw(taken)), other)
    assert (other.position, other.series) == (taken.about.position, min(cut, 3))
    found = other.fold(LOG[cut:])
    assert found.completed == expected.completed
    assert [event.event for event in found.events] == [event.event for event in expected.events]


def test_it_says_what_it_is_of() -> None:
    one = processor()
    one.in_force = one.in_force.after(ControlApplied(kind="pipeline", offset=0, pipeline=PLAN.version))
    one.fold(LOG[:50])
    about = decode_snapshot(raw(take(one, build="b"))).about
    assert (about.stream, about.topic, about.partition, about.position) == ("s", "t", 0, 50)
    assert (about.pipeline, about.build, about.detectors) == (PLAN.version, "b", one.versions)
    assert about.in_force == one.in_force


def test_the_first_format_is_read_for_ever() -> None:
    snapshot = decode_snapshot(FIRST.read_bytes())
    about = snapshot.about
    assert (about.stream, about.topic, about.partition, about.position, about.build) == ("s", "t", 0, 40, "first")
    assert list(snapshot.series) == ["s0", "s1", "s2"]
    assert set(snapshot.stages) == {"validator@0", "profiles@0", "detector ewma@0"}
    seen = snapshot.stages["detector ewma@0"]["seen"]
    assert not isinstance(seen, list)
    assert seen.tolist() == [13, 12, 11]  # of the 40 readings, 4 cannot be decoded


def test_an_old_format_is_brought_up_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    one = processor()
    one.fold(LOG[:20])
    old = raw(take(one, build="b"))

    def step(content: Content) -> Content:
        return Content(content.version + 1, {**content.about, "build": content.about["build"] + "+"}, content.columns)

    monkeypatch.setattr(module, "FORMAT", FORMAT + 2)
    monkeypatch.setattr(module, "_UPCASTS", {**module._UPCASTS, FORMAT: step, FORMAT + 1: step})
    assert decode_snapshot(old).about.build == "b++"


def test_a_newer_format_is_refused() -> None:
    content = read_container(raw(take(processor(), build="b")))
    newer = b"".join(write_container(content._replace(version=FORMAT + 1)))
    with pytest.raises(SchemaVersionError, match=f"format {FORMAT + 1}"):
        decode_snapshot(newer)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content._replace(about={"stages": []}),
        lambda content: content._replace(about={**content.about, "position": "far"}),
        lambda content: content._replace(columns={}),
        lambda content: content._replace(columns={**content.columns, "series": [b"x"]}),
        lambda content: content._replace(columns={**content.columns, "elsewhere/x": np.zeros(1)}),
    ],
)
def test_a_container_of_something_else_is_refused(change: Any) -> None:
    content = read_container(raw(take(processor(), build="b")))
    with pytest.raises(DecodeError, match="no snapshot"):
        decode_snapshot(b"".join(write_container(change(content))))


@pytest.mark.parametrize(
    ("plan", "partition", "what"),
    [
        (PLAN, 1, "partition 0, not 1"),
        (StreamPlan("other", "t"), 0, "stream"),
        (StreamPlan("s", "other"), 0, "topic"),
        (StreamPlan("s", "t"), 0, "pipeline"),
    ],
)
def test_the_state_of_something_else_is_not_taken_up(plan: StreamPlan, partition: int, what: str) -> None:
    with pytest.raises(StateMismatchError, match=what):
        restore(take(processor(), build="b"), processor(plan, partition))


def test_a_state_is_not_taken_up_over_another() -> None:
    one = processor()
    one.fold(LOG[:9])
    with pytest.raises(StateMismatchError, match="3 series already"):
        restore(take(one, build="b"), one)
