"""Where a partition goes on after the flow was stopped, without Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from oddtide.streams.transport import BatchApp, _BatchConsumer

OWN, COMMITTED, NEW = TP("t", 0), TP("t", 1), TP("t", 2)


class Thread:
    """The client's thread: one partition has a commit; the log of each begins at 5."""

    def __init__(self) -> None:
        self.sought: dict[TP, int] = {}

    async def start(self) -> None:
        self.client = AIOKafkaConsumer()

    def highwater(self, tp: TP) -> int | None:
        return self.client.highwater(TopicPartition(*tp))

    def assignment(self) -> set[TP]:
        return {OWN, COMMITTED, NEW}

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        return {OWN: None, COMMITTED: 7, NEW: None}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return dict.fromkeys(partitions, 5)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        self.sought.update(partitions)


@pytest.mark.parametrize("source", [True, False])
async def test_a_partition_with_neither_position_nor_commit_goes_back_to_its_oldest_record(source: bool) -> None:
    async def positions(assigned: set[TP]) -> Mapping[TP, int]:
        return {OWN: 9}

    app: Any = BatchApp.__new__(BatchApp)
    app.positions = positions if source else None
    consumer: Any = _BatchConsumer.__new__(_BatchConsumer)
    consumer.app, consumer._thread = app, Thread()
    own = 9 if source else 5
    assert await consumer.seek_to_committed() == {OWN: own, COMMITTED: 7, NEW: 5}
    assert consumer._thread.sought == {OWN: own, NEW: 5}


async def test_the_end_of_a_partition_that_was_taken_away_is_no_reason_to_end_the_worker() -> None:
    consumer: Any = _BatchConsumer.__new__(_BatchConsumer)
    consumer._thread = Thread()
    await consumer._thread.start()
    try:
        with pytest.raises(AssertionError, match="not assigned"):  # what aiokafka says
            consumer._thread.highwater(OWN)
        assert consumer.highwater(OWN) == 0
    finally:
        await consumer._thread.client.stop()
