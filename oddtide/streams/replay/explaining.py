"""Explaining one verdict: the partition's history is folded up to its reading, from the nearest place where the state
is known, so that a verdict that was no anomaly, and was never published, is explained as well.

What was published is only looked at where the log cannot give the verdict any more: its record is gone, or the history
has another pipeline there than the verdict names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from aiokafka import AIOKafkaConsumer

from oddtide.domain.detection.events import Verdict
from oddtide.domain.errors import NotFoundError
from oddtide.domain.observability.controls import PlannedWindow
from oddtide.domain.readings import Readings
from oddtide.streams.agents.logs import log_client
from oddtide.streams.codecs.decoded import Decoded
from oddtide.streams.codecs.readings import ReadingDecoder
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.controls import ControlSource
from oddtide.streams.pipeline.explained import Explained, SeriesView
from oddtide.streams.pipeline.probing import alone, recalled
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.replay.checking import Live, Progress, published_pipelines
from oddtide.streams.replay.history import History
from oddtide.streams.replay.published import VerdictKey, published_verdicts
from oddtide.streams.replay.reading import block_client, bounds_of, read_range

__all__ = ["Question", "explain_verdict"]

#: How many offsets before the reading are folded aloud, for the verdicts before it.
_LOOK_BACK = 20_000


@dataclass(frozen=True, slots=True)
class Question:
    """Which verdict, by its id and the parts of that, and how many verdicts of its series before it are wanted."""

    ident: str
    key: VerdictKey
    before: int

    @property
    def place(self) -> tuple[int, int]:
        """(offset, row)."""
        return self.key.offset, self.key.row


async def explain_verdict(history: History, question: Question, tell: Progress) -> Explained:
    """The verdict with everything that belongs to it.

    Raises ``NotFoundError`` where there is no such verdict: the offset is not written yet, or gone and nothing was
    published about it; the reading was refused or skipped; or another pipeline judged it, and that was not published.
    """
    key = question.key
    async with block_client(history.broker) as client, log_client(history.broker) as beside:
        bounds = await bounds_of(client, key.topic, key.partition)
        if key.offset >= bounds.end:
            raise NotFoundError(
                f"{key.topic}/{key.partition} ends at offset {bounds.end}: {key.offset} is not written yet.",
                remedy="Copy the id from a verdict.",
            )
        if key.offset < bounds.begin:
            gone = f"the log begins at offset {bounds.begin} by now: told from what was published"
            return await _published(history, question, beside, gone)
        history = replace(history, start=max(key.offset - _LOOK_BACK, 0), stop=key.offset + 1)
        found = await _computed(history, question, client, beside, tell)
        if found.verdict.id == question.ident:
            return found
        other = (
            f"by pipeline {found.verdict.pipeline_version} this reading has another verdict: told from what was "
            f"published by {key.version}"
        )
        return await _published(history, question, beside, other)


async def _computed(
    history: History, question: Question, client: AIOKafkaConsumer, beside: AIOKafkaConsumer, tell: Progress
) -> Explained:
    """The verdict out of the log, whatever its pipeline."""
    reading = await _reading(history, question, client)
    series, offset = reading.series[0], question.key.offset
    source = ControlSource(await published_pipelines(history), history.artifacts)
    live, view = Live(history, beside, source), SeriesView(series, question.before)
    first = await live.begin((await bounds_of(client, question.key.topic, question.key.partition)).begin)
    probe: PartitionProcessor | None = None
    found = False
    async for records in history.records(client, first, offset + 1):
        for part in (records.before(offset), records.from_offset(offset)):
            if part and part.first == offset:
                probe = _just_before(live, part, question, series)
            for folded in await live.fold(part) if part else ():
                found = view.take(folded.outcome.verdicts, question.place) or found
        tell(len(records))
    if not found:
        raise NotFoundError(
            f"The reading at offset {offset} row {question.key.row} was not scored: the stream's contract or its order "
            "left it out.",
            remedy="`oddtide deadletters list` and `oddtide ledger show` say what became of it.",
        )
    *before, verdict = view.verdicts()
    processor = live.processor
    same = probe is not None and probe.plan.version == processor.plan.version  # else it changed with this very reading
    return Explained(
        verdict, processor.plan, tuple(before), recalled(probe, reading) if same else {},
        _work(verdict, processor.in_force.planned_work), tuple(_doubts(live, offset)),
    )  # fmt: skip


async def _reading(history: History, question: Question, client: AIOKafkaConsumer) -> Readings:
    """The one reading, decoded."""
    key = question.key
    decoder = ReadingDecoder(history.plan.contract)
    async for records in read_range(client, key.topic, key.partition, key.offset, key.offset + 1):
        decoded = decoder.decode(records)
        chosen = decoded.readings.take(decoded.readings.rows == key.row)
        if len(chosen):
            return chosen
        refusal = next((each for each in decoded.refusals if each.row in (key.row, -1)), None)
        if refusal is not None:
            raise NotFoundError(
                f"The reading at offset {key.offset} was rejected, {refusal.reason}: {refusal.detail}.",
                remedy="`oddtide deadletters list` shows it.",
            )
        raise NotFoundError(
            f"The record at offset {key.offset} has no row {key.row}: it holds {len(decoded.readings)} readings.",
            remedy="Copy the id from a verdict.",
        )
    raise NotFoundError(f"Offset {key.offset} holds no committed record.", remedy="Copy the id from a verdict.")


def _just_before(live: Live, part: RecordBlock, question: Question, series: str) -> PartitionProcessor | None:
    """The series' state as it was right before the reading: those before it in the same record are learnt."""
    probe = alone(live.processor, series)
    if probe is not None and question.key.row:
        readings = ReadingDecoder(probe.plan.contract).decode(part).readings
        mine = [name == series for name in readings.series]
        earlier = readings.take((readings.rows < question.key.row) & mine)
        probe.process(Decoded(earlier, [], 1, part.first, part.first))
    return probe


def _work(verdict: Verdict, windows: tuple[PlannedWindow, ...]) -> PlannedWindow | None:
    return next((each for each in windows if each.id == verdict.suppressed_by), None)


def _doubts(live: Live, offset: int) -> list[str]:
    """What keeps it from being sure that this is what was published."""
    result = live.result
    notes = [*result.notes]
    if not live.check.accounts_for(offset):
        notes.append("no worker has judged this reading yet: so it will be, if nothing changes before that")
    if live.check.difference is not None:
        notes.append("the history computed anew differs from the ledger's: `oddtide replay --verify` says where")
    notes += [f"not verifiable here: {reason}" for reason in sorted(result.reasons)]
    return notes


async def _published(history: History, question: Question, client: AIOKafkaConsumer, why: str) -> Explained:
    """The verdict as it was published."""
    key, catalogue, since = question.key, history.catalogue, 0
    async for entry in history.entries(client):
        if entry.batch.to_offset > key.offset:
            break
        since = entry.logged
    for role in ("detections", "verdicts"):
        found = await published_verdicts(
            client, history.broker, catalogue.name(role), key.partition % catalogue.partitions,
            (key.topic, key.partition), (key.offset, key.offset + 1), since,
        )  # fmt: skip
        verdict = found.get(question.place)
        if verdict is not None and verdict.id == question.ident:
            return Explained(
                verdict, history.plan if verdict.pipeline_version == history.plan.version else None, notes=(why,)
            )
    raise NotFoundError(
        f"There is no verdict {question.ident}: {why.partition(':')[0]}, and none of that id was published.",
        remedy='Anomalies are published, other verdicts where the stream says publish = "all".',
    )
