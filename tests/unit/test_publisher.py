"""Publishing without Kafka: what fails is told once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from oddtide.domain.observability.events import WorkerStopped
from oddtide.streams import publisher
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.publisher import EventPublisher, Outgoing

STOPPED = WorkerStopped(worker="w", time="2026-01-01T00:00:00Z", reason="")


class Producer:
    """A producer that cannot start where there is no cluster, and whose records are never acknowledged."""

    cluster = True
    stopped = 0

    def __init__(self, **_: Any) -> None: ...

    async def start(self) -> None:
        if not self.cluster:
            raise KafkaConnectionError("nobody there")

    async def stop(self) -> None:
        Producer.stopped += 1

    async def send(self, *_: Any, **__: Any) -> asyncio.Future[None]:
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failed.set_exception(KafkaTimeoutError("too late"))
        return failed


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> EventPublisher:
    class Context:
        broker = BrokerAccess("nowhere:1")
        source = "/a/w"

    monkeypatch.setattr(publisher, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(Producer, "stopped", 0)
    return EventPublisher(cast(Any, Context()))


async def test_several_records_that_fail_raise_once_and_leave_no_error_unseen(events: EventPublisher) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await events.start()
    with pytest.raises(KafkaTimeoutError):
        await events.publish_all([Outgoing("health", STOPPED, str(i), "w") for i in range(3)])
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_a_producer_that_cannot_start_is_stopped(events: EventPublisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Producer, "cluster", False)
    with pytest.raises(KafkaConnectionError):
        await events.start()
    assert Producer.stopped == 1
