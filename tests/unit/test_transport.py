"""Where a partition goes on after the flow was stopped, without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from oddtide.streams.transport import BatchApp, _BatchConsumer, _CommittedReads

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


class Full(_BatchConsumer):
    """A consumer whose buffers of its only partition have just become full. Says when it begins to wait."""

    should_stop = False

    def __init__(self) -> None:
        self.app: Any = SimpleNamespace(in_recovery=False)
        self._active_partitions, self._buffered_partitions = {OWN}, set()
        self._drained, self.waiting = asyncio.Event(), asyncio.Event()
        self.on_buffer_full(OWN)

    async def wait(self, *waited: Any, timeout: Any = None) -> Any:  # noqa: ASYNC109 - Faust's signature
        self.waiting.set()
        await waited[0]


async def test_more_is_asked_for_as_soon_as_a_full_buffer_has_room() -> None:
    """Not a second later, which is when Faust would look again."""
    consumer = Full()
    asking = asyncio.create_task(consumer._room())
    await consumer.waiting.wait()
    assert not asking.done()
    consumer.on_buffer_drop(OWN)
    await asking
    assert consumer._get_active_partitions() == {OWN}
    await consumer._room()  # and where there is room nothing is waited for


@pytest.mark.parametrize("ended", ["flow_active", "should_stop"])
async def test_full_buffers_hold_up_neither_a_rebalance_nor_the_end(ended: str) -> None:
    consumer = Full()
    setattr(consumer, ended, ended == "should_stop")
    await consumer._room()
    assert not consumer.waiting.is_set()


@pytest.mark.parametrize("closed", [True, False])
async def test_a_thread_that_ends_after_the_app_says_nothing(closed: bool) -> None:
    """Its traceback would be the last thing that a worker says, instead of why it ended."""

    class Loop:
        def is_closed(self) -> bool:
            return closed

        def call_soon_threadsafe(self, _: object) -> None:
            raise RuntimeError("Event loop is closed")

    thread: Any = object.__new__(_CommittedReads)
    thread.parent_loop, thread._shutdown = Loop(), asyncio.Event()
    if closed:
        thread.set_shutdown()
        return
    with pytest.raises(RuntimeError):
        thread.set_shutdown()
