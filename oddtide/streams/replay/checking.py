"""Verifying one partition from the log: its records and its ledger read side by side, folded, compared."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer

from oddtide.domain.observability.controls import ControlApplied
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.agents.logs import log_client, read_topic
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.controls import ControlSource, PublishedPipelines
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.ports import Artifacts, Toolkit
from oddtide.streams.replay.folding import Folded, HistoryFold
from oddtide.streams.replay.narrowing import narrow
from oddtide.streams.replay.reading import LedgerEntry, block_client, bounds_of, read_ledger, read_range
from oddtide.streams.replay.verifying import HashCheck, Verification
from oddtide.streams.topics import TopicCatalogue

__all__ = ["History", "Live", "verify_partition"]

#: Told now and then: how many records were folded since the last time.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class History:
    """One partition's history and what is needed to compute it anew. ``start`` and ``stop`` bound what is judged
    (offsets; None: as far as there is any); folding begins where the state can be known."""

    plan: StreamPlan
    partition: int
    broker: BrokerAccess
    catalogue: TopicCatalogue
    toolkit: Toolkit
    artifacts: Artifacts
    application: str
    build: str
    start: int | None = None
    stop: int | None = None

    def processor(self, plan: StreamPlan | None = None) -> PartitionProcessor:
        """A new processor for this partition."""
        return PartitionProcessor(
            plan or self.plan, self.toolkit, application=self.application, partition=self.partition
        )

    def entries(self, client: AIOKafkaConsumer) -> AsyncIterator[LedgerEntry]:
        """The partition's ledger."""
        return read_ledger(client, self.catalogue.ledger_of(self.plan.topic), self.partition)

    def records(self, client: AIOKafkaConsumer, start: int, end: int) -> AsyncGenerator[RecordBlock]:
        """The partition's records from ``start`` to where judging stops, ``end`` at most."""
        stop = end if self.stop is None else min(self.stop, end)
        return read_range(client, self.plan.topic, self.partition, start, stop)


class Live:
    """The history as it was live, computed anew and held against the ledger all the way.

    ``client`` reads the ledger and nothing else meanwhile; ``source`` has what controls need."""

    def __init__(self, history: History, client: AIOKafkaConsumer, source: ControlSource) -> None:
        self.history = history
        self._client = client
        self.result = Verification(stream=history.plan.name, topic=history.plan.topic, partition=history.partition)
        self.check = HashCheck(history.build, self.result, history.start or 0)
        self.source = source
        self._fold = HistoryFold(history.processor(), source)
        self._entries = history.entries(client)
        self.loud_from = 0
        self._resume: tuple[int, int] | None = None
        self.on_controls: Callable[[list[ControlApplied]], None] | None = None

    async def begin(self, oldest: int) -> int:
        """Where folding begins; ``oldest`` is the first offset that the log still has.

        With the log's start the state is known if the ledger begins no earlier. Else it is from the newest epoch on
        whose beginning the log has; without one nothing can be judged."""
        start, silent_to = oldest, oldest
        begins, epoch = await self._survey(oldest)
        self.result.started = "the log's start"
        if epoch is not None:
            start, silent_to = epoch
            self.result.started = f"the epoch that began at {silent_to}"
        if begins is not None and begins < oldest:
            text = f"the ledger begins at {begins}, the log only at {oldest}"
            self.result.notes = [f"{text}: what lies before {silent_to} cannot be verified any more"]
            if epoch is None:
                self.check.distrust(f"history: {text}")
        self.loud_from = silent_to
        await self._skip(silent_to)
        self._fold.processor.start_at(start)
        return start

    async def _survey(self, oldest: int) -> tuple[int | None, tuple[int, int] | None]:
        """Where the ledger begins, and where to begin folding and comparing for the newest epoch that the log has."""
        begins, epoch = None, None
        limit = self.history.start if self.history.start is not None else 1 << 62
        async for entry in self.history.entries(self._client):
            if begins is None:
                begins = entry.batch.from_offset
                self._begin_with(entry.batch)
            opened = entry.batch.opened
            if opened is not None and oldest <= opened.state_from and entry.batch.from_offset <= limit:
                epoch = (opened.state_from, entry.batch.from_offset)
            if begins >= oldest:
                break
        return begins, epoch

    def _begin_with(self, batch: BatchCompleted) -> None:
        """The ledger begins with a pipeline that was published; else the settings' own is tried."""
        first = next((control.pipeline for control in batch.controls if control.kind == "pipeline"), "")
        if first:
            plan = self.source.plan(self.history.plan.name, first)
            self._fold = HistoryFold(self.history.processor(plan), self.source)

    async def _skip(self, offset: int) -> None:
        """Leave out the entries up to ``offset``; where the hash stands there is the ledger's word."""
        stands = None
        while (entry := await anext(self._entries, None)) is not None and entry.batch.to_offset <= offset:
            stands = int(entry.batch.hash, 16)
            self._expect(entry.batch.controls)
        if stands is not None:
            self._resume = (offset, stands)
        self._take(entry)

    async def fold(self, records: RecordBlock) -> list[Folded]:
        """Fold ``records`` with every control of the ledger at its offset, and compare."""
        while self.check.wants(records.last):
            self._take(await anext(self._entries, None))
        found, processor = [], self._fold.processor
        for folded in self._parts(records):
            found.append(folded)
            value = self.check.take(folded)
            processor.start_at(processor.position, value)
            processor.forget_controls()
        return found

    def _parts(self, records: RecordBlock) -> Iterator[Folded]:
        """Fold; what only builds up the state of an epoch is folded in silence, and then its hash taken over."""
        if self._resume is not None:
            offset, stands = self._resume
            for _ in self._fold.fold(records.before(offset)):
                self._fold.processor.forget_controls()
            records = records.from_offset(offset)
            if records:
                self._fold.processor.start_at(self._fold.processor.position, stands)
                self._resume = None
        yield from self._fold.fold(records)

    def _take(self, entry: LedgerEntry | None) -> None:
        if entry is None:
            self.check.end()
            return
        self.check.expect(entry)
        self._expect(entry.batch.controls)

    def _expect(self, controls: list[ControlApplied]) -> None:
        self._fold.expect(controls)
        if self.on_controls is not None:
            self.on_controls(controls)

    @property
    def seconds(self) -> float:
        """Processor time spent on folding."""
        return self._fold.seconds

    async def conclude(self) -> Verification:
        """The result, a difference narrowed down."""
        if self.check.difference is not None:
            history = self.history
            await narrow(self.check.difference, history.plan, self._client, history.catalogue, self.result)
        return self.result


async def published_pipelines(history: History) -> PublishedPipelines:
    """Every version that was published."""
    pipelines = PublishedPipelines()
    async for logged in read_topic(history.broker, history.catalogue.name("pipelines"), 1):
        pipelines.fold(logged)
    return pipelines


async def verify_partition(history: History, tell: Progress) -> Verification:
    """Compute a partition's history anew and compare every ledger record up to ``history.stop``.

    Everything from where the state can be known is folded and compared, also what lies before ``history.start``: a
    difference there is one. Reading stops at the first.
    """
    source = ControlSource(await published_pipelines(history), history.artifacts)
    async with block_client(history.broker) as client, log_client(history.broker) as ledger:
        live = Live(history, ledger, source)
        bounds = await bounds_of(client, history.plan.topic, history.partition)
        start = await live.begin(bounds.begin)
        began = time.perf_counter()
        async for records in history.records(client, start, bounds.end):
            await live.fold(records)
            tell(len(records))
            if live.check.difference is not None:
                break
        live.result.seconds = time.perf_counter() - began
        return await live.conclude()
