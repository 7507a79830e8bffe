"""Verifying one partition from the log: its records and its ledger read side by side, folded, compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from aiokafka import AIOKafkaConsumer

from oddtide.domain.observability.controls import ControlApplied
from oddtide.streams.agents.logs import log_client, read_topic
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.controls import ControlSource, PublishedPipelines
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.replay.folding import Folded, HistoryFold
from oddtide.streams.replay.history import History
from oddtide.streams.replay.narrowing import narrow
from oddtide.streams.replay.reading import LedgerEntry, block_client, bounds_of
from oddtide.streams.replay.starting import Start, Survey
from oddtide.streams.replay.verifying import HashCheck, Verification

__all__ = ["Live", "Progress", "published_pipelines", "verify_partition"]

#: Told now and then: how many records were folded since the last time.
Progress = Callable[[int], None]


class Live:
    """The history as it was live, computed anew and held against the ledger all the way.

    ``client`` reads the ledger and nothing else meanwhile; ``source`` has what controls need."""

    def __init__(self, history: History, client: AIOKafkaConsumer, source: ControlSource) -> None:
        self.history = history
        self._client = client
        self.result = Verification(stream=history.plan.name, topic=history.plan.topic, partition=history.partition)
        self.check = HashCheck(history.build, self.result, history.start or 0)
        self.source = source
        self._fold = HistoryFold(history.processor(), source)  # until it is known where to begin
        self._entries = history.entries(client)
        self.loud_from = 0
        self._resume: tuple[int, int] | None = None
        self.on_controls: Callable[[list[ControlApplied]], None] | None = None

    async def begin(self, oldest: int) -> int:
        """Where folding begins; ``oldest`` is the first offset that the log still has."""
        survey = Survey(self.history, self.source, oldest)
        async for entry in self.history.entries(self._client):
            if not survey.take(entry):
                break
        start = await asyncio.to_thread(survey.start)
        self._fold = HistoryFold(start.processor, self.source)
        self.result.started, self.loud_from = start.told, start.loud_from
        if survey.cut:
            text = f"the ledger begins at {survey.begins}, the log only at {oldest}"
            self.result.notes = [f"{text}: what lies before {start.loud_from} cannot be verified any more"]
            if not start.known:
                self.check.distrust(f"history: {text}")
        await self._skip(start)
        return start.offset

    async def _skip(self, start: Start) -> None:
        """Leave out the entries up to where comparing begins; where the hash stands there is the ledger's word."""
        stands = None
        while (entry := await anext(self._entries, None)) is not None and entry.batch.to_offset <= start.loud_from:
            stands = int(entry.batch.hash, 16)
            self._expect([each for each in entry.batch.controls if each.offset >= start.controls_from])
        if stands is not None:
            self._resume = (start.loud_from, stands)
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

    async def finish(self) -> None:
        """No more records come: what the ledger says behind the last one."""
        position, last = self._fold.processor.position, None
        while (entry := await anext(self._entries, None)) is not None and entry.batch.to_offset == position:
            if entry.batch.from_offset == position:
                self._expect(entry.batch.controls)
                last = entry
        if last is not None and self.check.difference is None:
            self._fold.finish()
            self.check.close(last, self._fold.processor.silence)

    @property
    def processor(self) -> PartitionProcessor:
        """The state as far as it is folded."""
        return self._fold.processor

    @property
    def seconds(self) -> float:
        """Processor time spent on folding."""
        return self._fold.seconds

    async def conclude(self) -> Verification:
        """The result, a difference narrowed down."""
        if self.check.difference is not None:
            history = self.history
            await narrow(
                self.check.difference, history.plan, self._client, history.broker, history.catalogue, self.result
            )
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
        await live.finish()
        return await live.conclude()
