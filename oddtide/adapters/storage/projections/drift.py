"""Drift: warnings, detections and adaptations, the newest of them and counts per series and what was watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from oddtide.adapters.storage.columns import moment
from oddtide.adapters.storage.projections.base import Content, Fact, Row, Store
from oddtide.adapters.storage.projections.counts import Counter
from oddtide.adapters.storage.tables import DRIFT_COUNTS, DRIFTS
from oddtide.domain.drift.events import DetectorAdapted, DriftDetected, DriftWarned
from oddtide.domain.events import Message

__all__ = ["DriftProjection"]


class DriftProjection:
    """For an adaptation, ``watched`` is the detector that was adapted."""

    name: ClassVar[str] = "drift"
    group: ClassVar[str] = "observability"
    takes: ClassVar[tuple[type[Message], ...]] = (DriftWarned, DriftDetected, DetectorAdapted)
    contents: ClassVar[tuple[Content, ...]] = (Content(DRIFTS, recent=True), Content(DRIFT_COUNTS))

    def fold(self, facts: Sequence[Fact], store: Store) -> None:
        store.add_recent(DRIFTS, [_row(fact) for fact in facts])
        Counter(store, DRIFT_COUNTS, ((fact, _names(fact)) for fact in facts)).fold()


def _names(fact: Fact) -> dict[str, str]:
    event = fact.event
    watched = event.detector if isinstance(event, DetectorAdapted) else event.watched
    return {"type": fact.type, "stream": event.stream, "series": event.series, "watched": watched}


def _row(fact: Fact) -> Row:
    event = fact.event
    return {
        "id": fact.id, "type": fact.type, "stream": event.stream, "series": event.series,
        "time_ns": moment(event.time), "document": fact.document,
    }  # fmt: skip
