"""Records of our own topics as events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from oddtide.domain.errors import DecodeError
from oddtide.streams.envelope import open_envelope
from oddtide.streams.ports import LoggedEvent

__all__ = ["logged_events"]

_log = structlog.get_logger(__name__)


def logged_events(topic: str, partition: int, records: Iterable[Any]) -> list[LoggedEvent]:
    """The events among ``records``, in order.

    What is no event of ours (someone else wrote to our topic) is logged and left out; an event of a newer schema
    version raises ``SchemaVersionError``: going on would fold half of the truth.
    """
    events = []
    for record in records:
        try:
            envelope, event = open_envelope(record.value, record.headers)
        except DecodeError as error:
            _log.warning(
                "foreign record left out", topic=topic, partition=partition, offset=record.offset,
                reason=error.reason, detail=error.detail,
            )  # fmt: skip
            continue
        key = (record.key or b"").decode("utf-8", "replace")
        events.append(LoggedEvent(topic, partition, record.offset, record.timestamp, key, envelope, event))
    return events
