"""Detections: the newest ones, and per series how many there were and the newest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from oddtide.adapters.storage.columns import moment
from oddtide.adapters.storage.projections.base import Content, Fact, Row, Store
from oddtide.adapters.storage.projections.counts import Counter
from oddtide.adapters.storage.tables import DETECTION_SERIES, DETECTIONS
from oddtide.domain.detection.events import AnomalyDetected
from oddtide.domain.events import Message

__all__ = ["DetectionsProjection"]


class DetectionsProjection:
    """The events themselves, newest by their readings' time, and one row a series."""

    name: ClassVar[str] = "detections"
    group: ClassVar[str] = "observability"
    takes: ClassVar[tuple[type[Message], ...]] = (AnomalyDetected,)
    contents: ClassVar[tuple[Content, ...]] = (Content(DETECTIONS, recent=True), Content(DETECTION_SERIES))

    def fold(self, facts: Sequence[Fact], store: Store) -> None:
        store.add_recent(DETECTIONS, [_row(fact) for fact in facts])
        names = [(fact, {"stream": fact.event.stream, "series": fact.event.series}) for fact in facts]
        Counter(store, DETECTION_SERIES, names).fold(newest=True)


def _row(fact: Fact) -> Row:
    event = fact.event
    return {
        "id": fact.id, "stream": event.stream, "series": event.series, "time_ns": moment(event.time),
        "score": event.score, "p_value": event.p_value, "document": fact.document,
    }  # fmt: skip
