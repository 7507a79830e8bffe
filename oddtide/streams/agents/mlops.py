"""The mlops role: models trained, registered, promoted; their registry projected.

One worker at a time decides (:mod:`.sole_owner`), since versions are numbered and aliases moved one after the other;
its state is a fold of the models topic. Commands are decided in order: one that waits behind a training is decided when
that ends. What was decided carries the command's id, so a command that is read twice is done once; a training that a
crash cut off is begun anew. A training that fails is ``TrainingFailed``, never a dead agent.

A drift whose stream says ``retrain`` becomes a ``TrainModel`` command of its own, one at a time for each model: what
drifts while a training is asked for is covered by it, since a training reads the newest of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog
from aiokafka.errors import KafkaError
from faust.types import TP
from mode import Service

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.drift.events import DetectorAdapted
from oddtide.domain.events import Event
from oddtide.domain.mlops.events import PromoteModel, TrainModel
from oddtide.domain.mlops.registry import Registry, default_name
from oddtide.domain.observability.events import CommandRefused
from oddtide.domain.readings import rfc3339
from oddtide.streams.agents.desk import Desk
from oddtide.streams.agents.logs import GroupPositions, read_topic
from oddtide.streams.agents.projecting import Projector
from oddtide.streams.agents.roles import Role
from oddtide.streams.agents.training import train_on_log
from oddtide.streams.app import WorkerContext, batch_agent, make_app
from oddtide.streams.controls import PublishedPipelines
from oddtide.streams.envelope import derive_id
from oddtide.streams.logged import logged_events
from oddtide.streams.parts import WorkerParts
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import LoggedEvent, ReadModels
from oddtide.streams.publisher import Outgoing
from oddtide.streams.transport import BatchApp

__all__ = ["build"]

ROLE = "mlops"
#: The family of detectors that are trained; an algorithm is named without it.
_FAMILY = "pyod:"
#: Drifts come by the dozen: for each of them the plan need not be read anew.
_RECENT_S = 10.0

_log = structlog.get_logger(__name__)


def build(context: WorkerContext, parts: WorkerParts) -> Service:
    """The mlops role of a worker."""
    services: list[Service] = [_registry(context, parts)]
    if parts.read_models is None:
        _log.warning("projections are off: this worker has no read models", role=ROLE)
    else:
        services.append(_projections(context, parts.read_models))
    return Role(services)


def _registry(context: WorkerContext, parts: WorkerParts) -> BatchApp:
    positions = GroupPositions(context.broker, f"{context.application}-models")
    app = make_app(context, "models", positions=positions)
    agent = _ModelDesk(app, context, parts, positions)
    batch_agent(app, [context.catalogue.name(role) for role in ("commands", "drift")], agent.handle, "models")
    return app


def _projections(context: WorkerContext, read_models: ReadModels) -> BatchApp:
    projector = Projector(context, ROLE, read_models)
    app = make_app(context, ROLE, positions=projector.positions)
    batch_agent(app, [context.catalogue.name("models")], projector.handle, ROLE)
    return app


class _ModelDesk:
    def __init__(self, app: BatchApp, context: WorkerContext, parts: WorkerParts, positions: GroupPositions) -> None:
        self._context = context
        self._parts = parts
        self._positions = positions
        self._plans = {plan.name: plan for plan in parts.plans}
        self._partitions = {topic: count for _, topic, count in context.catalogue.streams}
        self._topic = context.catalogue.name("models")
        self._commands = context.catalogue.name("commands")
        self._desk = Desk(app, context, "models", ROLE, self._begin)
        self._registry = Registry()
        self._pipelines, self._pipelines_at = PublishedPipelines(), 0
        self._asked: dict[str, str] = {}
        #: What came of the newest training: not to be trained again where only the logging of it failed.
        self._trained: dict[str, list[Event]] = {}

    async def handle(self, tp: TP, records: list[Any], acknowledge: Callable[[], None]) -> None:
        """Decide on a batch of commands, or turn a batch of drifts into commands."""
        decide = self._decide if tp.topic == self._commands else self._retrain
        async with self._desk.lock:
            for logged in logged_events(tp.topic, tp.partition, records):
                if not await self._desk.insist(partial(decide, logged), self._rebuild):
                    return
            self._positions.handled(tp, records[-1].offset)
            acknowledge()

    async def _begin(self) -> None:
        self._positions.forget()
        self._asked.clear()
        self._trained.clear()
        await self._rebuild()

    async def _rebuild(self) -> None:
        registry = Registry()
        async for logged in read_topic(self._context.broker, self._topic, 1):
            if isinstance(logged.event, Event):
                registry.apply(logged.event)
        self._registry = registry

    async def _decide(self, logged: LoggedEvent) -> None:
        command, id = logged.event, logged.envelope.id
        if not isinstance(command, TrainModel | PromoteModel) or self._registry.is_decided(id):
            return
        events: list[Event]
        if isinstance(command, PromoteModel):
            decided = self._registry.promote(command, id)
            events = [self._refusal(command, id, decided)] if isinstance(decided, str) else [decided]
        else:
            events = self._trained[id] if id in self._trained else await self._train(_without_family(command), id)
            self._trained = {id: events}
            self._asked.pop(command.model, None)
        await self._desk.log.append(
            [self._outgoing(event, command.model, id, place) for place, event in enumerate(events)]
        )
        self._registry.apply_all(events)
        for event in events:
            _log.info("model decision", decision=type(event).__name__, model=command.model, command=id)

    async def _plan(self, stream: str, *, max_age_s: float = 0.0) -> StreamPlan:
        """The plan that is to be in force, as the log said at most ``max_age_s`` ago: it may have been published since
        this worker started."""
        now = self._context.clock()
        if now - self._pipelines_at >= max_age_s * 1e9:
            pipelines = PublishedPipelines()
            async for logged in read_topic(self._context.broker, self._context.catalogue.name("pipelines"), 1):
                pipelines.fold(logged)
            self._pipelines, self._pipelines_at = pipelines, now
        newest = self._pipelines.newest(stream)
        return self._pipelines.plan(stream, newest.version) if newest else self._plans[stream]

    async def _train(self, command: TrainModel, id: str) -> list[Event]:
        objection = self._registry.objection(command, sorted(self._plans))
        if objection:
            return [self._refusal(command, id, objection)]
        plan = await self._plan(command.stream)
        try:
            training = await train_on_log(
                self._context.broker, plan, self._partitions[plan.topic], command, self._parts.trainer,
                self._parts.artifacts, self._context.clock,
            )  # fmt: skip
        except KafkaError:
            raise
        except Exception as error:  # whatever a model library raises is an answer to the person who asked
            reason = str(error) or type(error).__name__
            _log.warning("training failed", model=command.model, reason=reason)
            return [self._registry.failed(command, id, reason, self._now())]
        return self._registry.trained(command, id, training, _detector_named(plan, command.model))

    async def _retrain(self, logged: LoggedEvent) -> None:
        event = logged.event
        if not isinstance(event, DetectorAdapted) or event.policy != "retrain" or event.stream not in self._plans:
            return
        spec = _trained_detectors(await self._plan(event.stream, max_age_s=_RECENT_S)).get(event.detector)
        if spec is None:
            return
        algorithm = spec.kind.removeprefix(_FAMILY)
        model, id = self._registry.serving(event.stream, algorithm, event.detector), derive_id("retrain", event.id)
        if model in self._asked or self._registry.is_decided(id):
            return
        command = TrainModel(
            model=model, stream=event.stream, algorithm=algorithm, time=event.time, by="drift",
            parameters=dict(spec.parameters), promote=True, causation=event.id,
        )  # fmt: skip
        await self._desk.log.append([Outgoing(self._commands, command, id, model, 0, event.time, "", "", event.id)])
        self._asked[model] = id

    def _refusal(self, command: TrainModel | PromoteModel, id: str, reason: str) -> CommandRefused:
        name = type(command).__name__
        return CommandRefused(command=name, target=command.model, reason=reason, causation=id, time=self._now())

    def _outgoing(self, event: Event, model: str, command: str, place: int) -> Outgoing:
        id = derive_id(type(event).__name__, command, place)
        return Outgoing(self._topic, event, id, model, 0, getattr(event, "time", ""), model, "", command)

    def _now(self) -> str:
        return rfc3339(self._context.clock())


def _without_family(command: TrainModel) -> TrainModel:
    return msgspec.structs.replace(command, algorithm=command.algorithm.removeprefix(_FAMILY))


def _trained_detectors(plan: StreamPlan) -> Mapping[str, DetectorSpec]:
    return {spec.name: spec for spec in plan.detectors if spec.kind.startswith(_FAMILY)}


def _detector_named(plan: StreamPlan, model: str) -> str:
    """The detector after which a model is named; empty where it is named otherwise."""
    return next((name for name in _trained_detectors(plan) if default_name(plan.name, name) == model), "")
