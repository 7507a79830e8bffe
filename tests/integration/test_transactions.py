"""A partition's producer against a real Kafka."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from oddtide.streams.broker import BrokerAccess
from oddtide.streams.results import ResultRecord
from oddtide.streams.transactions import PartitionWriter
from tests.integration.test_transport import create_topic


async def test_a_fenced_writer_says_so_once_and_leaves_no_error_unseen(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}.written"
    await create_topic(kafka, topic, 2)
    records = [ResultRecord(topic, partition, None, b"x", []) for partition in (0, 1)]
    complaints: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    first, second = (PartitionWriter(BrokerAccess(kafka), topic_prefix) for _ in range(2))
    await first.open()
    await first.commit(records)
    await second.open()
    with pytest.raises(ProducerFenced):
        await first.commit(records)
    await first.close()
    await second.commit(records)
    await second.close()
    del first
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_a_transaction_holds_many_records_in_order_of_their_topic(kafka: str, topic_prefix: str) -> None:
    topic, other = f"{topic_prefix}.written", f"{topic_prefix}.other"
    await create_topic(kafka, topic, 2)
    await create_topic(kafka, other)
    many = [ResultRecord(topic, i % 2, b"k", b"%d" % i + b" " * 2000, [("h", b"v")]) for i in range(2000)]
    writer = PartitionWriter(BrokerAccess(kafka), topic_prefix)
    await writer.open()
    await writer.commit([*many, ResultRecord(other, 0, None, None, [("h", b"both are null")])])
    await writer.commit([ResultRecord(topic, 0, b"k", b"the end", []), ResultRecord(other, 0, None, b"the end", [])])
    await writer.close()
    found = await committed(kafka, topic, 2)
    for partition in (0, 1):
        values = [r.value for r in found if r.partition == partition and r.value != b"the end"]
        assert values == [r.value for r in many if r.partition == partition]
        assert all(r.headers == (("h", b"v"),) for r in found if r.value != b"the end")
    assert [(r.key, r.value) for r in await committed(kafka, other, 1)] == [(None, None), (None, b"the end")]


async def test_what_cannot_be_written_whole_is_not_committed_in_part(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}.written"
    await create_topic(kafka, topic)
    writer = PartitionWriter(BrokerAccess(kafka), topic_prefix)
    await writer.open()
    with pytest.raises(KafkaError):
        await writer.commit([ResultRecord(topic, 0, None, value, []) for value in (b"small", bytes(2 << 20))])
    await writer.close()
    after = PartitionWriter(BrokerAccess(kafka), topic_prefix)
    await after.open()
    await after.commit([ResultRecord(topic, 0, None, value, []) for value in (b"after", b"the end")])
    await after.close()
    assert [r.value for r in await committed(kafka, topic, 1)] == [b"after", b"the end"]


async def committed(kafka: str, topic: str, partitions: int) -> list[Any]:
    """Everything up to the partitions' ends that is committed."""
    sources = [TopicPartition(topic, partition) for partition in range(partitions)]
    found: list[Any] = []
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False
    ) as consumer:
        consumer.assign(sources)
        await consumer.seek_to_beginning(*sources)
        async with asyncio.timeout(30):
            while not any(r.value == b"the end" for r in found) or len(found) < 2:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
    return found
