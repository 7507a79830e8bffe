"""Deciding alerts over the log: the app ``alerts`` of the observability role.

One worker at a time decides (see :mod:`.sole_owner`), since an alert's causes, a person's commands and the passing of
time must be ordered among each other; the others stand by. Its state is a fold of the alerts topic.

*Exactly once in effect.* Causes are read from the group's commits on, so some are read twice after a crash; the alerts
in the log say which record each count came from, and what lies at or before it decides nothing. A count that is not
logged yet holds back the acknowledgement of its batch, so none is lost. An alert's events go to one partition, chosen
by kind, stream and series, so that reading the topic back gives each series' episodes in order.

*Quiet.* An episode ends by the progress of the partition that it comes from: the time of the newest record handled, or
the clock where everything there is handled. A backlog never ends one early.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import structlog
from aiokafka.errors import IllegalStateError
from faust.types import TP

from oddtide.domain.detection.events import SeriesReturned
from oddtide.domain.events import Event, Message
from oddtide.domain.observability.alerts import AlertDecider, PendingCount
from oddtide.domain.observability.events import (
    AcknowledgeAlert,
    AlertAcknowledged,
    AlertOpened,
    AlertResolved,
    AlertWithheld,
    CommandRefused,
    ResolveAlert,
)
from oddtide.domain.observability.policy import AlertPolicy
from oddtide.streams.agents.causes import cause_of
from oddtide.streams.agents.desk import Desk
from oddtide.streams.agents.logs import GroupPositions, read_topic
from oddtide.streams.app import WorkerContext, batch_agent, make_app
from oddtide.streams.envelope import derive_id
from oddtide.streams.logged import logged_events
from oddtide.streams.ports import LoggedEvent
from oddtide.streams.publisher import Outgoing
from oddtide.streams.transport import BatchApp

__all__ = ["build_alerts"]

_SOURCES = ("detections", "quality", "drift", "health", "commands")
_TICK_S = 1.0
#: Batches of a partition that wait for their counts to be logged, at most.
_MAX_HELD = 64
_SETTLE_TICKS = 60

_Pending: TypeAlias = Mapping[tuple[str, str, str], PendingCount]

_log = structlog.get_logger(__name__)


def build_alerts(context: WorkerContext, policy: AlertPolicy) -> BatchApp:
    """The Faust app that decides alerts."""
    positions = GroupPositions(context.broker, f"{context.application}-alerts")
    app = make_app(context, "alerts", positions=positions)
    agent = _Alerting(app, context, policy, positions)
    batch_agent(app, [context.catalogue.name(role) for role in _SOURCES], agent.handle, "alerts")
    app.timer(_TICK_S)(agent.tick)
    return app


class _Alerting:
    def __init__(self, app: BatchApp, context: WorkerContext, policy: AlertPolicy, positions: GroupPositions) -> None:
        self._app = app
        self._positions = positions
        self._context = context
        self._policy = policy
        self._topic = context.catalogue.name("alerts")
        self._desk = Desk(app, context, "alerts", "observability.alerts", self._begin)
        self._decider = AlertDecider(policy)
        self._homes: dict[str, int] = {}
        self._held: dict[TP, deque[tuple[int, Callable[[], None]]]] = {}
        self._reached: dict[TP, int] = {}
        self._active: set[TP] = set()
        self._acknowledged: dict[tuple[str, int], int] = {}
        self._settled: dict[tuple[str, int], int] = {}
        self._ticks = 0

    async def handle(self, tp: TP, records: list[Any], acknowledge: Callable[[], None]) -> None:
        """Decide on a batch; acknowledge it once every count that it changed is logged."""
        async with self._desk.lock:
            self._active.add(tp)
            pending = self._decider.pending()
            if not await self._desk.insist(partial(self._decide, tp, records), partial(self._rebuild, pending)):
                return
            self._positions.handled(tp, records[-1].offset)
            self._reached[tp] = records[-1].timestamp * 1_000_000
            held = self._held.setdefault(tp, deque())
            held.append((records[-1].offset, acknowledge))
            if len(held) > _MAX_HELD:
                await self._log_all(self._decider.held_back)
            self._release()

    async def tick(self) -> None:
        """End what is quiet, log what has waited long enough."""
        async with self._desk.lock:
            if not self._desk.is_ours:
                return
            moments = await self._moments()
            await self._log_all(lambda: self._decider.due(moments))
            await self._log_all(lambda: self._decider.digests(moments))
            self._release()
            self._ticks += 1
            if self._ticks % _SETTLE_TICKS == 0:
                self._settle()

    async def _begin(self) -> None:
        self._held.clear()
        self._reached.clear()
        self._acknowledged.clear()
        self._settled.clear()
        self._positions.forget()
        await self._rebuild({})

    async def _rebuild(self, pending: _Pending) -> None:
        decider = AlertDecider(self._policy)
        self._homes.clear()
        async for logged in read_topic(self._context.broker, self._topic, self._context.catalogue.partitions):
            if isinstance(logged.event, Event):
                decider.apply(logged.event)
                self._home(logged.event)
        decider.carry_over(pending)
        self._decider = decider

    async def _decide(self, tp: TP, records: list[Any]) -> None:
        decisions: list[Outgoing] = []
        for logged in logged_events(tp.topic, tp.partition, records):
            decisions += [self._outgoing(event) for event in self._follows(logged)]
        await self._log(decisions)

    def _follows(self, logged: LoggedEvent) -> list[Event]:
        if isinstance(logged.event, AcknowledgeAlert | ResolveAlert):
            events = self._decider.command(logged.event, logged.envelope.id)
            self._decider.apply_all(events)
            return events
        if isinstance(event := logged.event, SeriesReturned):
            events = self._decider.returned(event.stream, event.series, event.absence, event.time, event.id)
            self._decider.apply_all(events)
            return events
        cause = cause_of(logged)
        return self._decider.take(cause) if cause else []

    async def _log_all(self, decide: Callable[[], list[Event]]) -> None:
        async def step() -> None:
            events = decide()
            await self._log([self._outgoing(event) for event in events])
            self._decider.apply_all(events)

        if decide():
            await self._desk.insist(step, partial(self._rebuild, self._decider.pending()))

    async def _log(self, decisions: list[Outgoing]) -> None:
        await self._desk.log.append(decisions)
        self._context.progress.alerts(filter(None, (_outcome(each.event) for each in decisions)))

    async def _moments(self) -> dict[tuple[str, int], int]:
        now, moments = self._context.clock(), {}
        for tp in self._app.consumer.assignment():
            idle = tp not in self._active and await self._is_at_end(tp)
            moments[tp.topic, tp.partition] = now if idle else self._reached.get(tp, 0)
        self._active.clear()
        return moments

    async def _is_at_end(self, tp: TP) -> bool:
        try:
            end, position = self._app.consumer.highwater(tp), await self._app.consumer.position(tp)
        except IllegalStateError:  # taken from us meanwhile
            return False
        return position is not None and position >= end

    def _release(self) -> None:
        for tp, held in self._held.items():
            limit = self._decider.held_from(tp.topic, tp.partition)
            while held and (limit is None or held[0][0] < limit):
                offset, acknowledge = held.popleft()
                acknowledge()
                self._acknowledged[tp.topic, tp.partition] = offset + 1

    def _settle(self) -> None:
        """What was acknowledged a whole round ago is committed by now and will not be read again."""
        self._decider.settle(self._settled)
        self._settled = dict(self._acknowledged)

    def _home(self, event: Event) -> int:
        """The partition of an alert's events."""
        if isinstance(event, AlertOpened):
            partition = int(derive_id(event.kind, event.stream, event.series)[:8], 16)
            return self._homes.setdefault(event.alert, partition % self._context.catalogue.partitions)
        if isinstance(event, AlertResolved):
            return self._homes.pop(event.alert, 0)
        return self._homes.get(getattr(event, "alert", ""), 0)

    def _outgoing(self, event: Event) -> Outgoing:
        key, id, time, causation = _metadata(event)
        outcome = _outcome(event)
        if outcome and isinstance(event, AlertOpened | AlertResolved):
            _log.info(f"alert {outcome}", alert=key, why=_why(event))
        return Outgoing(self._topic, event, id, key, self._home(event), time, key, "", causation)


def _metadata(event: Event) -> tuple[str, str, str, str]:
    """Key, id, time and causation of a decision's record."""
    kind = type(event).__name__
    if isinstance(event, AlertOpened):
        return event.alert, derive_id(kind, event.alert, event.count), event.last, event.last_cause
    if isinstance(event, CommandRefused):
        return event.target, derive_id(kind, event.causation), event.time, event.causation
    assert isinstance(event, AlertAcknowledged | AlertResolved)
    return event.alert, derive_id(kind, event.alert, event.causation), event.time, event.causation


def _outcome(event: Message) -> str:
    """What became of an alert; empty where nothing did. An episode is withheld once, whatever more is logged of it."""
    first = not isinstance(event, AlertWithheld) or event.count == 1
    return {AlertOpened: "opened", AlertWithheld: "withheld", AlertResolved: "resolved"}.get(type(event), "") * first


def _why(event: AlertOpened | AlertResolved) -> str:
    return event.how if isinstance(event, AlertResolved) else event.summary
