"""History loaded to warm a stream: learnt, silent, and never twice, however it is cut or goes on from a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.domain.detection.absence import AbsencePolicy
from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.observability.controls import ControlApplied, PlannedWindow
from oddtide.domain.observability.ledger import check_batch
from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.domain.quality.events import ContractViolated
from oddtide.domain.readings import rfc3339
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.history import history_header, history_marks
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.pipeline.frames import encode_frames, expand_frame
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.snapshot import decode_snapshot, encode_snapshot, restore, take
from tests.property.test_processor_laws import PLANS, TOOLKIT, cuts, said

T0 = 1_700_000_000_000
LIGHT = replace(PLANS["light"], profile_every=0)


def record(offset: int, value: float, number: int | None = None, *, source: int = 7) -> Record:
    raw = orjson.dumps({"series": "a", "time": T0 + offset, "value": value})
    return Record(offset, T0, None, raw, [history_header(source, number)] if number is not None else [("x", b"1")])


def processor(plan: StreamPlan = LIGHT) -> PartitionProcessor:
    return PartitionProcessor(plan, TOOLKIT, application="app", partition=0)


def detected(outcome: Outcome) -> list[str]:
    return [each.role for each in outcome.events if each.role in ("detections", "drift")]


def test_it_is_learnt_and_raises_no_alarm() -> None:
    values = [*np.random.default_rng(1).normal(0, 1, 60).tolist(), 1e3]
    warmed, live = processor(), processor()
    past = warmed.fold([record(i, value, i) for i, value in enumerate(values)])
    loud = live.fold([record(i, value) for i, value in enumerate(values)])
    assert (detected(past), detected(loud)) == ([], ["detections"])
    assert (past.completed.history, past.completed.suppressed, past.completed.scored) == (61, 0, 61)
    for mine, theirs in zip(past.verdicts, loud.verdicts, strict=True):
        assert (mine.score, mine.p_value, mine.lower, mine.suppressed_by) == (
            theirs.score, theirs.p_value, theirs.lower, "history",
        )  # fmt: skip
    assert [v.suppressed_by for frame in encode_frames(past.verdicts) for v in expand_frame(frame)] == ["history"] * 61
    (now,) = warmed.fold([record(61, 50.0)]).verdicts
    assert (now.maturity, now.is_anomaly, now.suppressed_by) == (1.0, True, "")


def test_what_was_loaded_before_is_skipped_and_what_is_missing_is_loaded() -> None:
    subject = processor()
    first = [record(i, float(i), i) for i in range(10)]
    again = [record(10 + i, float(i), i) for i in range(15)]
    other = [record(25, 1.0, 0, source=8)]
    subject.fold(first)
    outcome = subject.fold([*again, *other])
    completed = outcome.completed
    assert (completed.history, completed.skipped) == (6, {"loaded_before": 10})
    assert check_batch(completed) == []
    alone = processor()
    alone.fold([record(i, float(i), i) for i in range(15)])
    assert [v.score for v in subject.fold([record(26, 3.5)]).verdicts] == pytest.approx(
        [v.score for v in _after(alone, [record(15, 1.0, 0, source=8)]).fold([record(16, 3.5)]).verdicts]
    )


def _after(subject: PartitionProcessor, records: Sequence[Record]) -> PartitionProcessor:
    subject.fold(records)
    return subject


@pytest.mark.parametrize("kind", ["light", "deep"])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_batches_and_snapshots_do_not_matter(kind: str, data: st.DataObject) -> None:
    plan, number, records = PLANS[kind], 0, list[Record]()
    for offset in range(data.draw(st.integers(1, 40))):
        value = data.draw(st.floats(-70, 70, width=32))
        past = data.draw(st.booleans())
        number += data.draw(st.integers(-2, 3)) if past else 0
        made = record(offset, value, max(number, 0) if past else None)
        if kind == "deep":
            raw = orjson.loads(made.value or b"")
            raw["features"] = {"a": raw.pop("value"), "b": 1.0}
            made = made._replace(value=orjson.dumps(raw))
        records.append(made)
    whole, cut = processor(plan), processor(plan)
    expected = said([whole.fold(records)])
    outcomes = []
    for batch in cuts(data.draw, records):
        if not batch:
            continue
        outcomes.append(cut.fold(batch))
        if data.draw(st.booleans()):
            raw = b"".join(bytes(part) for part in encode_snapshot(take(cut, build="b")))
            cut = processor(plan)
            restore(decode_snapshot(raw), cut)
    assert said(outcomes) == expected
    assert cut.hash == whole.hash


def test_history_breaks_contracts_in_silence_and_is_refused_all_the_same() -> None:
    plan = replace(LIGHT, contract=Contract(features=(FeatureRule("value", maximum=9.0),)))
    outcome = processor(plan).fold([record(0, 10.0, 0), record(1, 11.0)])
    assert [each.event.offset for each in outcome.events if isinstance(each.event, ContractViolated)] == [1]
    assert (outcome.completed.rejected, len(outcome.dead)) == ({"out_of_range": 2}, 2)


def test_history_neither_speaks_nor_is_missed_and_planned_work_goes_before_it() -> None:
    plan = replace(LIGHT, absence=AbsencePolicy(0.005), alarms=AlarmRules(refractory=3))
    subject = processor(plan)
    work = PlannedWindow(id="w", from_time=rfc3339(T0 * 10**6), to_time=rfc3339((T0 + 2) * 10**6))
    subject.apply(ControlApplied(kind="planned_work", offset=0, work=work))
    outcome = subject.fold([record(0, 1.0, 0), record(50, 1.0, 1), record(60, 2.0)])
    assert [verdict.suppressed_by for verdict in outcome.verdicts] == ["w", "history", ""]
    assert (outcome.completed.suppressed, outcome.completed.history, outcome.completed.absences) == (1, 1, 0)


@pytest.mark.parametrize("raw", [b"", b"7:1", b"z" * 16 + b":1", b"0" * 16 + b":", b"0" * 16 + b":" + b"9" * 19])
def test_a_header_that_says_nothing_of_the_kind_is_none(raw: bytes) -> None:
    plain = record(0, 1.0)
    assert history_marks(RecordBlock.of([plain._replace(headers=[("oddtide-history", raw)])])) is None
    assert history_marks(RecordBlock.of([plain._replace(headers=())])) is None
    mixed = [plain, record(1, 2.0, 5), plain._replace(offset=2), plain._replace(offset=3, headers=())]
    marks = history_marks(RecordBlock.of(mixed))
    assert marks is not None
    assert (marks.offsets.tolist(), marks.sources, marks.numbers) == ([1], [7], [5])
