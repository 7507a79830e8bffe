"""The health role: silent workers noticed, ledgers audited, heartbeats and ledgers projected.

The app ``health`` reads the health topic and every ledger. The owner of the health topic's one partition notices who
fell silent; it goes by the log's own times, which every living worker moves on with its heartbeats, so a backlog makes
nobody look silent. Each ledger partition is audited by its owner: records that don't add up, or don't follow on the
one before, become ``LedgerBroken``. Without read models the role does the same and says that projections are off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from aiokafka import TopicPartition
from faust.types import TP
from mode import Service

from oddtide.domain.events import Event
from oddtide.domain.observability.events import LedgerBroken, WorkerLost
from oddtide.domain.observability.health import LedgerAudit, SilenceWatch
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.agents.logs import GroupPositions, fetch_ranges, log_client
from oddtide.streams.agents.patience import persistently
from oddtide.streams.agents.projecting import Projector
from oddtide.streams.agents.roles import Role
from oddtide.streams.app import WorkerContext, batch_agent, make_app
from oddtide.streams.envelope import derive_id
from oddtide.streams.logged import logged_events
from oddtide.streams.parts import WorkerParts
from oddtide.streams.ports import LoggedEvent
from oddtide.streams.publisher import EventPublisher, Outgoing
from oddtide.streams.topics import TopicCatalogue

__all__ = ["build"]

ROLE = "health"
_LEDGER_SUFFIX = TopicCatalogue.ledger_of("")
#: How far back an owner looks for what came before its first batch, in offsets: for the record before (a transaction's
#: marker takes one too), and for who was alive.
_LEDGER_BACK = 64
_HEALTH_BACK = 20_000

_log = structlog.get_logger(__name__)


def build(context: WorkerContext, parts: WorkerParts) -> Service:
    """The health role of a worker."""
    group = GroupPositions(context.broker, f"{context.application}-{ROLE}")
    projector = None
    if parts.read_models is None:
        _log.warning("projections are off: this worker has no read models", role=ROLE)
    else:
        projector = Projector(context, ROLE, parts.read_models)
    app = make_app(context, ROLE, positions=projector.positions if projector else group)
    publisher = EventPublisher(context)
    agent = _Health(context, publisher, projector, group)

    async def rebalanced(*_: Any, **__: Any) -> None:
        agent.keep({TP(tp.topic, tp.partition) for tp in app.consumer.assignment()})
        context.progress.role(ROLE, "running")

    app.on_rebalance_complete.connect(rebalanced, weak=False)
    ledgers = [context.catalogue.ledger_of(topic) for _, topic, _ in context.catalogue.streams]
    batch_agent(app, [context.catalogue.name("health"), *ledgers], agent.handle, ROLE)
    return Role([_Publishing(publisher), app])


class _Publishing(Service):
    """A publisher's life as a service."""

    def __init__(self, publisher: EventPublisher) -> None:
        super().__init__()
        self._publisher = publisher

    async def on_start(self) -> None:
        await self._publisher.start()

    async def on_stop(self) -> None:
        await self._publisher.stop()


class _Health:
    def __init__(
        self, context: WorkerContext, publisher: EventPublisher, projector: Projector | None, group: GroupPositions
    ) -> None:
        self._context = context
        self._publisher = publisher
        self._projector = projector
        self._group = group
        self._topic = context.catalogue.name("health")
        self._audit = LedgerAudit()
        self._watch = SilenceWatch()
        self._next: dict[TP, int] = {}

    def keep(self, assigned: set[TP]) -> None:
        """These partitions are ours; what we knew of others is out of date should they come back."""
        self._group.forget()
        for tp in set(self._next) - assigned:
            del self._next[tp]

    async def handle(self, tp: TP, records: list[Any], acknowledge: Callable[[], None]) -> None:
        """Watch or audit a batch, say what is wrong, project it."""
        if tp not in self._next:
            await self._persistently(lambda: self._look_back(tp, records[0].offset))
        events = logged_events(tp.topic, tp.partition, records)
        found = self._find(tp, [logged for logged in events if logged.offset >= self._next[tp]])
        self._next[tp] = max(self._next[tp], records[-1].offset + 1)
        if found:
            await self._persistently(lambda: self._publisher.publish_all(found))
        if self._projector is not None:
            await self._projector.fold(tp, records, events)
        self._group.handled(tp, records[-1].offset)
        acknowledge()

    def _find(self, tp: TP, events: Sequence[LoggedEvent]) -> list[Outgoing]:
        if tp.topic != self._topic:
            return [self._broken(one) for logged in events for one in self._see(logged)]
        found: list[Outgoing] = []
        for logged in events:
            self._apply(logged)
            found += [self._lost(lost) for lost in self._watch.due(logged.timestamp * 1_000_000)]
        return found

    def _see(self, logged: LoggedEvent) -> list[LedgerBroken]:
        return self._audit.see(logged.event) if isinstance(logged.event, BatchCompleted) else []

    def _apply(self, logged: LoggedEvent) -> None:
        if isinstance(logged.event, Event):
            self._watch.apply(logged.event, logged.timestamp * 1_000_000)

    def _lost(self, lost: WorkerLost) -> Outgoing:
        self._watch.apply(lost, 0)
        _log.warning("worker lost", worker=lost.worker, silent_s=lost.silent_s)
        return Outgoing(self._topic, lost, derive_id("lost", lost.worker, lost.last), lost.worker, 0, lost.time)

    def _broken(self, broken: LedgerBroken) -> Outgoing:
        _log.error(
            "ledger broken", topic=broken.topic, partition=broken.partition, offset=broken.offset,
            problem=broken.problem,
        )  # fmt: skip
        id = derive_id("broken", broken.topic, broken.partition, broken.offset, broken.problem)
        return Outgoing(self._topic, broken, id, self._context.worker, 0, broken.time)

    async def _look_back(self, tp: TP, first: int) -> None:
        """Fold what came before the first batch of a new ownership, in silence."""
        if tp.topic == self._topic:
            self._watch = SilenceWatch()
        else:
            self._audit.drop(tp.topic.removesuffix(_LEDGER_SUFFIX), tp.partition)
        source = TopicPartition(tp.topic, tp.partition)
        back = _HEALTH_BACK if tp.topic == self._topic else _LEDGER_BACK
        async with log_client(self._context.broker) as client:
            begin = (await client.beginning_offsets([source]))[source]
            async for _, records in fetch_ranges(client, {source: (max(begin, first - back), first)}):
                for logged in logged_events(tp.topic, tp.partition, records):
                    self._see(logged)
                    self._apply(logged)
        self._next[tp] = first

    async def _persistently(self, step: Callable[[], Awaitable[None]]) -> None:
        await persistently(step, lambda reason: self._context.progress.role(ROLE, *_state(reason)))


def _state(reason: str) -> tuple[Any, str]:
    return ("degraded", reason) if reason else ("running", "")
