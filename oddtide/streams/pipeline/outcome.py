"""What folding a batch yields: verdicts, events to publish, dead letters and the ledger record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from oddtide.domain.events import Event
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.quality.events import ReadingRejected
from oddtide.streams.codecs.decoded import RecordLike
from oddtide.streams.pipeline.verdicts import VerdictColumns

__all__ = ["DeadLetter", "Outcome", "Published"]


class Published(NamedTuple):
    """An event for the topic with this role, keyed by ``key``."""

    role: str
    key: str
    id: str
    event: Event


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What was refused, and the record it came in (None where readings came from no record)."""

    id: str
    event: ReadingRejected
    record: RecordLike | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one batch; every reading of it is in ``completed`` as scored, rejected or skipped."""

    verdicts: VerdictColumns
    events: list[Published]
    dead: list[DeadLetter]
    completed: BatchCompleted
