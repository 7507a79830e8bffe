"""The ingest role: readings in, verdicts and every other result out, one transaction a batch.

The Faust agent is thin: a batch of a partition goes to the :class:`PartitionOwner` of that partition. This module
gives partitions their owners when the group assigns them, and takes them away again:

- assigned: fence (open the partition's transactional producer), read its ledger, rebuild the state from the log;
- revoked: let what is folded be committed;
- lost to an error: take it again if it is still ours, or end the worker where going on would break a promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from aiokafka.errors import IllegalStateError, ProducerFenced
from faust.types import TP

from oddtide.domain.errors import ConfigurationError, OddtideError, SchemaVersionError, StateMismatchError
from oddtide.streams.agents.fences import Fences
from oddtide.streams.agents.gathering import all_of, maybe_a_bug, reason_of
from oddtide.streams.agents.storing import worker_snapshots
from oddtide.streams.app import WorkerContext, batch_agent, make_app
from oddtide.streams.codecs.decoded import RecordLike
from oddtide.streams.controls import ControlBoard, ControlSource
from oddtide.streams.folding import FoldCosts
from oddtide.streams.inbox import pace
from oddtide.streams.ledger import LogEnds, PartitionLedger, read_ledgers
from oddtide.streams.owner import PartitionOwner, Services
from oddtide.streams.parts import WorkerParts
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.restore_report import RestoreReport
from oddtide.streams.restoring import SnapshotRefusedError
from oddtide.streams.results import result_records
from oddtide.streams.takeover import Takeover
from oddtide.streams.transactions import PartitionWriter
from oddtide.streams.transport import BatchApp

__all__ = ["build"]

ROLE = "ingest"
_RETRY_S = 1.0
_TICK_S = 1.0
#: What trying again does not mend.
_LASTING = (StateMismatchError, SchemaVersionError, ConfigurationError)

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Holding:
    owner: PartitionOwner
    writer: PartitionWriter


class _Partitions:
    """The partitions that this worker holds."""

    def __init__(self, app: BatchApp, context: WorkerContext, parts: WorkerParts) -> None:
        self._app = app
        self._context = context
        self._parts = parts
        self._plans = {plan.topic: plan for plan in parts.plans}
        self._held: dict[TP, _Holding] = {}
        self._lock = asyncio.Lock()
        self._costs = FoldCosts()
        self._tasks: set[asyncio.Task[None]] = set()
        self._board = ControlBoard(
            context.broker, context.catalogue, parts.plans, self._blind, worker=context.worker, clock=context.clock,
            settings=parts.settings,
        )  # fmt: skip
        self._source = ControlSource(self._board.controls.pipelines, parts.artifacts)
        self._ends = LogEnds(context.broker)
        self._takeover = Takeover(worker_snapshots(context, parts), self._source, self._board.plan, self._fresh)
        self._fences = Fences()
        self._report = RestoreReport()

    async def tick(self) -> None:
        """Note how far the partitions go, also those that nothing comes out of at the moment, and let their owners do
        what is due."""
        for tp, held in list(self._held.items()):
            end = self._app.consumer.highwater(tp)
            if end and not held.owner.dead:
                self._context.progress.extent(tp.topic, tp.partition, int(end))
        self._report.tell(self._context.progress.snapshot())
        await asyncio.gather(*(held.owner.tick() for held in list(self._held.values())))

    def assigned(self) -> set[TP]:
        """The readings partitions that the group gave us."""
        return {TP(tp.topic, tp.partition) for tp in self._app.consumer.assignment() if tp.topic in self._plans}

    async def positions(self, assigned: set[TP]) -> Mapping[TP, int]:
        """Where each held partition goes on: its state's position."""
        return {tp: held.owner.processor.position for tp, held in self._held.items() if tp in assigned}

    async def handle(self, tp: TP, records: Sequence[RecordLike], acknowledge: Callable[[], None]) -> None:
        """Hand a batch to its owner. One for a partition that we do not hold is left alone: taking it seeks back."""
        held = self._held.get(tp)
        if held is None or held.owner.dead:
            return
        await held.owner.feed(records, acknowledge)

    async def on_rebalance_complete(self, *_: Any, **__: Any) -> None:
        """The group has settled: hold exactly what it gave us."""
        generation = self._app.consumer_generation_id
        self._context.progress.rebalanced()
        await self._let_go()
        while generation == self._app.consumer_generation_id and not self._app.should_stop:
            try:
                await self._board.start()
                await self._take(self.assigned())
                await self._let_go()  # what a take that was under way since the rebalance before has brought
                self._context.progress.role(ROLE, "running")
                return
            except _LASTING as error:
                await self._give_up(error)
                return
            except Exception as error:
                _log.warning("cannot take partitions yet", reason=reason_of(error))
                self._context.progress.role(ROLE, "degraded", reason_of(error))
                await asyncio.sleep(_RETRY_S)

    async def _let_go(self) -> None:
        await all_of(self._release(tp) for tp in set(self._held) - self.assigned())

    async def on_partitions_revoked(self, *_: Any, **__: Any) -> None:
        """Let everything folded be committed before another worker may take it, and leave a snapshot for that one."""
        patience = self._context.session_timeout_s / 2
        await asyncio.gather(*(held.owner.part(patience) for held in self._held.values()))

    async def on_before_shutdown(self, *_: Any, **__: Any) -> None:
        """Commit what is folded, then let go of everything, within seconds whatever the cluster does."""
        await self.on_partitions_revoked()
        await all_of([*map(self._release, list(self._held)), self._board.stop(), self._ends.stop()])
        for begun in self._context.progress.snapshot().partitions:  # one that was about to be taken
            self._context.progress.drop(begun.health.topic, begun.health.partition)

    async def _release(self, tp: TP) -> None:
        held = self._held.pop(tp)
        held.owner.close()
        held.owner.processor.close()
        self._context.progress.drop(tp.topic, tp.partition)
        self._takeover.let_go(tp.topic, tp.partition)
        await held.writer.close()

    async def _take(self, wanted: Iterable[TP]) -> None:
        """Fence, read the ledgers, and begin a new ownership of each of ``wanted`` that is still ours."""
        async with self._lock:
            by_topic: dict[str, list[int]] = {}
            for tp in sorted(set(wanted) & self.assigned()):
                by_topic.setdefault(tp.topic, []).append(tp.partition)
            await all_of(self._take_topic(topic, parts) for topic, parts in by_topic.items())

    async def _take_topic(self, topic: str, partitions: list[int]) -> None:
        plan, context = self._plans[topic], self._context
        for partition in partitions:
            context.progress.place(plan.name, topic, partition, "restoring")
        writers = {partition: self._writer(topic, partition) for partition in partitions}
        try:
            await all_of(writer.open() for writer in writers.values())
            ledgers, starts = await asyncio.gather(
                self._read_ledgers(plan, partitions), self._ends.earliest(topic, partitions)
            )
            await self._begin_all(plan, writers, ledgers, starts)
        except BaseException:
            held = {id(holding.writer) for holding in self._held.values()}
            await asyncio.gather(*(writer.close() for writer in writers.values() if id(writer) not in held))
            raise

    def _writer(self, topic: str, partition: int) -> PartitionWriter:
        return PartitionWriter(self._context.broker, f"{self._context.application}-{topic}-{partition}")

    def _fresh(self, plan: StreamPlan, partition: int) -> PartitionProcessor:
        parts, application = self._parts, self._context.application
        return PartitionProcessor(
            plan, parts.toolkit, application=application, partition=partition, sleeping=parts.sleeping
        )

    async def _read_ledgers(self, plan: StreamPlan, partitions: Collection[int]) -> dict[int, PartitionLedger]:
        refused = {partition: self._takeover.refusals(plan.topic, partition) for partition in partitions}
        topic = self._context.catalogue.ledger_of(plan.topic)
        ledgers = await read_ledgers(self._context.broker, topic, partitions, refused)
        await self._board.know(plan.name, (version for ledger in ledgers.values() for version in ledger.pipelines))
        return ledgers

    async def _begin_all(
        self,
        plan: StreamPlan,
        writers: Mapping[int, PartitionWriter],
        ledgers: Mapping[int, PartitionLedger],
        starts: Mapping[int, int],
    ) -> None:
        """Begin every partition; where snapshots turn out to be bad, its ledger is read farther back."""
        while ledgers:
            await all_of(self._begin(plan, p, writers[p], ledger, starts[p]) for p, ledger in ledgers.items())
            held = {id(holding.writer) for holding in self._held.values()}
            ledgers = await self._read_ledgers(plan, [p for p in ledgers if id(writers[p]) not in held])

    async def _begin(
        self, plan: StreamPlan, partition: int, writer: PartitionWriter, ledger: PartitionLedger, earliest: int
    ) -> None:
        """Begin an ownership, unless the ledger was not read far enough back for that."""
        old = self._held.get(tp := TP(plan.topic, partition))
        kept = old.owner.processor if old is not None and old.owner.keepable else None
        found = await self._takeover.find(plan, partition, ledger, earliest, kept)
        if found is None:
            return
        if old is not None:
            old.owner.close()
            self._later(old.writer.close())
            if old.owner.processor is not found.processor:
                old.owner.processor.close()
        services = self._services(tp, plan, writer)
        owner = PartitionOwner(found.processor, found.ledger, found.beginning, found.snapshots, services)
        self._held[tp] = _Holding(owner, writer)
        _log.info(
            "holds partition", topic=tp.topic, partition=tp.partition, begun_from=found.beginning.source,
            snapshot=found.beginning.reference, state_at=found.processor.position, ledger_at=owner.committed,
            to_fold_silently=max(owner.committed - found.processor.position, 0),
        )  # fmt: skip

    def _services(self, tp: TP, plan: StreamPlan, writer: PartitionWriter) -> Services:
        async def seek(offset: int) -> None:
            try:
                await self._app.consumer.seek_wait({tp: offset})
            except IllegalStateError:  # taken from us meanwhile: whoever gets it begins at the ledger's position
                _log.info("not sought: no longer ours", topic=tp.topic, partition=tp.partition, offset=offset)

        return Services(
            commit=partial(self._commit, plan, writer),
            seek=seek,
            lost=partial(self._lost, tp),
            broken=lambda error: self._later(self._give_up(error)),
            highwater=lambda: int(self._app.consumer.highwater(tp)) or -1,
            earliest=lambda: self._ends.earliest_of(*tp),
            controls=self._board.controls,
            source=self._source,
            progress=self._context.progress,
            build=self._context.build,
            costs=self._costs,
            pace=lambda: pace(len(self._held)),
            clock=self._context.clock,
            at_end=lambda: self._ends.reached(self._app.consumer, *tp),
        )

    async def _commit(self, plan: StreamPlan, writer: PartitionWriter, outcomes: list[Outcome]) -> None:
        context = self._context
        await writer.commit(
            record
            for outcome in outcomes
            for record in result_records(
                outcome, plan, context.catalogue, context.source, context.build, context.worker
            )
        )

    def _lost(self, tp: TP, error: BaseException) -> None:
        _log.warning("partition lost", topic=tp.topic, partition=tp.partition, reason=reason_of(error))
        self._context.progress.place(self._plans[tp.topic].name, tp.topic, tp.partition, "failed")
        if isinstance(error, SnapshotRefusedError):
            self._takeover.refuse(tp.topic, tp.partition, error.reference, str(error))
        fenced, held = isinstance(error, ProducerFenced), self._held.get(tp)
        if fenced:
            self._context.progress.fenced()
        for_good = self._fences.fenced(tp, held.owner.committed) if fenced and held is not None else None
        self._later(self._give_up(for_good) if for_good is not None else self._retake(tp, fenced=fenced))

    async def _retake(self, tp: TP, *, fenced: bool) -> None:
        """Take a partition again that was lost without a rebalance (broker restarted, transaction timed out). After
        being fenced, first let the group tell who is a member, or two owners would fence each other for ever."""
        generation, lost = self._app.consumer_generation_id, self._held.get(tp)
        await asyncio.sleep(self._context.session_timeout_s + 1 if fenced else _RETRY_S)
        while self._still_ours(tp, lost, generation):
            try:
                await self._take([tp])
                await self._app.consumer.seek_wait({tp: self._held[tp].owner.processor.position})
                return
            except _LASTING as error:
                await self._give_up(error)
                return
            except Exception as error:
                _log.warning("cannot take partition back yet", partition=tp.partition, reason=reason_of(error))
                await asyncio.sleep(_RETRY_S)

    def _still_ours(self, tp: TP, lost: _Holding | None, generation: int) -> bool:
        same = self._held.get(tp) is lost and generation == self._app.consumer_generation_id
        return same and not self._app.should_stop and tp in self.assigned()

    def _blind(self, error: OddtideError) -> None:
        """A control topic can be read no further: what is published there would be missed in silence."""
        self._later(self._give_up(error))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_up(self, error: BaseException) -> None:
        _log.error("stopping: going on would break a promise", reason=reason_of(error), exc_info=maybe_a_bug(error))
        await self._app.crash(error)


def build(context: WorkerContext, parts: WorkerParts) -> BatchApp:
    """The Faust app of the ingest role."""
    app = make_app(context, ROLE, blocks=True)
    partitions = _Partitions(app, context, parts)
    app.positions = partitions.positions
    app.on_rebalance_complete.connect(partitions.on_rebalance_complete)
    app.on_partitions_revoked.connect(partitions.on_partitions_revoked)
    app.on_before_shutdown.connect(partitions.on_before_shutdown)
    app.timer(_TICK_S)(partitions.tick)
    batch_agent(app, [plan.topic for plan in parts.plans], partitions.handle, ROLE)
    return app
