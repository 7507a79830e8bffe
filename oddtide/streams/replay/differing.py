"""Two configurations over one partition's history, in one pass, touching nothing.

The *live* side is the history as it was: computed anew with every control at its offset and held against the ledger on
the way, or, where asked for, read from the detections topic. The *other* side folds the same records under its own
plan; models, feedback and planned work take effect in it where they did live, a published pipeline does not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer

from oddtide.domain.detection.events import AnomalyDetected, Verdict
from oddtide.domain.observability.controls import ControlApplied
from oddtide.domain.readings import parse_rfc3339
from oddtide.streams.agents.logs import log_client
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.controls import ControlSource
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.verdicts import VerdictColumns
from oddtide.streams.replay.checking import Live, Progress, published_pipelines
from oddtide.streams.replay.differences import Alarms, Change, PartitionDiff, Side, kind_of
from oddtide.streams.replay.folding import HistoryFold
from oddtide.streams.replay.history import History
from oddtide.streams.replay.published import detection_key, read_result
from oddtide.streams.replay.reading import block_client, bounds_of

__all__ = ["Contest", "diff_partition"]

_Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Contest:
    """What is compared: a partition's history with the plan ``other``. Quiet times (ns) group detections into alarms.
    ``published``: the live side is read from the detections topic instead of computed."""

    history: History
    other: StreamPlan
    live_quiet: int
    other_quiet: int
    published: bool = False


class _Seen(Protocol):
    """What a side makes of a batch."""

    detections: dict[_Place, Verdict]

    def verdict(self, place: _Place) -> Verdict | None: ...


class _Computed:
    """Verdicts as columns."""

    def __init__(self, columns: Sequence[VerdictColumns], start: int) -> None:
        self._columns = columns
        self.detections = {
            (int(each.readings.offsets[i]), int(each.readings.rows[i])): each.verdict(i)
            for each in columns
            for i in each.anomalies.tolist()
            if each.readings.offsets[i] >= start
        }

    def verdict(self, place: _Place) -> Verdict | None:
        """The verdict about a reading; None where it was not scored."""
        for columns in self._columns:
            offsets, rows = columns.readings.offsets, columns.readings.rows
            first, last = np.searchsorted(offsets, place[0]), np.searchsorted(offsets, place[0], side="right")
            found = int(first + np.searchsorted(rows[first:last], place[1]))
            if found < last and rows[found] == place[1]:
                return columns.verdict(found)
        return None


class _Published:
    """Detections as they were published."""

    def __init__(self, detections: dict[_Place, Verdict]) -> None:
        self.detections = detections

    def verdict(self, place: _Place) -> Verdict | None:
        """Only detections are known."""
        return self.detections.get(place)


class _PublishedLive:
    """The live side out of the detections topic, read as far as the batches go."""

    def __init__(self, contest: Contest, client: AIOKafkaConsumer) -> None:
        history = contest.history
        topic = history.catalogue.name("detections")
        self._source = (history.plan.topic, history.partition)
        self._records: AsyncIterator[Any] = read_result(
            client, history.broker, topic, history.partition % history.catalogue.partitions
        )
        self._ahead: tuple[_Place, Verdict] | None = None

    async def fold(self, records: RecordBlock, start: int) -> _Seen:
        """The detections that were published about ``records``."""
        found: dict[_Place, Verdict] = {}
        while self._ahead is None or self._ahead[0][0] <= records.last:
            if self._ahead is not None and self._ahead[0][0] >= start:
                found.setdefault(*self._ahead)
            self._ahead = await self._next()
            if self._ahead is None:
                break
        return _Published(found)

    async def _next(self) -> tuple[_Place, Verdict] | None:
        async for record in self._records:
            key = detection_key(record)
            if key is not None and (key.topic, key.partition) == self._source:
                detection = msgspec.json.decode(record.value, type=AnomalyDetected)
                return (key.offset, key.row), Verdict(**msgspec.structs.asdict(detection))
        return None


class _ComputedLive:
    """The live side computed anew."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.scored = 0

    async def fold(self, records: RecordBlock, start: int) -> _Seen:
        """Fold."""
        columns = [each.outcome.verdicts for each in await self.live.fold(records)]
        self.scored += sum(_judged(each, start) for each in columns)
        return _Computed(columns, start)


def _judged(columns: VerdictColumns, start: int) -> int:
    offsets = columns.readings.offsets
    return int(len(offsets) - np.searchsorted(offsets, start))


class _Comparison:
    """Adds up what the two sides say, batch by batch."""

    def __init__(self, contest: Contest, tell_change: Callable[[Change], None]) -> None:
        self.result = PartitionDiff(partition=contest.history.partition)
        self._history = contest.history
        self._tell = tell_change
        self._live_alarms, self._other_alarms = Alarms(contest.live_quiet), Alarms(contest.other_quiet)

    def take(self, live: _Seen, other: _Seen) -> None:
        """What both say of the same records."""
        for place in sorted(live.detections.keys() | other.detections.keys()):
            ours, theirs = live.detections.get(place), other.detections.get(place)
            shown = theirs or ours
            assert shown is not None
            kind, time = kind_of(ours, theirs), parse_rfc3339(shown.time)
            self.result.count(shown.series, time, kind, live=ours is not None, other=theirs is not None)
            for side, alarms in ((ours, self._live_alarms), (theirs, self._other_alarms)):
                if side is not None:
                    alarms.take(shown.series, time)
            if kind is not None:
                self._tell(
                    Change(
                        kind=kind, series=shown.series, time=shown.time, value=shown.value,
                        topic=self._history.plan.topic, partition=self._history.partition, offset=place[0],
                        row=place[1], live=_side(ours or live.verdict(place)),
                        other=_side(theirs or other.verdict(place)),
                    )
                )  # fmt: skip
        self.result.live_alarms, self.result.other_alarms = self._live_alarms.count, self._other_alarms.count

    def count(self, outcome: Outcome, start: int) -> None:
        """What came of readings, on the other side; those from ``start`` on are judged."""
        result, completed, verdicts = self.result, outcome.completed, outcome.verdicts
        result.folded += completed.readings
        if completed.to_offset > start:
            result.records += completed.records
            result.readings += completed.readings
        judged = _judged(verdicts, start)
        result.other_scored += judged
        result.note_hours(verdicts.readings.times[len(verdicts) - judged :])


def _side(verdict: Verdict | None) -> Side | None:
    return None if verdict is None else Side.of(verdict)


def transferable(control: ControlApplied, live: StreamPlan, other: StreamPlan) -> bool:
    """Whether a control of the live history means something under another plan: a pipeline does not, a model only for
    a detector of the same name and kind."""
    if control.kind != "model":
        return control.kind != "pipeline"
    kinds = [{spec.name: spec.kind for spec in plan.detectors}.get(control.detector) for plan in (live, other)]
    return kinds[0] == kinds[1] is not None


async def diff_partition(contest: Contest, tell: Progress, tell_change: Callable[[Change], None]) -> PartitionDiff:
    """Run the other configuration beside the live one; each reading that they disagree on is told as it is found."""
    history = contest.history
    comparison = _Comparison(contest, tell_change)
    source = ControlSource(await published_pipelines(history), history.artifacts)
    other = HistoryFold(history.processor(replace(contest.other, topic=history.plan.topic)), source)
    async with block_client(history.broker) as client, log_client(history.broker) as beside:
        bounds = await bounds_of(client, history.plan.topic, history.partition)
        if contest.published:
            blocks = history.records(client, bounds.begin, bounds.end)
            other.processor.start_at(bounds.begin)
            await _compete(comparison, _PublishedLive(contest, beside), other, blocks, history.start or 0, tell)
        else:
            live = Live(history, beside, source)
            live.on_controls = lambda controls: other.expect(
                control for control in controls if transferable(control, history.plan, contest.other)
            )
            first = await live.begin(bounds.begin)
            other.processor.start_at(first)
            computed, start = _ComputedLive(live), max(history.start or 0, live.loud_from)
            await _compete(comparison, computed, other, history.records(client, first, bounds.end), start, tell)
            comparison.result.live_seconds, comparison.result.live_scored = live.seconds, computed.scored
            comparison.result.verification = await live.conclude()
    comparison.result.other_seconds = other.seconds
    return comparison.result


async def _compete(
    comparison: _Comparison,
    live: _PublishedLive | _ComputedLive,
    other: HistoryFold,
    blocks: AsyncGenerator[RecordBlock],
    start: int,
    tell: Progress,
) -> None:
    async with aclosing(blocks):
        async for records in blocks:
            seen = await live.fold(records, start)
            outcomes = [each.outcome for each in other.fold(records)]
            other.processor.forget_controls()
            comparison.take(seen, _Computed([each.verdicts for each in outcomes], start))
            for outcome in outcomes:
                comparison.count(outcome, start)
            tell(len(records))
