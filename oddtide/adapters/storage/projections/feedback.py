"""Feedback: what people said of verdicts, and what they took back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from oddtide.adapters.storage.columns import digest, moment
from oddtide.adapters.storage.projections.base import Content, Fact, Row, Rows, Store
from oddtide.adapters.storage.tables import FEEDBACK
from oddtide.domain.events import Message
from oddtide.domain.observability.events import FeedbackGiven, FeedbackWithdrawn

__all__ = ["FeedbackProjection"]


class FeedbackProjection:
    """One row a label. A withdrawal that comes before its label (from another partition) waits in the row."""

    name: ClassVar[str] = "feedback"
    group: ClassVar[str] = "observability"
    takes: ClassVar[tuple[type[Message], ...]] = (FeedbackGiven, FeedbackWithdrawn)
    contents: ClassVar[tuple[Content, ...]] = (Content(FEEDBACK),)

    def fold(self, facts: Sequence[Fact], store: Store) -> None:
        labels = Rows(store, FEEDBACK, (digest(_id(fact)) for fact in facts))
        for fact in facts:
            key = digest(_id(fact))
            row = labels.get(key) or _unknown(key, _id(fact))
            kind = "given" if isinstance(fact.event, FeedbackGiven) else "withdrawn"
            time = moment(fact.event.time)
            if row[kind] is None or (row[f"{kind}_ns"], row[kind]) < (time, fact.document):
                labels.put(key, row | {f"{kind}_ns": time, kind: fact.document} | _label(fact))
        labels.save()


def _id(fact: Fact) -> str:
    event = fact.event
    return str(event.id if isinstance(event, FeedbackGiven) else event.feedback)


def _label(fact: Fact) -> Row:
    event = fact.event
    if isinstance(event, FeedbackWithdrawn):
        return {}
    return {"verdict": event.verdict, "series": event.series, "label": event.label}


def _unknown(key: str, feedback: str) -> Row:
    row: Row = {column.name: None for column in FEEDBACK.columns}
    return row | {"key": key, "feedback": feedback}
