"""Topics read to their end, as committed readers or any others see them; and set."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from oddtide.domain.observability.ledger import BatchCompleted

__all__ = ["LedgerFollower", "has_holes", "log_ends", "read_all", "set_topic"]

Isolation = Literal["read_committed", "read_uncommitted"]


def _consumer(kafka: str, isolation: Isolation) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=kafka, isolation_level=isolation, enable_auto_commit=False, fetch_max_wait_ms=50
    )


async def read_all(
    kafka: str, topics: Mapping[str, int], isolation: Isolation = "read_committed"
) -> dict[str, list[Any]]:
    """Everything on ``topics`` (name: partitions) that such a reader sees, in the order of each partition."""
    found: dict[str, list[Any]] = {topic: [] for topic in topics}
    sources = [TopicPartition(topic, p) for topic, count in topics.items() for p in range(count)]
    async with _consumer(kafka, isolation) as consumer:
        consumer.assign(sources)
        await consumer.seek_to_beginning(*sources)
        ends = await consumer.end_offsets(sources)
        unread = [source for source in sources if await consumer.position(source) < ends[source]]
        while unread:
            for source, records in (await consumer.getmany(*unread, timeout_ms=100)).items():
                found[source.topic] += records
            unread = [source for source in unread if await consumer.position(source) < ends[source]]
    return found


class LedgerFollower:
    """Follows the ledger of a readings topic: how far each partition is, while it runs."""

    def __init__(self, kafka: str, ledger: str, partitions: int) -> None:
        self._consumer = _consumer(kafka, "read_committed")
        self._sources = [TopicPartition(ledger, p) for p in range(partitions)]
        self.position = dict.fromkeys(range(partitions), 0)
        #: The offset of the newest snapshot that the ledger names, by partition; -1 for none.
        self.snapshot = dict.fromkeys(range(partitions), -1)
        #: Seconds (monotonic clock) at which the last ledger record was seen, by partition.
        self.seen_at = dict.fromkeys(range(partitions), 0.0)
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LedgerFollower:
        await self._consumer.start()
        self._consumer.assign(self._sources)
        await self._consumer.seek_to_beginning(*self._sources)
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    async def _follow(self) -> None:
        while True:
            for source, records in (await self._consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    batch = msgspec.json.decode(record.value, type=BatchCompleted)
                    self.position[source.partition] = batch.to_offset
                    self.snapshot[source.partition] = batch.snapshot.offset if batch.snapshot else -1
                self.seen_at[source.partition] = time.monotonic()
            self._moved.set()

    async def reached(self, ends: Mapping[int, int], timeout_s: float) -> list[int]:
        """Wait until every partition is at its end; returns those that are not within ``timeout_s``."""
        return await self._until(lambda: [p for p, end in ends.items() if self.position[p] < end], timeout_s)

    async def moved_on(self, since: float, partitions: Iterable[int], timeout_s: float) -> list[int]:
        """Wait until each partition has a ledger record seen after ``since``; returns those that have none in time."""
        wanted = list(partitions)
        return await self._until(lambda: [p for p in wanted if self.seen_at[p] <= since], timeout_s)

    async def snapshots_after(self, offsets: Mapping[int, int], timeout_s: float) -> list[int]:
        """Wait until each ledger names a snapshot beyond the offset; returns the partitions whose does not in time."""
        return await self._until(lambda: [p for p, at in offsets.items() if self.snapshot[p] <= at], timeout_s)

    async def _until(self, behind: Callable[[], list[int]], timeout_s: float) -> list[int]:
        deadline = time.monotonic() + timeout_s
        left = behind()
        while left and time.monotonic() < deadline:
            self._moved.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), 1.0)
            left = behind()
        return left


async def log_ends(kafka: str, topic: str, partitions: int) -> dict[int, int]:
    """The offset after the last committed record, by partition; holes at the end do not count."""
    records = (await read_all(kafka, {topic: partitions}))[topic]
    return {record.partition: record.offset + 1 for record in records}


async def has_holes(kafka: str, topic: str, partitions: int) -> bool:
    """Whether every partition of the topic has lost records in its middle."""
    records = (await read_all(kafka, {topic: partitions}))[topic]
    held = Counter(record.partition for record in records)
    last = {record.partition: record.offset for record in records}
    return len(held) == partitions and all(held[p] <= last[p] for p in held)


async def set_topic(kafka: str, topic: str, settings: Mapping[str, str]) -> None:
    """Set a topic's own settings."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(settings))])
    finally:
        await admin.close()
