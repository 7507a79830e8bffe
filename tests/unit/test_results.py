"""An outcome as Kafka records: where each goes, what dead letters keep, how large frames get."""

from __future__ import annotations

import hashlib
from functools import partial

import msgspec
import orjson
import pytest

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.errors import DecodeError
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.domain.quality.events import ReadingRejected
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.pipeline.deadletters import ATTEMPT_HEADER
from oddtide.streams.pipeline.frames import MAX_BYTES, encode_frames, expand_frame
from oddtide.streams.pipeline.plan import Publish, StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.ports import Toolkit
from oddtide.streams.results import MAX_KEY_BYTES, MAX_VALUE_BYTES, REJECTION_HEADER, ResultRecord, result_records
from oddtide.streams.topics import DEAD_LETTER_BYTES, TopicCatalogue

T0 = 1_700_000_000_000
CATALOGUE = TopicCatalogue((("s", "t", 8),), partitions=3)
TOOLKIT = Toolkit(detector=partial(build_detector, families={}), monitors=lambda policy: pytest.fail("light only"))


def plan(publish: Publish = "anomalies", features: int = 1) -> StreamPlan:
    names = ["value", *(f"f{i}" for i in range(1, features))]
    contract = Contract(features=tuple(FeatureRule(name, required=False) for name in names))
    return StreamPlan("s", "t", contract=contract, detectors=(DetectorSpec("ewma", {"warm_up": 2}),), publish=publish)


def results(of: StreamPlan, records: list[Record]) -> list[ResultRecord]:
    processor = PartitionProcessor(of, TOOLKIT, application="a", partition=7)
    return list(result_records(processor.fold(records), of, CATALOGUE, "/a/w", "build", "w"))


def reading(offset: int, value: float, **more: object) -> Record:
    return Record(offset, T0, b"x", orjson.dumps({"series": "x", "time": T0 + offset, "value": value, **more}))


def rejection(record: ResultRecord) -> ReadingRejected:
    return msgspec.json.decode(dict(record.headers)[REJECTION_HEADER], type=ReadingRejected)


def test_the_ledger_record_is_last_and_says_who_wrote_it() -> None:
    *others, last = results(
        plan("all"), [*(reading(i, i % 2) for i in range(99)), reading(99, 1e6), Record(100, T0, None, b"{")]
    )
    assert (last.topic, last.partition) == ("t.ledger", 7)
    completed = msgspec.json.decode(last.value or b"", type=BatchCompleted)
    assert (completed.build, completed.worker, completed.scored, completed.rejected) == (
        "build",
        "w",
        100,
        {"not_json": 1},
    )
    assert [record.topic for record in others] == ["oddtide.detections", "oddtide.verdicts", "oddtide.deadletters"]
    assert {record.partition for record in others} == {7 % 3}


def test_only_streams_that_say_so_publish_every_verdict() -> None:
    assert [record.topic for record in results(plan(), [reading(0, 1.0)])] == ["t.ledger"]


def test_a_dead_letter_keeps_key_value_and_headers() -> None:
    headers = [("trace", b"abc"), (ATTEMPT_HEADER, b"2"), ("none", b"")]
    letter, _ = results(plan(), [Record(5, T0, b"key", b"{oops", headers)])
    assert (letter.key, letter.value, letter.headers[:3]) == (b"key", b"{oops", headers)
    event = rejection(letter)
    assert (event.topic, event.partition, event.offset, event.time) == ("t", 7, 5, "2023-11-14T22:13:20Z")
    assert (event.size, event.truncated, event.attempt) == (5, False, 2)
    assert event.sha256 == hashlib.sha256(b"{oops").hexdigest()


def test_what_is_too_large_for_the_dead_letters_is_cut_and_says_so() -> None:
    record = Record(0, T0, b"k" * 10**6, b"x" * (4 << 20), [("h", b"y" * 10**6), (ATTEMPT_HEADER, b"nonsense")])
    letter, _ = results(plan(), [record])
    assert (len(letter.key or b""), len(letter.value or b"")) == (MAX_KEY_BYTES, MAX_VALUE_BYTES)
    event = rejection(letter)
    assert (event.truncated, event.size, event.attempt) == (True, 4 << 20, 0)
    size = sum(len(name) + len(raw) for name, raw in letter.headers) + MAX_KEY_BYTES + MAX_VALUE_BYTES
    assert size < DEAD_LETTER_BYTES


def test_a_tombstone_stays_one() -> None:
    letter, _ = results(plan(), [Record(0, T0, None, None)])
    assert (letter.key, letter.value, rejection(letter).reason) == (None, None, "null_value")


def test_one_letter_a_record_however_many_rows_are_refused() -> None:
    batch = {"series": "x", "time": [T0] * 300, "value": ["bad\u0001"] * 299 + [1.0]}
    letter, ledger = results(plan(), [Record(0, T0, None, orjson.dumps(batch))])
    event = rejection(letter)
    assert (event.rejected, len(event.rows), event.rows[0].row) == (299, 50, 0)
    assert msgspec.json.decode(ledger.value or b"", type=BatchCompleted).scored == 1


def test_a_long_name_is_not_said_for_every_row_that_was_refused() -> None:
    contract = Contract((FeatureRule("value", maximum=1.0),), max_series_bytes=60_000)
    batch = {"series": "x" * 60_000, "time": [T0 + i for i in range(60)], "value": [2.0] * 60}
    record = Record(0, T0, None, orjson.dumps(batch))
    (letter,) = [each for each in results(StreamPlan("s", "t", contract=contract), [record]) if "dead" in each.topic]
    size = sum(len(name) + len(raw) for name, raw in letter.headers) + len(letter.value or b"")
    assert rejection(letter).rejected == 60
    assert size < DEAD_LETTER_BYTES


def test_frames_stay_below_kafkas_limit() -> None:
    of = plan("all", features=200)
    processor = PartitionProcessor(of, TOOLKIT, application="a", partition=7)
    outcome = processor.fold([reading(i, float(i), labels={"n": str(i)}) for i in range(500)])
    frames = list(encode_frames(outcome.verdicts))
    assert len(frames) > 1
    assert max(map(len, frames)) <= MAX_BYTES
    assert [verdict.labels for frame in frames for verdict in expand_frame(frame)] == [
        {"n": str(i)} for i in range(500)
    ]


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"\xff" * 100])
def test_what_is_no_frame_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError, match="no verdict frame"):
        expand_frame(raw)


def test_an_arrow_stream_of_something_else_is_no_frame() -> None:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    table = pa.table({"a": [1]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DecodeError, match="no verdict frame"):
        expand_frame(bytes(sink.getvalue()))
