"""What the tests of the agents share: topics of a small application, events in, events out."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from mode import Service

from oddtide.domain.detection.ports import Detector, DetectorSpec
from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.drift.ports import MonitorFactory
from oddtide.domain.errors import NotFoundError
from oddtide.domain.events import Message
from oddtide.streams.agents.logs import read_topic
from oddtide.streams.app import WorkerContext
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.envelope import derive_id
from oddtide.streams.parts import WorkerParts
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import LoggedEvent, Toolkit
from oddtide.streams.progress import ProgressBoard
from oddtide.streams.publisher import EventPublisher, Outgoing
from oddtide.streams.topics import TopicCatalogue

PATIENCE_S = 60.0
_T = TypeVar("_T")
_NUMBERS = itertools.count(1)


async def eventually(look: Callable[[], Awaitable[_T]], good: Callable[[_T], bool]) -> _T:
    """Look until what is seen is good; fails with the last sight when patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        seen = await look()
        if good(seen):
            return seen
        assert time.monotonic() < deadline, f"never came true; last seen: {seen!r}"
        await asyncio.sleep(0.05)


class Memory:
    """Read models in memory: positions and every event, in one step."""

    def __init__(self) -> None:
        self.events: dict[str, list[LoggedEvent]] = {}
        self.at: dict[str, dict[tuple[str, int], int]] = {}
        self.failures: list[Exception] = []

    def positions(self, projection: str) -> Mapping[tuple[str, int], int]:
        return dict(self.at.get(projection, {}))

    def fold(self, projection: str, events: Sequence[LoggedEvent], positions: Mapping[tuple[str, int], int]) -> None:
        if self.failures:
            raise self.failures.pop()
        at = self.at.setdefault(projection, {})
        fresh = [event for event in events if event.offset >= at.get((event.topic, event.partition), 0)]
        self.events.setdefault(projection, []).extend(fresh)
        at.update(positions)


class Shelf:
    """Artifacts in memory."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def put(self, name: str, content: bytes) -> tuple[str, str]:
        self.content[name] = content
        return name, derive_id(content.hex())

    def get(self, reference: str, digest: str) -> bytes:
        if reference not in self.content:
            raise NotFoundError(f"no artifact {reference!r}.")
        return self.content[reference]


class Clock:
    """A clock that runs with the machine's and can be moved ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> int:
        return time.time_ns() + int(self.ahead_s * 1e9)


@dataclass
class Application:
    """A small application of its own on the session's Kafka."""

    kafka: str
    prefix: str
    folder: Path
    partitions: int = 3
    plans: tuple[StreamPlan, ...] = ()
    clock: Clock = field(default_factory=Clock)

    @property
    def catalogue(self) -> TopicCatalogue:
        streams = tuple((plan.name, plan.topic, 2) for plan in self.plans)
        return TopicCatalogue(streams, prefix=self.prefix, partitions=self.partitions)

    async def create(self) -> None:
        """Make the topics."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        await admin.create_topics([NewTopic(spec.name, spec.partitions, 1) for spec in self.catalogue.all()])
        await admin.close()

    def context(self, **changes: Any) -> WorkerContext:
        """A worker of this application."""
        fields: dict[str, Any] = {
            "application": self.prefix,
            "broker": BrokerAccess(self.kafka),
            "catalogue": self.catalogue,
            "worker": f"w{next(_NUMBERS)}",
            "host": "localhost",
            "pid": 1,
            "build": "test",
            "folder": self.folder,
            "clock": self.clock,
            "session_timeout_s": 6.0,
            "heartbeat_s": 0.5,
            "progress": ProgressBoard(),
        }
        return WorkerContext(**{**fields, **changes})

    def parts(self, **changes: Any) -> WorkerParts:
        """What roles are made of here."""
        fields: dict[str, Any] = {
            "plans": self.plans, "toolkit": Toolkit(_no_detector, _no_monitors), "artifacts": Shelf(),
            "trainer": _no_trainer,
        }  # fmt: skip
        return WorkerParts(**{**fields, **changes})

    @asynccontextmanager
    async def publisher(self) -> AsyncIterator[EventPublisher]:
        """Someone who says things on the topics."""
        publisher = EventPublisher(self.context())
        await publisher.start()
        try:
            yield publisher
        finally:
            await publisher.stop()

    async def publish(self, role: str, events: Sequence[Message], *, partition: int = 0, key: str = "k") -> list[str]:
        """Publish events to one partition of a topic; returns their envelopes' ids."""
        ids = [derive_id(self.prefix, role, next(_NUMBERS)) for _ in events]
        topic = self.catalogue.name(role)
        async with self.publisher() as publisher:
            await publisher.publish_all(
                Outgoing(topic, event, id, key, partition) for event, id in zip(events, ids, strict=True)
            )
        return ids

    async def logged(self, role: str) -> list[LoggedEvent]:
        """Everything on a topic so far."""
        spec = self.catalogue.find(self.catalogue.name(role))
        assert spec is not None
        return [logged async for logged in read_topic(BrokerAccess(self.kafka), spec.name, spec.partitions)]

    async def events(self, role: str, kind: type[_T]) -> list[_T]:
        """The events of exactly this type on a topic so far."""
        return [logged.event for logged in await self.logged(role) if type(logged.event) is kind]


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    """Services from start to a clean end."""
    started: list[Service] = []
    try:
        for service in services:
            await service.start()
            started.append(service)
        yield
    finally:
        for service in reversed(started):
            await service.stop()


def _no_detector(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    raise AssertionError("these roles score nothing")


def _no_monitors(policy: DriftPolicy) -> MonitorFactory:
    raise AssertionError("these roles watch for no drift")


def _no_trainer(*_: object) -> Any:
    raise AssertionError("this test trains nothing")
