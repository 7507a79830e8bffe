"""Reading a partition's ledger back: how far it is, what took effect where, which snapshots there are.

It is read from the end backwards, some records at first, more where that does not reach back to a snapshot that can be
used. So taking a partition over does not depend on how long its history is.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from oddtide.domain.observability.controls import ControlApplied
from oddtide.domain.observability.ledger import BatchCompleted, EpochOpened, SnapshotPointer
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.ending import closed_within
from oddtide.streams.logged import logged_events

__all__ = ["LogEnds", "PartitionLedger", "read_ledgers"]

_POLL_MS = 100
_STOP_TIMEOUT_S = 2.0
#: Offsets looked at first; each further look goes this many times as far back. Markers and aborted records count too.
_FIRST_LOOK = 16
_FARTHER = 16


@dataclass(slots=True)
class PartitionLedger:
    """The end of one partition's ledger, as far back as it was read; ``whole`` where that is to its beginning.

    ``records`` is how many input records that part accounts for, from the offset ``first`` on. It takes 24 bytes a
    ledger record, besides what was put in force and the snapshots.
    """

    last: BatchCompleted | None = None
    first: int = 0
    records: int = 0
    whole: bool = True
    controls: list[ControlApplied] = field(default_factory=list)
    #: Every snapshot named, oldest first.
    pointers: list[SnapshotPointer] = field(default_factory=list)
    #: The record that opened the newest epoch, if it was read.
    opening: BatchCompleted | None = None
    _ends: array[int] = field(default_factory=lambda: array("q"))
    _records: array[int] = field(default_factory=lambda: array("q"))
    _hashes: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def pipelines(self) -> set[str]:
        """Versions of the stream's pipeline that were in force in what was read; may hold an empty one."""
        newest = self.last.pipeline_version if self.last is not None else ""
        return {newest, *(control.pipeline for control in self.controls)}

    def take(self, batch: BatchCompleted) -> None:
        """Take the next ledger record."""
        if self.last is None:
            self.first = batch.from_offset
        self.last = batch
        self.records += batch.records
        self.controls += batch.controls
        if batch.snapshot is not None and batch.snapshot not in self.pointers[-1:]:
            self.pointers.append(batch.snapshot)
        if batch.opened is not None:
            self.opening = batch
        self._ends.append(batch.to_offset)
        self._records.append(self.records)
        self._hashes.append(int(batch.hash or "0", 16))

    @property
    def opened(self) -> EpochOpened | None:
        """What opened the newest epoch."""
        return self.opening.opened if self.opening else None

    @property
    def base(self) -> int:
        """Where the newest epoch stands in the ledger: no state from before it can be used."""
        return self.opening.to_offset if self.opening else self.first

    def hash_at(self, offset: int) -> int | None:
        """The running hash at an offset where some ledger record ends; None where none does."""
        place = bisect_left(self._ends, offset)
        return self._hashes[place] if place < len(self._ends) and self._ends[place] == offset else None

    def records_since(self, offset: int) -> int:
        """How many input records the ledger accounts for from ``offset`` on, which must be where one begins."""
        place = bisect_left(self._ends, offset)
        before = self._records[place] if place < len(self._ends) and self._ends[place] == offset else 0
        return self.records - before

    def usable(self, refused: Container[str] = ()) -> list[SnapshotPointer]:
        """The snapshots of the newest epoch that the part read reaches back to, newest first, without the references
        ``refused``."""
        return [
            pointer
            for pointer in reversed(self.pointers)
            if pointer.reference not in refused
            and pointer.offset >= self.base
            and self.hash_at(pointer.offset) is not None
        ]


class LogEnds:
    """Asks for a topic's oldest and newest offsets, over a connection of its own: one with a long poll answers late."""

    def __init__(self, broker: BrokerAccess) -> None:
        self._broker = broker
        self._consumer: AIOKafkaConsumer | None = None
        self._starting = asyncio.Lock()

    async def earliest(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The oldest offset that the log still has, by partition."""
        consumer = await self._connected()
        offsets = await consumer.beginning_offsets([TopicPartition(topic, each) for each in partitions])
        return {source.partition: offset for source, offset in offsets.items()}

    async def _connected(self) -> AIOKafkaConsumer:
        async with self._starting:
            if self._consumer is None:
                consumer = _reader(self._broker)
                await consumer.start()
                self._consumer = consumer
            return self._consumer

    async def earliest_of(self, topic: str, partition: int) -> int:
        """The oldest offset that a partition still has."""
        return (await self.earliest(topic, [partition]))[partition]

    async def reached(self, consumer: Any, topic: str, partition: int) -> bool:
        """Whether ``consumer`` (aiokafka's, or Faust's over it) was handed every committed record of a partition."""
        source = TopicPartition(topic, partition)
        position = await consumer.position(source)
        ends = await (await self._connected()).end_offsets([source])
        return position is not None and int(position) >= int(ends[source])

    async def stop(self) -> None:
        """Disconnect, within a few seconds whatever the cluster does."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await closed_within(_STOP_TIMEOUT_S, consumer.stop())


def _reader(broker: BrokerAccess) -> AIOKafkaConsumer:
    # An own connection: one shared with a long poll answers a second and a half later.
    return AIOKafkaConsumer(
        **broker.aiokafka_options(), isolation_level="read_committed", enable_auto_commit=False, fetch_max_wait_ms=50
    )


async def read_ledgers(
    broker: BrokerAccess,
    topic: str,
    partitions: Collection[int],
    refused: Mapping[int, Container[str]] | None = None,
) -> dict[int, PartitionLedger]:
    """The ledgers of ``partitions``, as far as they are committed: each back to the newest snapshot that can be used
    and is not among ``refused`` (references, by partition), or whole. Call it after fencing: nothing is in flight then.

    What others wrote into the topic is left out; a record of a newer schema version raises ``SchemaVersionError``."""
    refused = refused or {}
    ledgers: dict[int, PartitionLedger] = {}
    if not partitions:
        return ledgers
    async with _reader(broker) as consumer:
        sources = [TopicPartition(topic, partition) for partition in partitions]
        consumer.assign(sources)
        begins = await consumer.beginning_offsets(sources)
        ends = await consumer.end_offsets(sources)
        look = _FIRST_LOOK
        while sources:
            starts = {source: max(begins[source], ends[source] - look) for source in sources}
            ledgers |= await _read(consumer, starts, ends)
            for source in sources:
                ledgers[source.partition].whole = starts[source] <= begins[source]
            sources = [
                source
                for source in sources
                if not ledgers[source.partition].whole
                and not ledgers[source.partition].usable(refused.get(source.partition, ()))
            ]
            look *= _FARTHER
    return ledgers


async def _read(
    consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> dict[int, PartitionLedger]:
    ledgers = {source.partition: PartitionLedger() for source in starts}
    for source, start in starts.items():
        consumer.seek(source, start)
    unread = {source for source, start in starts.items() if start < ends[source]}
    while unread:
        for source, records in (await consumer.getmany(*unread, timeout_ms=_POLL_MS)).items():
            for logged in logged_events(source.topic, source.partition, records):
                if isinstance(logged.event, BatchCompleted):
                    ledgers[source.partition].take(logged.event)
        unread = {source for source in unread if await consumer.position(source) < ends[source]}
    return ledgers
