"""Copying a readings topic into a new one with another number of partitions.

Each record keeps its key, value, headers and timestamp. Its key decides the partition as in Kafka's own clients
(murmur2), so what producers send later joins what is copied; records without a key go to partition (source partition
mod their count), together. Guaranteed: the records of one key that lay in one partition keep their order, and each
record is there once, whatever is killed on the way: a chunk of copies and the position after it are one transaction.

The position lies in a compacted topic beside the new one, ``<new topic>.migration``: one record per source partition
that also holds how many records, with which content, went to which partition. The final check holds the new topic
against it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import murmur2

from oddtide.domain.errors import CommandRefusedError
from oddtide.streams.agents.logs import log_client
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.replay.reading import block_client, bounds_of, read_range, read_records
from oddtide.streams.results import ResultRecord
from oddtide.streams.transactions import PartitionWriter

__all__ = ["Migration", "PartitionChecked", "check_copies", "migrate", "migration_topic", "partition_of"]

#: Records in a transaction, at most, and their bytes.
_CHUNK = 5_000
_CHUNK_BYTES = 4 << 20
_REMEMBERED = 200_000
_MASK = 2**64 - 1


class _Position(msgspec.Struct, kw_only=True):
    """How far one source partition is copied: ``next`` is the next offset, ``first`` the first. ``counts`` and ``sums``
    (sums of the records' digests, modulo 2^64) are by target partition."""

    source: str
    partition: int
    first: int
    next: int
    counts: list[int]
    sums: list[int]


class PartitionChecked(msgspec.Struct, frozen=True, kw_only=True):
    """One partition of the new topic: how many records were copied to it, how many it holds, and whether those are
    the same. ``complete`` is False where retention has removed some meanwhile, and nothing can be said."""

    partition: int
    copied: int
    found: int
    same: bool
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Migration:
    """What is copied where. ``begins`` are first offsets by source partition, where not everything is wanted."""

    broker: BrokerAccess
    application: str
    source: str
    sources: int
    target: str
    targets: int
    begins: dict[int, int] = field(default_factory=dict)


def migration_topic(target: str) -> str:
    """The topic of positions of a migration into ``target``."""
    return f"{target}.migration"


class _Places:
    """Kafka's default partitioner, with a memory: murmur2 in Python takes microseconds."""

    def __init__(self, targets: int) -> None:
        self._targets = targets
        self._known: dict[bytes, int] = {}

    def __call__(self, key: bytes | None, source: int) -> int:
        if key is None:
            return source % self._targets
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[key] = partition_of(key, self._targets)
        return found


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's own clients put a key."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def _digest(record: Any) -> int:
    """64 bits over everything that is copied."""
    state = hashlib.blake2b(digest_size=8)
    parts = [record.key, record.value, str(record.timestamp).encode()]
    for name, raw in record.headers or ():
        parts += [name.encode("utf-8", "replace"), raw]
    for part in parts:
        state.update(b"-" if part is None else b"%d:%b" % (len(part), part))
    return int.from_bytes(state.digest(), "big")


async def migrate(migration: Migration, tell: Callable[[int], None]) -> int:
    """Copy what is not copied yet, up to the source's present end; returns how many records that were.

    Raises ``CommandRefusedError`` for a target that holds something else. A second migration into the same target ends
    the first one."""
    writer = PartitionWriter(migration.broker, f"{migration.application}-migrate-{migration.target}")
    await writer.open()  # first: it aborts what a dead predecessor left open, and shuts out one that lives
    try:
        async with log_client(migration.broker) as client:
            positions = await _positions(client, migration)
            if not positions:
                await _refuse_used(client, migration)
            places, copied = _Places(migration.targets), 0
            for partition in range(migration.sources):
                position = positions.get(partition) or await _fresh(client, migration, partition)
                stop = (await bounds_of(client, migration.source, partition)).end
                chunks = _chunks(client, migration.source, partition, position.next, stop)
                async for records in chunks:
                    await writer.commit(list(_copies(migration, position, records, places)))
                    copied += len(records)
                    tell(len(records))
        return copied
    finally:
        await writer.close()


async def _chunks(
    client: AIOKafkaConsumer, topic: str, partition: int, start: int, stop: int
) -> AsyncIterator[Sequence[Any]]:
    async for records in read_records(client, topic, partition, start, stop):
        chunk: list[Any] = []
        size = 0
        for record in records:
            chunk.append(record)
            size += len(record.key or b"") + len(record.value or b"")
            if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk


def _copies(
    migration: Migration, position: _Position, records: Iterable[Any], places: _Places
) -> Iterator[ResultRecord]:
    """Copies of ``records``, and the position after them."""
    for record in records:
        target = places(record.key, position.partition)
        position.next = record.offset + 1
        position.counts[target] += 1
        position.sums[target] = (position.sums[target] + _digest(record)) & _MASK
        yield ResultRecord(migration.target, target, record.key, record.value, list(record.headers), record.timestamp)
    key, value = str(position.partition).encode(), msgspec.json.encode(position)
    yield ResultRecord(migration_topic(migration.target), 0, key, value, [])


async def _fresh(client: AIOKafkaConsumer, migration: Migration, partition: int) -> _Position:
    begin = max((await bounds_of(client, migration.source, partition)).begin, migration.begins.get(partition, 0))
    return _Position(
        source=migration.source, partition=partition, first=begin, next=begin, counts=[0] * migration.targets,
        sums=[0] * migration.targets,
    )  # fmt: skip


async def _positions(client: AIOKafkaConsumer, migration: Migration) -> dict[int, _Position]:
    topic = migration_topic(migration.target)
    found: dict[int, _Position] = {}
    bounds = await bounds_of(client, topic, 0)
    async for records in read_records(client, topic, 0, *bounds):
        for record in records:
            position = msgspec.json.decode(record.value or b"", type=_Position)
            found[position.partition] = position
    foreign = {position.source for position in found.values()} - {migration.source}
    if foreign:
        raise CommandRefusedError(
            f"The topic {migration.target!r} holds copies of {', '.join(sorted(foreign))}.",
            remedy="Name another topic with --to.",
        )
    if any(len(position.counts) != migration.targets for position in found.values()):
        raise CommandRefusedError(
            f"The migration into {migration.target!r} was begun with another number of partitions.",
            remedy="Go on with that number, or name another topic with --to.",
        )
    return found


async def _refuse_used(client: AIOKafkaConsumer, migration: Migration) -> None:
    for partition in range(migration.targets):
        bounds = await bounds_of(client, migration.target, partition)
        if bounds.end > bounds.begin:
            raise CommandRefusedError(
                f"The topic {migration.target!r} is not empty, and no migration into it has begun.",
                remedy="Name a new topic with --to.",
            )


async def check_copies(migration: Migration, tell: Callable[[int], None]) -> list[PartitionChecked]:
    """Hold the new topic against what was copied: number and content of the records of each partition. The source's
    records are counted again where it still has them all."""
    async with log_client(migration.broker) as client, block_client(migration.broker) as blocks:
        positions = (await _positions(client, migration)).values()
        checked = []
        for partition in range(migration.targets):
            copied = sum(position.counts[partition] for position in positions)
            wanted = sum(position.sums[partition] for position in positions) & _MASK
            checked.append(await _check(blocks, migration, partition, copied, wanted, tell))
        for position in positions:
            await _recount(blocks, migration, position, tell)
    return checked


async def _check(
    blocks: AIOKafkaConsumer, migration: Migration, partition: int, copied: int, wanted: int,
    tell: Callable[[int], None],
) -> PartitionChecked:  # fmt: skip
    bounds = await bounds_of(blocks, migration.target, partition)
    found = total = 0
    async for block in read_range(blocks, migration.target, partition, *bounds):
        found += len(block)
        total += _sum(block)
        tell(len(block))
    same = (found, total & _MASK) == (copied, wanted)
    return PartitionChecked(partition=partition, copied=copied, found=found, same=same, complete=bounds.begin == 0)


def _sum(block: RecordBlock) -> int:
    return sum(map(_digest, block))


async def _recount(
    blocks: AIOKafkaConsumer, migration: Migration, position: _Position, tell: Callable[[int], None]
) -> None:
    """The source holds as many records as were copied of it, as far as it still has them."""
    bounds = await bounds_of(blocks, migration.source, position.partition)
    if bounds.begin > position.first:
        return
    count = 0
    async for block in read_range(blocks, migration.source, position.partition, position.first, position.next):
        count += len(block)
        tell(len(block))
    copied = sum(position.counts)
    if count != copied:
        raise CommandRefusedError(
            f"{migration.source}/{position.partition} holds {count} records before {position.next}, {copied} were "
            "copied.",
            remedy="Was the source compacted meanwhile? Otherwise please report it; do not switch over.",
        )
