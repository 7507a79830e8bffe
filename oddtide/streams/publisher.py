"""Publishing events: sealed in their envelope, acknowledged by the cluster before the call returns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from oddtide.domain.events import Message
from oddtide.streams.app import WorkerContext
from oddtide.streams.ending import closed_within
from oddtide.streams.envelope import seal

__all__ = ["EventPublisher", "Outgoing"]

#: Whoever published waited for it already: there is nothing left to send.
_STOP_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event on its way: ``partition`` None leaves the choice to the key's hash."""

    topic: str
    event: Message
    id: str
    key: str
    partition: int | None = None
    time: str = ""
    subject: str = ""
    correlation: str = ""
    causation: str = ""


class EventPublisher:
    """An idempotent producer of events, for everything but the hot path (which has transactions).

    Guaranteed: when :meth:`publish` returns, the event is in the log. Not guaranteed: that it is there once only if
    the process dies in between; ids are derived, so a repeat is recognised.
    """

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect."""
        producer = AIOKafkaProducer(
            **self._context.broker.aiokafka_options(), acks="all", enable_idempotence=True, linger_ms=2
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def stop(self) -> None:
        """Disconnect, within a few seconds whatever the cluster does. May be called twice."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await closed_within(_STOP_TIMEOUT_S, producer.stop())

    async def publish(
        self,
        topic: str,
        event: Message,
        *,
        id: str,
        key: str,
        partition: int | None = None,
        subject: str = "",
        causation: str = "",
        time: str = "",
    ) -> None:
        """Publish one event and wait until the cluster has it."""
        await self.publish_all([Outgoing(topic, event, id, key, partition, time, subject, "", causation)])

    async def publish_all(self, batch: Iterable[Outgoing]) -> None:
        """Publish events in order and wait until the cluster has all of them."""
        producer = self._producer
        if producer is None:
            raise RuntimeError("publish before start()")
        pending = [await self._send(producer, outgoing) for outgoing in batch]
        await asyncio.gather(*pending)

    async def _send(self, producer: AIOKafkaProducer, outgoing: Outgoing) -> Awaitable[Any]:
        value, headers = seal(
            outgoing.event,
            id=outgoing.id,
            source=self._context.source,
            time=outgoing.time,
            subject=outgoing.subject or outgoing.key,
            correlation=outgoing.correlation,
            causation=outgoing.causation,
        )
        sent: Awaitable[Any] = await producer.send(
            outgoing.topic, value, key=outgoing.key.encode() or None, partition=outgoing.partition, headers=headers
        )
        return sent
