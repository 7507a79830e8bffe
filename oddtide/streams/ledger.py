"""Reading a partition's ledger back: how far it is, and what took effect where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition

from oddtide.domain.observability.controls import ControlApplied
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.logged import logged_events

__all__ = ["PartitionLedger", "earliest_offsets", "read_ledgers"]

_POLL_MS = 100


@dataclass(slots=True)
class PartitionLedger:
    """The ledger of one partition. ``records`` is how many input records it accounts for, from ``first`` on."""

    last: BatchCompleted | None = None
    first: int = 0
    records: int = 0
    controls: list[ControlApplied] = field(default_factory=list)

    def take(self, batch: BatchCompleted) -> None:
        """Take the next ledger record."""
        if self.last is None:
            self.first = batch.from_offset
        self.last = batch
        self.records += batch.records
        self.controls += batch.controls


def _reader(broker: BrokerAccess) -> AIOKafkaConsumer:
    # An own connection: one shared with a long poll answers a second and a half later.
    return AIOKafkaConsumer(
        **broker.aiokafka_options(), isolation_level="read_committed", enable_auto_commit=False, fetch_max_wait_ms=50
    )


async def read_ledgers(broker: BrokerAccess, topic: str, partitions: Iterable[int]) -> dict[int, PartitionLedger]:
    """The ledgers of ``partitions``, as far as they are committed. Call it after fencing: nothing is in flight then.

    What others wrote into the topic is left out; a record of a newer schema version raises ``SchemaVersionError``."""
    ledgers = {partition: PartitionLedger() for partition in partitions}
    async with _reader(broker) as consumer:
        sources = [TopicPartition(topic, partition) for partition in ledgers]
        consumer.assign(sources)
        await consumer.seek_to_beginning(*sources)
        ends = await consumer.end_offsets(sources)
        unread = {source for source in sources if await consumer.position(source) < ends[source]}
        while unread:
            for source, records in (await consumer.getmany(*unread, timeout_ms=_POLL_MS)).items():
                for logged in logged_events(source.topic, source.partition, records):
                    if isinstance(logged.event, BatchCompleted):
                        ledgers[source.partition].take(logged.event)
            unread = {source for source in unread if await consumer.position(source) < ends[source]}
    return ledgers


async def earliest_offsets(broker: BrokerAccess, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """The oldest offset that the log still has, by partition."""
    async with _reader(broker) as consumer:
        offsets = await consumer.beginning_offsets([TopicPartition(topic, partition) for partition in partitions])
    return {source.partition: offset for source, offset in offsets.items()}
