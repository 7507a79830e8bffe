"""Records of our own topics as events."""

from __future__ import annotations

from oddtide.domain.events import Message
from oddtide.domain.mlops.events import PromoteModel
from oddtide.domain.observability.events import FeedbackGiven
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.envelope import seal
from oddtide.streams.logged import MAX_COMMAND_BYTES, logged_events

T = "2026-01-01T00:00:00Z"


def record(offset: int, event: Message, id: str = "i") -> Record:
    value, headers = seal(event, id=id, source="/a")
    return Record(offset, 0, b"k", value, list(headers))


def promote(model: str) -> PromoteModel:
    return PromoteModel(model=model, version=1, time=T, by="ann")


def test_a_command_whose_answer_would_not_fit_into_a_record_is_left_out() -> None:
    long = "m" * MAX_COMMAND_BYTES
    records = [record(0, promote("m")), record(1, promote(long)), record(2, promote("m"), id=long)]
    assert [logged.offset for logged in logged_events("commands", 0, [*records, record(3, promote("m"))])] == [0, 3]


def test_other_events_may_be_as_large_as_kafka_takes_them() -> None:
    event = FeedbackGiven(id="f", verdict="v", label="confirmed", by="ann", time=T, note="n" * MAX_COMMAND_BYTES)
    assert len(logged_events("feedback", 0, [record(0, event)])) == 1
