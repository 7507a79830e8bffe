"""What the demo reads from the log: detections, rejections and the ledger, each topic in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec

from oddtide.domain.errors import OddtideError
from oddtide.domain.events import Message
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.quality.events import ReadingRejected
from oddtide.streams.envelope import open_envelope
from oddtide.streams.results import REJECTION_HEADER

if TYPE_CHECKING:
    from oddtide.adapters.kafka.reader import KafkaReader, KafkaRecord
    from oddtide.config.composition import Composition

__all__ = ["Settled", "Watch", "dealt_with", "ends"]

_END_S = 5.0
#: The last offsets of a partition: a ledger record is followed by a transaction's marker, which is no record.
_NEWEST = -10


def ends(composition: Composition, topics: Sequence[str]) -> dict[str, dict[int, int]]:
    """Where each topic ends now."""
    with composition.admin() as admin:
        return {topic: {place: end for place, (_, end) in admin.offsets(topic).items()} for topic in topics}


def dealt_with(composition: Composition, ledgers: Sequence[str]) -> dict[tuple[str, int], int]:
    """By (readings topic, partition): the offset up to which the ledger has every outcome."""
    done: dict[tuple[str, int], int] = {}
    for ledger in ledgers:
        with composition.reader() as reader:
            for record in reader.read(ledger, start=_NEWEST, stop_at_end=True):
                batch = _event(record)
                if isinstance(batch, BatchCompleted):
                    done[batch.topic, batch.partition] = batch.to_offset
    return done


class Settled(NamedTuple):
    """A ledger record, and when it was written (ms since 1970)."""

    batch: BatchCompleted
    written: int


class Watch:
    """Reads topics from where ``starts`` says, puts events (or the error that ended a thread) into ``inbox``."""

    def __init__(
        self, composition: Composition, starts: Mapping[str, Mapping[int, int]], inbox: queue.Queue[Any]
    ) -> None:
        self._inbox = inbox
        self._stack = ExitStack()
        self._threads = []
        for topic, start in starts.items():
            reader = self._stack.enter_context(composition.reader())
            thread = threading.Thread(target=self._read, args=(reader, topic, start), name=topic, daemon=True)
            self._threads.append(thread)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()
        for thread in self._threads:
            thread.join(_END_S)

    def _read(self, reader: KafkaReader, topic: str, start: Mapping[int, int]) -> None:
        try:
            for record in reader.read(topic, start=start, stop_at_end=False):
                event = _event(record)
                self._inbox.put(Settled(event, record.timestamp) if isinstance(event, BatchCompleted) else event)
        except OddtideError as error:
            self._inbox.put(error)


def _event(record: KafkaRecord) -> Message:
    headers = {name: bytes(raw) for name, raw in record.headers}
    if REJECTION_HEADER in headers:
        return msgspec.json.decode(headers[REJECTION_HEADER], type=ReadingRejected)
    return open_envelope(record.value, record.headers)[1]
