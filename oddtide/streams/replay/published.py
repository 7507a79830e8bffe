"""What was published about a stream's partition, found again in the result topics by its source coordinates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer

from oddtide.domain.detection.events import AnomalyDetected, Verdict
from oddtide.domain.errors import DecodeError
from oddtide.domain.quality.events import ReadingRejected
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.pipeline.frames import FRAME_TYPE, FramePlaces, expand_frame, frame_places
from oddtide.streams.replay.reading import Bounds, bounds_of, offset_at, read_records, written_end
from oddtide.streams.results import REJECTION_HEADER

__all__ = [
    "Letter",
    "VerdictKey",
    "detection_key",
    "frame_of",
    "letter_of",
    "published_verdicts",
    "read_result",
    "verdict_key",
]

_DETECTION = AnomalyDetected.type_name().encode()
_FRAME = FRAME_TYPE.encode()
#: How far clocks of workers may lie apart (ms) where a result is looked for by the time of its ledger record.
_CLOCKS_APART_MS = 300_000


class VerdictKey(NamedTuple):
    """The parts of a verdict's id."""

    application: str
    stream: str
    topic: str
    partition: int
    offset: int
    row: int
    version: str


class Letter(NamedTuple):
    """Whom a dead letter is about; ``rejected`` counts its readings."""

    stream: str
    topic: str
    partition: int
    offset: int
    rejected: int


def verdict_key(ident: str) -> VerdictKey | None:
    """The parts of a verdict's id; None for what is none."""
    path, _, version = ident.rpartition("@")
    parts = path.split("/")
    if len(parts) != 6 or not all(part.isdecimal() and len(part) < 20 for part in parts[3:]):
        return None
    return VerdictKey(parts[0], parts[1], parts[2], int(parts[3]), int(parts[4]), int(parts[5]), version)


def _header(record: Any, name: str) -> bytes:
    return next((bytes(raw or b"") for each, raw in record.headers if each == name), b"")


def detection_key(record: Any) -> VerdictKey | None:
    """Which verdict a record of the detections topic publishes; None for what is no detection of ours."""
    if _header(record, "ce_type") != _DETECTION:
        return None
    return verdict_key(_header(record, "ce_id").decode("utf-8", "replace"))


def letter_of(record: Any) -> Letter | None:
    """Whom a record of the dead-letter topic is about; None for what is none of ours."""
    try:
        event = msgspec.json.decode(_header(record, REJECTION_HEADER), type=ReadingRejected)
    except msgspec.MsgspecError:
        return None
    return Letter(event.stream, event.topic, event.partition, event.offset, event.rejected)


def frame_of(record: Any) -> FramePlaces | None:
    """What a record of the verdicts topic is about; None for what is no frame of ours."""
    if _header(record, "ce_type") != _FRAME:
        return None
    try:
        return frame_places(record.value or b"")
    except DecodeError:
        return None


def frame_verdicts(record: Any) -> Iterator[Verdict]:
    """The verdicts of a record of the verdicts topic; none for what is no frame of ours."""
    if _header(record, "ce_type") != _FRAME:
        return iter(())
    try:
        return expand_frame(record.value)
    except DecodeError:
        return iter(())


async def read_result(
    client: AIOKafkaConsumer, broker: BrokerAccess, topic: str, partition: int, since_ms: int | None = None
) -> AsyncIterator[Any]:
    """Every record of one partition of a result topic that is committed by now; ``since_ms`` leaves out what is older
    than that, but for what clocks that lie apart could have misplaced."""
    bounds = Bounds((await bounds_of(client, topic, partition)).begin, await written_end(broker, topic, partition))
    if since_ms is not None:
        start = await offset_at(client, topic, partition, max(0, since_ms - _CLOCKS_APART_MS))
        bounds = Bounds(max(start, bounds.begin), bounds.end)
    async for records in read_records(client, topic, partition, *bounds):
        for record in records:
            yield record


async def published_verdicts(
    client: AIOKafkaConsumer,
    broker: BrokerAccess,
    topic: str,
    partition: int,
    source: tuple[str, int],
    span: tuple[int, int],
    since_ms: int,
) -> dict[tuple[int, int], Verdict]:
    """The verdicts published about ``[from, to)`` of a source (topic, partition), by (offset, row). ``topic`` is the
    verdicts topic or the detections topic."""
    found = {}
    async for record in read_result(client, broker, topic, partition, since_ms):
        for verdict in _verdicts_in(record):
            if (verdict.topic, verdict.partition) == source and span[0] <= verdict.offset < span[1]:
                found[verdict.offset, verdict.row] = verdict
    return found


def _verdicts_in(record: Any) -> Iterator[Verdict]:
    if _header(record, "ce_type") == _DETECTION:
        try:
            yield msgspec.json.decode(record.value or b"", type=Verdict)
        except msgspec.MsgspecError:
            return
    else:
        yield from frame_verdicts(record)
