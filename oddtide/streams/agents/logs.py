"""Reading our own topics outside of a consumer group: to rebuild a decider's state, to prime an audit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from oddtide.streams.broker import BrokerAccess
from oddtide.streams.logged import logged_events
from oddtide.streams.ports import LoggedEvent

__all__ = ["GroupPositions", "fetch_ranges", "log_client", "read_topic", "topic_bounds"]

_POLL_MS = 200


@asynccontextmanager
async def log_client(broker: BrokerAccess, group: str | None = None, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A connection of our own that reads committed records only, unless ``options`` of aiokafka say otherwise; it joins
    no group (``group`` is for its commits)."""
    usual = {
        "isolation_level": "read_committed", "enable_auto_commit": False, "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": 50,
    }  # fmt: skip
    consumer = AIOKafkaConsumer(**broker.aiokafka_options(), group_id=group, **{**usual, **options})
    await consumer.start()
    try:
        yield consumer
    finally:
        await asyncio.sleep(0)  # aiokafka's stop fails where a task of its own has not begun yet
        await consumer.stop()


async def topic_bounds(
    client: AIOKafkaConsumer, topic: str, partitions: Iterable[int]
) -> dict[TopicPartition, tuple[int, int]]:
    """First kept and next offset of each partition."""
    sources = [TopicPartition(topic, partition) for partition in partitions]
    begins, ends = await client.beginning_offsets(sources), await client.end_offsets(sources)
    return {source: (begins[source], ends[source]) for source in sources}


async def fetch_ranges(
    client: AIOKafkaConsumer, ranges: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
    """The records of ``[start, stop)`` of each partition, in order within it."""
    open_ranges = {source: bounds for source, bounds in ranges.items() if bounds[0] < bounds[1]}
    client.assign(list(open_ranges))
    for source, (start, _) in open_ranges.items():
        client.seek(source, start)
    while open_ranges:
        for source, records in (await client.getmany(*open_ranges, timeout_ms=_POLL_MS)).items():
            yield source, [record for record in records if record.offset < ranges[source][1]]
        open_ranges = {
            source: bounds for source, bounds in open_ranges.items() if await client.position(source) < bounds[1]
        }


async def read_topic(broker: BrokerAccess, topic: str, partitions: int) -> AsyncIterator[LoggedEvent]:
    """Every event of one of our topics up to its present end, in order within each partition."""
    async with log_client(broker) as client:
        bounds = await topic_bounds(client, topic, range(partitions))
        async for source, records in fetch_ranges(client, bounds):
            for logged in logged_events(source.topic, source.partition, records):
                yield logged


class GroupPositions:
    """Where an agent goes on whose position is its group's: after what was handled last, else at the group's commit,
    else at the oldest record.

    Without it, a record that is fetched while a rebalance stops the flow is lost where its partition has no commit yet:
    the seek back has nowhere to go.
    """

    def __init__(self, broker: BrokerAccess, group: str) -> None:
        self._broker = broker
        self._group = group
        self._next: dict[TP, int] = {}

    async def __call__(self, assigned: set[TP]) -> Mapping[TP, int]:
        """The next offset of each assigned partition."""
        unknown = sorted(assigned - set(self._next))
        if unknown:
            self._next.update(await self._committed(unknown))
        return {tp: self._next[tp] for tp in assigned}

    def handled(self, tp: TP, last: int) -> None:
        """The record at ``last`` and all before it were handled by this worker."""
        self._next[tp] = last + 1

    def forget(self) -> None:
        """The partitions were dealt anew: others may have handled more."""
        self._next.clear()

    async def _committed(self, unknown: Iterable[TP]) -> dict[TP, int]:
        sources = [TopicPartition(tp.topic, tp.partition) for tp in unknown]
        async with log_client(self._broker, self._group) as client:
            begins = await client.beginning_offsets(sources)
            found = {source: await client.committed(source) for source in sources}
        return {
            TP(*source): begins[source] if offset is None else max(offset, begins[source])
            for source, offset in found.items()
        }
