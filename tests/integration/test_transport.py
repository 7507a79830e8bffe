"""The contract with Faust's and aiokafka's private parts that the batch transport leans on."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiokafka.producer.sender as sender
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.types import TP

from oddtide.streams.app import WorkerContext, batch_agent, make_app
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.topics import TopicCatalogue
from oddtide.streams.transport import PositionSource


def context_of(kafka: str, name: str, folder: Path) -> WorkerContext:
    return WorkerContext(
        application=name,
        broker=BrokerAccess(kafka),
        catalogue=TopicCatalogue((), prefix=name),
        worker="w1",
        host="localhost",
        pid=os.getpid(),
        build="test",
        folder=folder,
        clock=time.time_ns,
        session_timeout_s=6.0,
    )


async def create_topic(kafka: str, name: str, partitions: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1)])
    await admin.close()


@asynccontextmanager
async def producing(kafka: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


class Received:
    """What an agent was handed, and a way to wait for it."""

    def __init__(self) -> None:
        self.batches: list[tuple[TP, Any]] = []
        self._more = asyncio.Event()

    async def handle(self, tp: TP, records: Any, acknowledge: Callable[[], None]) -> None:
        self.batches.append((tp, records))
        acknowledge()
        self._more.set()

    @property
    def values(self) -> list[bytes]:
        return [record.value for _, records in self.batches for record in records]

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.values) < count:
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def agent_on(
    context: WorkerContext, topic: str, positions: PositionSource | None = None, *, blocks: bool = False
) -> AsyncIterator[Received]:
    received = Received()
    app = make_app(context, "test", positions=positions, blocks=blocks)
    batch_agent(app, [topic], received.handle, "test")
    await app.start()
    try:
        yield received
    finally:
        await app.stop()


async def test_an_agent_is_handed_batches_and_acknowledges_them_once(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    topic, context = f"{topic_prefix}.in", context_of(kafka, topic_prefix, tmp_path)
    await create_topic(kafka, topic)
    async with producing(kafka) as producer:
        for i in range(500):
            await producer.send(topic, b"%d" % i, headers=[("h", b"v")])
    async with agent_on(context, topic) as received:
        await received.until(500)
    assert received.values == [b"%d" % i for i in range(500)]
    assert len(received.batches) < 50
    tp, records = received.batches[0]
    assert (tp.topic, tp.partition) == (topic, 0)
    assert (records[0].offset, records[0].key, tuple(records[0].headers)) == (0, None, (("h", b"v"),))
    assert abs(records[0].timestamp / 1000 - time.time()) < 600
    async with producing(kafka) as producer:
        await producer.send_and_wait(topic, b"next")
    async with agent_on(context, topic) as received:
        await received.until(1)
    assert received.values == [b"next"], "the group's commit was the end of the last batch"


async def test_positions_go_before_what_the_group_committed(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    topic, context = f"{topic_prefix}.in", context_of(kafka, topic_prefix, tmp_path)
    await create_topic(kafka, topic)
    async with producing(kafka) as producer:
        for i in range(10):
            await producer.send(topic, b"%d" % i)
    async with agent_on(context, topic) as received:
        await received.until(10)

    async def from_seven(assigned: set[TP]) -> Mapping[TP, int]:
        return {tp: 7 for tp in assigned if tp.topic == topic}

    async with agent_on(context, topic, from_seven) as received:
        await received.until(3)
    assert received.values == [b"7", b"8", b"9"]


async def test_blocks_hold_what_producers_sent_whatever_they_compress_with(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    topic, context = f"{topic_prefix}.in", context_of(kafka, topic_prefix, tmp_path)
    await create_topic(kafka, topic)
    sent = []
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        async with producing(kafka, compression_type=codec) as producer:
            for i in range(100):
                sent.append(b"%s %d" % (str(codec).encode(), i))
                await producer.send(topic, sent[-1], key=b"k", headers=[("h", b"v")])
    async with agent_on(replace(context, max_batch=150), topic, blocks=True) as received:
        await received.until(500)
    assert received.values == sent
    assert all(isinstance(batch, RecordBlock) and len(batch) <= 150 for _, batch in received.batches)
    record = received.batches[0][1][0]
    assert (record.offset, record.key, record.headers) == (0, b"k", (("h", b"v"),))
    assert abs(record.timestamp / 1000 - time.time()) < 600


@pytest.mark.parametrize("blocks", [False, True])
async def test_what_a_transaction_took_back_is_never_seen(
    kafka: str, topic_prefix: str, tmp_path: Path, blocks: bool
) -> None:
    topic, context = f"{topic_prefix}.in", context_of(kafka, topic_prefix, tmp_path)
    await create_topic(kafka, topic)
    async with producing(kafka, transactional_id=topic_prefix) as producer:
        async with producer.transaction():
            await producer.send(topic, b"kept")
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"taken back")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send(topic, b"kept too")
    async with agent_on(context, topic, blocks=blocks) as received:
        await received.until(2)
    assert received.values == [b"kept", b"kept too"]


def test_transactions_follow_one_another_without_a_long_pause(tmp_path: Path) -> None:
    make_app(context_of("localhost:1", "app", tmp_path), "test")
    assert sender.BACKOFF_OVERRIDE < 0.01
