"""Laws of replay: however a history was cut into batches and controls, folding it again in other parts gives every hash
of its ledger; and a difference is found at the very entry that has it."""

from __future__ import annotations

import json
from functools import partial
from typing import cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.detection.threshold import ThresholdRule
from oddtide.domain.observability.controls import ControlApplied, PipelinePublished
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.controls import ControlSource, PublishedPipelines, plan_content
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.ports import Toolkit
from oddtide.streams.replay.differences import Alarms, Kind, PartitionDiff, SeriesCount, Timeline, kind_of
from oddtide.streams.replay.differing import transferable
from oddtide.streams.replay.folding import HistoryFold
from oddtide.streams.replay.reading import LedgerEntry
from oddtide.streams.replay.verifying import HashCheck, Verification, build_differences

TOOLKIT = Toolkit(detector=partial(build_detector, families={}), monitors=lambda policy: pytest.fail("light only"))
PLANS = tuple(
    StreamPlan("s", "t", detectors=(DetectorSpec("ewma", {"warm_up": warm_up}),), threshold=ThresholdRule(p_value))
    for warm_up, p_value in ((3, 1e-3), (3, 1e-2), (5, 1e-3))
)


class NoArtifacts:
    def put(self, name: str, content: bytes) -> tuple[str, str]:
        raise AssertionError

    def get(self, reference: str, digest: str) -> bytes:
        raise AssertionError


def source() -> ControlSource:
    pipelines = PublishedPipelines()
    for plan in PLANS:
        pipelines.take(
            PipelinePublished(stream="s", version=plan.version, topic="t", partitions=1, plan=plan_content(plan),
                              by="me", time="2026-01-01T00:00:00Z")
        )  # fmt: skip
    return ControlSource(pipelines, NoArtifacts())


def processor() -> PartitionProcessor:
    return PartitionProcessor(PLANS[0], TOOLKIT, application="a", partition=0)


@st.composite
def histories(draw: st.DrawFn) -> tuple[RecordBlock, list[LedgerEntry]]:
    """Records with holes and bad ones, and the ledger of whoever folded them, with pipelines changing on the way."""
    count = draw(st.integers(5, 60))
    steps = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    values = draw(st.lists(st.sampled_from([1.0, 2.0, 3.0, 900.0, None]), min_size=count, max_size=count))
    offset, records = 0, []
    for i, (step, value) in enumerate(zip(steps, values, strict=True)):
        offset += step
        text = (
            b"{" if value is None else json.dumps({"series": f"p{i % 3}", "time": 1.7e9 + i, "value": value}).encode()
        )
        records.append(Record(offset, 1_700_000_000_000 + i, None, text))
    block, folder, contents = RecordBlock.of(records), processor(), source()
    folder.start_at(1)
    entries = []
    while folder.position <= records[-1].offset:
        rest = block.from_offset(folder.position)
        if draw(st.integers(0, 4)) == 0:
            plan = draw(st.sampled_from(PLANS))
            if plan.version != folder.plan.version:
                kept = folder.plan.kept_by(plan)
                control = ControlApplied(kind="pipeline", offset=rest.first, pipeline=plan.version, kept=kept)
                contents.apply(folder, control)
        outcome = folder.fold(rest[: draw(st.integers(1, 20))])
        entries.append(LedgerEntry(msgspec.structs.replace(outcome.completed, build="b"), 0))
    return block, entries


def replayed(block: RecordBlock, entries: list[LedgerEntry], size: int) -> HashCheck:
    check = HashCheck("b", Verification(stream="s", topic="t", partition=0))
    fold, queue = HistoryFold(processor(), source()), list(entries)
    fold.processor.start_at(1)
    for start in range(0, len(block), size):
        part = block[start : start + size]
        while check.wants(part.last):
            if not queue:
                check.end()
                break
            check.expect(queue[0])
            fold.expect(queue.pop(0).batch.controls)
        for folded in fold.fold(part):
            fold.processor.start_at(fold.processor.position, check.take(folded))
            fold.processor.forget_controls()
    return check


@given(histories(), st.integers(1, 80))
@settings(max_examples=60)
def test_other_parts_give_the_same_hashes(made: tuple[RecordBlock, list[LedgerEntry]], size: int) -> None:
    block, entries = made
    check = replayed(block, entries, size)
    assert check.difference is None
    assert (check.result.status, check.result.equal, check.result.compared) == ("equal", len(entries), len(entries))
    assert check.result.records == len(block)


@given(histories(), st.integers(1, 80), st.data())
@settings(max_examples=40)
def test_a_difference_is_found_where_it_is(
    made: tuple[RecordBlock, list[LedgerEntry]], size: int, data: st.DataObject
) -> None:
    block, entries = made
    at = data.draw(st.integers(0, len(entries) - 1))
    wrong = msgspec.structs.replace(entries[at].batch, hash="f" * 16)
    check = replayed(block, [*entries[:at], LedgerEntry(wrong, 0), *entries[at + 1 :]], size)
    assert check.difference is not None
    assert check.difference.entry.batch is wrong
    assert check.result.equal == at
    covered = {int(o) for each in check.difference.verdicts for o in each.readings.offsets}
    scored = {int(o) for o in block.offsets if wrong.from_offset <= o < wrong.to_offset}
    assert len(scored & covered) >= wrong.scored  # whoever narrows it down has every verdict of it


FOUND = st.tuples(st.integers(0, 10**16), st.sampled_from(["appeared", "vanished", "changed", None]))


@given(st.lists(FOUND, max_size=60), st.integers(0, 60))
def test_timelines_add_up_in_any_parts(found: list[tuple[int, str | None]], cut: int) -> None:
    def line(part: list[tuple[int, str | None]]) -> PartitionDiff:
        made = PartitionDiff()
        for time, kind in part:
            made.count("s", time, cast("Kind | None", kind), live=kind != "appeared", other=kind != "vanished")
        return made

    whole = line(found)
    added = PartitionDiff.added([line(found[cut:]), line(found[:cut])])
    assert added.timeline == whole.timeline
    assert added.total == whole.total
    assert len(whole.timeline.bars) <= 240
    total = SeriesCount()
    for counts in added.timeline.bars.values():
        total.add(counts)
    assert total == added.total


def test_timelines_of_two_widths_meet_at_the_wider() -> None:
    narrow, wide = Timeline(), Timeline(width=4 * 10**9)
    narrow.count(5 * 10**9, "appeared", live=False, other=True)
    wide.count(7 * 10**9, "vanished", live=True, other=False)
    narrow.add(wide)
    assert narrow.width == 4 * 10**9
    assert narrow.bars == {1: SeriesCount(live=1, other=1, appeared=1, vanished=1)}


def test_alarms_are_detections_with_quiet_between_them() -> None:
    alarms = Alarms(quiet_ns=10)
    for series, time in (("a", 0), ("a", 10), ("a", 21), ("b", 21), ("a", 5)):
        alarms.take(series, time)
    assert alarms.count == 3


def test_a_control_of_another_plan_means_nothing() -> None:
    trained = [StreamPlan("s", "t", detectors=(DetectorSpec(kind, label="m"),)) for kind in ("pyod:ECOD", "pyod:KNN")]
    model = ControlApplied(kind="model", offset=1, detector="m")
    assert transferable(model, trained[0], trained[0])
    assert not transferable(model, trained[0], trained[1])
    assert not transferable(model, trained[0], PLANS[0])
    assert not transferable(ControlApplied(kind="pipeline", offset=1), trained[0], trained[0])
    assert transferable(ControlApplied(kind="feedback", offset=1), trained[0], PLANS[0])
    assert kind_of(None, None) == "appeared"  # never asked of a reading that neither has detected


def test_builds_are_told_apart_by_their_parts() -> None:
    assert build_differences("1/x/numpy-1", "1/x/numpy-2") == "numpy-1 in the ledger, numpy-2 here"
    assert build_differences("", "1/x") == "none in the ledger, 1/x here"
