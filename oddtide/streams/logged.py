"""Records of our own topics as events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from oddtide.domain.errors import DecodeError
from oddtide.domain.events import Command, Message
from oddtide.streams.envelope import Envelope, open_envelope
from oddtide.streams.ports import LoggedEvent

__all__ = ["logged_events"]

#: The largest command that is heard, with its headers: what answers it repeats parts of it and must fit into a record.
MAX_COMMAND_BYTES = 100_000

_log = structlog.get_logger(__name__)


def logged_events(topic: str, partition: int, records: Iterable[Any]) -> list[LoggedEvent]:
    """The events among ``records``, in order.

    What is no event of ours (someone else wrote to our topic), or a command larger than :data:`MAX_COMMAND_BYTES`, is
    noted in the worker's log and left out; an event of a newer schema
    version raises ``SchemaVersionError``: going on would fold half of the truth.
    """
    events = []
    for record in records:
        try:
            envelope, event = _open(record)
        except DecodeError as error:
            _log.warning(
                "foreign record left out", topic=topic, partition=partition, offset=record.offset,
                reason=error.reason, detail=error.detail,
            )  # fmt: skip
            continue
        key = (record.key or b"").decode("utf-8", "replace")
        events.append(LoggedEvent(topic, partition, record.offset, record.timestamp, key, envelope, event))
    return events


def _open(record: Any) -> tuple[Envelope, Message]:
    envelope, event = open_envelope(record.value, record.headers)
    if isinstance(event, Command):
        size = len(record.value) + sum(len(name) + len(raw or b"") for name, raw in record.headers)
        if size > MAX_COMMAND_BYTES:
            raise DecodeError("too_large", f"a command of {size} bytes; {MAX_COMMAND_BYTES} are heard")
    return envelope, event
