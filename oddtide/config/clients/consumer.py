"""Reading results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from oddtide.adapters.kafka.connection import KafkaConnection
from oddtide.config.clients.place import find_place
from oddtide.domain.errors import DecodeError
from oddtide.domain.events import Message
from oddtide.domain.quality.events import ReadingRejected
from oddtide.streams.envelope import Envelope, open_envelope
from oddtide.streams.pipeline.frames import FRAME_TYPE, expand_frame
from oddtide.streams.results import REJECTION_HEADER

if TYPE_CHECKING:
    from oddtide.adapters.kafka.reader import KafkaRecord, Start

__all__ = ["Consumer", "Item"]


class Item(NamedTuple):
    """One event read: its envelope, the event (a typed struct), and where it lies. ``raw`` is a dead letter's original
    bytes. ``timestamp`` is the Kafka record's, in milliseconds."""

    envelope: Envelope
    event: Message
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: str
    raw: bytes | None = None


class Consumer:
    """Reads events of a topic, typed, committed ones only, in order within a partition.

    ``topic``      a full name or a role: ``detections``, ``verdicts`` (frames come out verdict by verdict),
                   ``quality``, ``drift``, ``alerts``, ``health``, ``models``, ``deadletters``, ``feedback`` …
    ``bootstrap``, ``config``  as for ``Producer``
    ``start``      ``beginning``, ``end``, ``-n`` (the last n of each partition) or an offset by partition
    ``follow``     wait for more at the end, until :meth:`close` (from any thread) or the ``with`` block ends
    ``group``      share the topic with other consumers of that group and go on where it was (at least once)

    What is no event of ours, or of a version newer than this build knows, raises ``DecodeError`` or
    ``SchemaVersionError``; with ``skip_unknown`` it is left out and counted in ``skipped``.
    """

    def __init__(
        self,
        topic: str = "detections",
        bootstrap: str | KafkaConnection | None = None,
        *,
        config: str | Path | None = None,
        start: Start = "beginning",
        follow: bool = True,
        group: str | None = None,
        skip_unknown: bool = False,
    ) -> None:
        from oddtide.adapters.kafka.reader import KafkaReader

        place = find_place(bootstrap, config)
        roles = {spec.role for spec in place.topics.all() if not spec.stream}
        self.topic = place.topics.name(topic) if topic in roles else topic
        self.skipped = 0
        self._skip_unknown = skip_unknown
        self._reader = KafkaReader(place.connection)
        self._records = self._reader.read(self.topic, start=start, stop_at_end=not follow, group=group)

    def __iter__(self) -> Iterator[Item]:
        for record in self._records:
            try:
                items = list(_open(record))
            except DecodeError:
                if not self._skip_unknown:
                    raise
                self.skipped += 1
                continue
            yield from items

    def close(self) -> None:
        """End every iteration, within a fraction of a second."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _open(record: KafkaRecord) -> Iterator[Item]:
    headers = {name: bytes(raw) for name, raw in record.headers}
    place = (record.topic, record.partition, record.offset, record.timestamp, _text(record.key))
    if REJECTION_HEADER in headers:
        event = _rejection(headers[REJECTION_HEADER])
        envelope = Envelope(id=f"{record.topic}/{record.partition}/{record.offset}", type=event.type_name(), source="")
        yield Item(envelope, event, *place, raw=record.value)
    elif headers.get("ce_type") == FRAME_TYPE.encode():
        for verdict in expand_frame(record.value or b""):
            yield Item(Envelope(id=verdict.id, type=verdict.type_name(), source="", time=verdict.time), verdict, *place)
    else:
        envelope, message = open_envelope(record.value, record.headers)
        yield Item(envelope, message, *place)


def _rejection(header: bytes) -> ReadingRejected:
    try:
        return msgspec.json.decode(header, type=ReadingRejected)
    except msgspec.MsgspecError as error:
        raise DecodeError("wrong_shape", f"a dead letter's header: {error}") from None


def _text(key: bytes | None) -> str:
    return "" if key is None else bytes(key).decode("utf-8", "backslashreplace")
