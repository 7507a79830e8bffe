"""Which trained models are in force, as the models topic says. Every ingest worker reads all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from oddtide.domain.errors import OddtideError
from oddtide.domain.mlops.events import ModelPromoted, ModelRegistered
from oddtide.domain.observability.ledger import ControlApplied
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.logged import logged_events
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import LoggedEvent

__all__ = ["ChampionBoard", "Champions"]

BATCH_FAMILY = "pyod:"
CHAMPION = "champion"
_RETRY_S = 1.0

_log = structlog.get_logger(__name__)


class Champions:
    """A fold of the models topic: the champion of each (stream, detector)."""

    def __init__(self, plans: Iterable[StreamPlan]) -> None:
        self._detectors = {
            (plan.name, spec.name): spec.kind.removeprefix(BATCH_FAMILY)
            for plan in plans
            for spec in plan.detectors
            if spec.kind.startswith(BATCH_FAMILY)
        }
        self._registered: dict[str, ModelRegistered] = {}
        self._champions: dict[tuple[str, str], ModelPromoted] = {}

    @property
    def wanted(self) -> bool:
        """Whether any stream has a detector that needs a trained model."""
        return bool(self._detectors)

    def fold(self, logged: LoggedEvent) -> None:
        """Take the next event of the models topic."""
        event = logged.event
        if isinstance(event, ModelRegistered):
            self._registered[event.model] = event
        elif isinstance(event, ModelPromoted) and event.alias == CHAMPION:
            for key in self._served_by(event):
                self._champions[key] = event

    def _served_by(self, event: ModelPromoted) -> list[tuple[str, str]]:
        model = self._registered.get(event.model)
        if model is None:
            return []
        return [
            (stream, detector)
            for (stream, detector), algorithm in self._detectors.items()
            if stream == event.stream and algorithm == model.algorithm and model.detector in ("", detector)
        ]

    def due(self, stream: str, applied: dict[str, str], offset: int) -> list[ControlApplied]:
        """The controls that bring a partition of ``stream`` up to date, where ``applied`` maps its detectors to the
        digests of the models that they have."""
        return [
            ControlApplied(
                kind="model",
                offset=offset,
                detector=detector,
                artifact=event.artifact,
                model=event.model,
                version=event.version,
                digest=event.digest,
                causation=f"{event.model}@{event.version}",
            )
            for (of, detector), event in sorted(self._champions.items())
            if of == stream and applied.get(detector) != event.digest
        ]


class ChampionBoard:
    """Keeps :class:`Champions` up to date from the models topic, without a consumer group. ``blind`` is called once
    when it cannot follow any further (an event of a newer schema version)."""

    def __init__(
        self, broker: BrokerAccess, topic: str, champions: Champions, blind: Callable[[OddtideError], None]
    ) -> None:
        self.champions = champions
        self._blind = blind
        self._broker = broker
        self._topic = topic
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the topic to its present end, then follow it in the background. Does nothing where no stream has a
        detector that needs a model."""
        if not self.champions.wanted:
            return
        consumer = AIOKafkaConsumer(
            **self._broker.aiokafka_options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        try:
            await consumer.start()
            await self._catch_up(consumer)
        except BaseException:
            await consumer.stop()
            raise
        self._task = asyncio.create_task(self._follow(consumer))

    async def _catch_up(self, consumer: AIOKafkaConsumer) -> None:
        source = TopicPartition(self._topic, 0)
        consumer.assign([source])
        await consumer.seek_to_beginning(source)
        end = (await consumer.end_offsets([source]))[source]
        while await consumer.position(source) < end:
            await self._poll(consumer)

    async def stop(self) -> None:
        """Stop following."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        try:
            while True:
                try:
                    await self._poll(consumer)
                except KafkaError as error:
                    _log.warning("cannot read the models topic for now", reason=str(error) or type(error).__name__)
                    await asyncio.sleep(_RETRY_S)
        except OddtideError as error:
            self._blind(error)
        finally:
            await consumer.stop()

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        for source, records in (await consumer.getmany(timeout_ms=200)).items():
            for logged in logged_events(source.topic, source.partition, records):
                self.champions.fold(logged)
