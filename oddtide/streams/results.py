"""An outcome as the Kafka records that publish it, the ledger record last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.quality.events import ReadingRejected
from oddtide.domain.readings import rfc3339
from oddtide.streams.envelope import Headers, derive_id, seal
from oddtide.streams.pipeline.deadletters import ATTEMPT_HEADER
from oddtide.streams.pipeline.frames import CONTENT_TYPE, FRAME_TYPE, encode_frames
from oddtide.streams.pipeline.outcome import DeadLetter, Outcome, Published
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.topics import DEAD_LETTER_BYTES, TopicCatalogue

__all__ = ["REJECTION_HEADER", "ResultRecord", "result_records"]

#: The dead letters' header that holds the ``ReadingRejected`` event as JSON.
REJECTION_HEADER = "oddtide-rejection"
#: What of a refused record is kept at most; the rest stays where the coordinates point.
MAX_VALUE_BYTES = DEAD_LETTER_BYTES - (400 << 10)
MAX_KEY_BYTES = 16_384
MAX_HEADER_BYTES = 65_536


class ResultRecord(NamedTuple):
    """A Kafka record to be: where it goes and what it holds; ``timestamp`` (ms) None: when it is written."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int | None = None


def result_records(
    outcome: Outcome, plan: StreamPlan, catalogue: TopicCatalogue, source: str, build: str, worker: str
) -> Iterator[ResultRecord]:
    """Everything that an outcome says, in order. Result topics get partition (source partition mod their count)."""
    completed = msgspec.structs.replace(outcome.completed, build=build, worker=worker)
    partition = completed.partition % catalogue.partitions
    ledger = catalogue.ledger_of(completed.topic)
    for published in outcome.events:
        # everything else goes to a result topic; health has one partition
        yield _event(published, catalogue, 0 if published.role == "health" else partition, source)
    if plan.publish == "all":
        for number, frame in enumerate(encode_frames(outcome.verdicts)):
            yield _frame(frame, number, outcome, catalogue, partition, source)
    for letter in outcome.dead:
        yield _dead_letter(letter, catalogue, partition)
    value, headers = seal(
        completed, id=_ledger_id(completed), source=source, subject=completed.stream, time=completed.time
    )
    yield ResultRecord(ledger, completed.partition, str(completed.partition).encode(), value, headers)


def _ledger_id(completed: BatchCompleted) -> str:
    """One that covers nothing shares its offset with the next, and is told apart by what it says."""
    where = (completed.stream, completed.topic, completed.partition, completed.from_offset)
    if completed.to_offset > completed.from_offset:
        return derive_id("ledger", *where)
    times = [control.time for control in completed.controls]
    snapshot = completed.snapshot.reference if completed.snapshot else ""
    return derive_id("ledger", *where, completed.epoch, snapshot, *times)


def _event(published: Published, catalogue: TopicCatalogue, partition: int, source: str) -> ResultRecord:
    event = published.event
    value, headers = seal(
        event,
        id=published.id,
        source=source,
        subject=published.key,
        time=getattr(event, "time", ""),
        causation=getattr(event, "causation", ""),
    )
    return ResultRecord(catalogue.name(published.role), partition, published.key.encode(), value, headers)


def _frame(
    frame: bytes, number: int, outcome: Outcome, catalogue: TopicCatalogue, partition: int, source: str
) -> ResultRecord:
    done = outcome.completed
    ident = derive_id("frame", done.stream, done.topic, done.partition, done.from_offset, number)
    fields = {
        "ce_specversion": "1.0",
        "ce_id": ident,
        "ce_type": FRAME_TYPE,
        "ce_source": source,
        "ce_subject": done.stream,
        "content-type": CONTENT_TYPE,
    }
    headers = [(name, text.encode()) for name, text in fields.items()]
    return ResultRecord(catalogue.name("verdicts"), partition, str(done.partition).encode(), frame, headers)


def _dead_letter(letter: DeadLetter, catalogue: TopicCatalogue, partition: int) -> ResultRecord:
    record = letter.record
    raw = record.value if record is not None else None
    value = raw or b""
    headers = _bounded_headers(list(record.headers) if record is not None else [])
    event = _measured(letter.event, value, record.timestamp if record is not None else 0, headers)
    headers = [(name, raw) for name, raw in headers if name != REJECTION_HEADER]
    headers.append((REJECTION_HEADER, msgspec.json.encode(event)))
    kept = None if raw is None else value[:MAX_VALUE_BYTES]
    key = record.key[:MAX_KEY_BYTES] if record is not None and record.key is not None else None
    return ResultRecord(catalogue.name("deadletters"), partition, key, kept, headers)


def _measured(event: ReadingRejected, value: bytes, timestamp_ms: int, headers: Headers) -> ReadingRejected:
    attempt = next((raw for name, raw in headers if name == ATTEMPT_HEADER), b"0")
    return msgspec.structs.replace(
        event,
        time=rfc3339(timestamp_ms * 1_000_000),
        size=len(value),
        truncated=len(value) > MAX_VALUE_BYTES,
        sha256=hashlib.sha256(value).hexdigest(),
        attempt=int(attempt) if attempt.isdigit() and len(attempt) < 6 else 0,
    )


def _bounded_headers(headers: Headers) -> Headers:
    kept, size = [], 0
    for name, raw in headers:
        size += len(name.encode("utf-8", "replace")) + len(raw or b"")
        if size > MAX_HEADER_BYTES:
            break
        kept.append((name, raw or b""))
    return kept
