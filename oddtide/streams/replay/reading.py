"""Reading a partition back: its records in batches, its ledger entry by entry, offsets by time.

All of it through clients that are handed in, one reading at a time each: a reading assigns its client. Readings come as
blocks through a :func:`block_client`, our own topics as records through a ``log_client``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.agents.logs import fetch_ranges, log_client, topic_bounds
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.fetching import fetch_blocks
from oddtide.streams.logged import logged_events

__all__ = [
    "Bounds",
    "LedgerEntry",
    "block_client",
    "bounds_of",
    "offset_at",
    "read_ledger",
    "read_range",
    "read_records",
    "written_end",
]


_POLL_MS = 200
_FETCH_BYTES = 4 << 20
#: Records in a block at most: many enough for the kernels, few enough for the processor's caches.
_BLOCK = 20_000


class Bounds(NamedTuple):
    """The oldest offset that a partition still has, and the one its next record will get."""

    begin: int
    end: int


class LedgerEntry(NamedTuple):
    """A ledger record; ``logged`` is its Kafka timestamp in milliseconds."""

    batch: BatchCompleted
    logged: int


@asynccontextmanager
async def block_client(broker: BrokerAccess) -> AsyncIterator[AIOKafkaConsumer]:
    """A client for :func:`read_range`: it hands over blocks, several megabytes at a time."""
    async with log_client(broker, max_partition_fetch_bytes=_FETCH_BYTES) as client:
        fetch_blocks(client, _BLOCK)
        yield client


async def bounds_of(client: AIOKafkaConsumer, topic: str, partition: int) -> Bounds:
    """How far a partition reaches now, committed records only."""
    found = await topic_bounds(client, topic, [partition])
    return Bounds(*found[TopicPartition(topic, partition)])


async def written_end(broker: BrokerAccess, topic: str, partition: int) -> int:
    """The partition's end, what is not committed yet included. Who reads committed records up to there has everything
    that was committed by now: another owner's open transaction hides what lies behind it, until it ends."""
    async with log_client(broker, isolation_level="read_uncommitted") as client:
        return (await bounds_of(client, topic, partition)).end


async def offset_at(client: AIOKafkaConsumer, topic: str, partition: int, time_ms: int) -> int:
    """The first offset whose record is not older than ``time_ms``; the partition's end where there is none."""
    source = TopicPartition(topic, partition)
    found = (await client.offsets_for_times({source: time_ms}))[source]
    if found is not None:
        return int(found.offset)
    return int((await client.end_offsets([source]))[source])


async def read_range(
    client: AIOKafkaConsumer, topic: str, partition: int, start: int, stop: int
) -> AsyncGenerator[RecordBlock]:
    """The committed records of ``[start, stop)`` in order, block by block as they were fetched; none is empty."""
    if start >= stop:
        return
    source = TopicPartition(topic, partition)
    client.assign([source])
    client.seek(source, start)
    while await client.position(source) < stop:
        for blocks in (await client.getmany(source, timeout_ms=_POLL_MS)).values():
            block = RecordBlock.joined(cast("list[RecordBlock]", blocks)).before(stop)
            if block:
                yield block


async def read_records(
    client: AIOKafkaConsumer, topic: str, partition: int, start: int, stop: int
) -> AsyncIterator[Sequence[Any]]:
    """The same as aiokafka's records, which know their topic and partition: for topics of our own."""
    if start >= stop:
        return
    async for _, records in fetch_ranges(client, {TopicPartition(topic, partition): (start, stop)}):
        if len(records):
            yield records


async def read_ledger(client: AIOKafkaConsumer, topic: str, partition: int) -> AsyncIterator[LedgerEntry]:
    """A partition's ledger up to its present end, in order. What others wrote into the topic is left out; a record of
    a newer schema version raises ``SchemaVersionError``."""
    bounds = await bounds_of(client, topic, partition)
    async for records in read_records(client, topic, partition, *bounds):
        for logged in logged_events(topic, partition, records):
            if isinstance(logged.event, BatchCompleted):
                yield LedgerEntry(logged.event, logged.timestamp)
