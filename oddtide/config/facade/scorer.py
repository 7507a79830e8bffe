"""The pipeline of a worker over rows and columns at hand, without Kafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from oddtide.adapters.files.rows import RawRow, RefusedRow, Row
from oddtide.domain.observability.controls import ControlApplied
from oddtide.streams.codecs.decoded import Decoded, Record
from oddtide.streams.codecs.encoding import encode_reading
from oddtide.streams.pipeline.outcome import Outcome, Published
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.probing import alone
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.verdicts import VerdictColumns
from oddtide.streams.ports import Toolkit

__all__ = ["Scored", "Scorer", "Tally"]

_APPLICATION = "oddtide"


@dataclass(slots=True)
class Tally:
    """What became of every reading: ``readings == scored + rejected + skipped``, the latter two by reason."""

    readings: int = 0
    scored: int = 0
    anomalies: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        parts = [f"{self.readings:,} readings: {self.scored:,} scored, {self.anomalies:,} anomalies"]
        parts += [f"{sum(c.values()):,} {w} ({_reasons(c)})" for w, c in self._troubles() if c]
        return ", ".join(parts)

    def _troubles(self) -> tuple[tuple[str, Counter[str]], ...]:
        return ("rejected", self.rejected), ("skipped", self.skipped)


def _reasons(counts: Counter[str]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items()))


class Scored(NamedTuple):
    """The outcome of one call: verdicts in input order (None where no row came that far), rows refused on the way, and
    the events besides."""

    verdicts: VerdictColumns | None
    refused: list[RefusedRow]
    events: list[Published]


class Scorer:
    """Folds rows or columns in order, as the owner of one partition does. ``clock`` (ns) dates the records, against
    which the plan's contract judges times; it never enters a score. A verdict's ``offset`` is its row, from 0."""

    def __init__(self, plan: StreamPlan, toolkit: Toolkit, clock: Callable[[], int]) -> None:
        self.plan = plan
        self.tally = Tally()
        self._clock = clock
        self._next = 0
        self._processor = PartitionProcessor(plan, toolkit, application=_APPLICATION, partition=0)

    @property
    def position(self) -> int:
        """The number of the next row."""
        return self._next

    @property
    def bytes_per_series(self) -> int:
        """Memory that the state of one series takes over all stages, its name excepted."""
        return self._processor.bytes_per_slot

    def alone(self, series: str) -> PartitionProcessor | None:
        """A processor that knows this one series as it stands here; None where it is new."""
        return alone(self._processor, series)

    def adopt(self, control: ControlApplied, artifact: bytes) -> None:
        """Let a trained model take effect."""
        self._processor.apply(control, artifact)

    def rows(self, rows: Sequence[Row]) -> Scored:
        """Score rows of a table. Each goes through as the JSON that ``oddtide produce`` sends for it."""
        first, now = self._next, self._clock() // 1_000_000
        records, refused = [], []
        for offset, row in enumerate(rows, first):
            if isinstance(row, RefusedRow):
                refused.append(row)
            else:
                records.append(Record(offset, now, row.series.encode(), _encoded(row)))
        self._next = first + len(rows)
        self.tally.readings += len(refused)
        self.tally.rejected.update(row.reason for row in refused)
        if not records:
            return Scored(None, refused, [])
        outcome = self._processor.fold(records)
        for letter in outcome.dead:
            line = rows[letter.event.offset - first].line
            refused.append(RefusedRow(line, letter.event.reason, letter.event.detail))
        self._count(outcome)
        return Scored(outcome.verdicts, sorted(refused), outcome.events)

    def columns(self, decoded: Decoded) -> Scored:
        """Score columns that need no decoding; rows are numbered on from where the last call ended."""
        outcome = self._processor.process(decoded)
        self._next = decoded.next
        self._count(outcome)
        letters = [letter.event for letter in outcome.dead]
        refused = [RefusedRow(letter.offset, letter.reason, letter.detail) for letter in letters]
        return Scored(outcome.verdicts, refused, outcome.events)

    def _count(self, outcome: Outcome) -> None:
        done, tally = outcome.completed, self.tally
        tally.readings += done.readings
        tally.scored += done.scored
        tally.anomalies += done.detections
        tally.rejected.update(done.rejected)
        tally.skipped.update(done.skipped)


def _encoded(row: Row) -> bytes:
    if isinstance(row, RawRow):
        return row.raw
    assert not isinstance(row, RefusedRow)
    return encode_reading(row.series, row.time, row.values, row.labels)
