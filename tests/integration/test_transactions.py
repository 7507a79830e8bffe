"""A partition's producer against a real Kafka."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka.errors import ProducerFenced

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
