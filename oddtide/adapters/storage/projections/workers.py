"""Workers: who is there, who was, what they do and what does not go well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from oddtide.adapters.storage.columns import digest, moment
from oddtide.adapters.storage.projections.base import Content, Fact, Row, Rows, Store
from oddtide.adapters.storage.tables import DEGRADED, WORKERS
from oddtide.domain.events import Message
from oddtide.domain.observability.events import (
    AgentDegraded,
    HeartbeatRecorded,
    WorkerLost,
    WorkerStarted,
    WorkerStopped,
)

__all__ = ["WorkersProjection"]

_NS_PER_MS = 1_000_000
_KINDS: dict[type[Message], str] = {
    WorkerStarted: "started", HeartbeatRecorded: "beat", WorkerStopped: "stopped", WorkerLost: "lost",
}  # fmt: skip


class WorkersProjection:
    """Of each worker the newest start, heartbeat, stop and loss, by the worker's own clock. A loss speaks of the log's
    time of the last sign of life, so it is over as soon as a later one is there, whoever's clock is wrong."""

    name: ClassVar[str] = "workers"
    group: ClassVar[str] = "health"
    takes: ClassVar[tuple[type[Message], ...]] = (*_KINDS, AgentDegraded)
    contents: ClassVar[tuple[Content, ...]] = (Content(WORKERS), Content(DEGRADED))

    def fold(self, facts: Sequence[Fact], store: Store) -> None:
        _fold_degraded([fact for fact in facts if isinstance(fact.event, AgentDegraded)], store)
        signs = [fact for fact in facts if not isinstance(fact.event, AgentDegraded)]
        workers = Rows(store, WORKERS, (digest(fact.event.worker) for fact in signs))
        for fact in signs:
            key = digest(fact.event.worker)
            row = workers.get(key) or _unknown(key, fact.event.worker)
            changes = _changes(row, fact)
            if changes:
                workers.put(key, row | changes)
        workers.save()


def _changes(row: Row, fact: Fact) -> Row:
    event = fact.event
    kind = _KINDS[type(event)]
    time = moment(event.last if isinstance(event, WorkerLost) else event.time)
    if row[kind] is not None and (row[f"{kind}_ns"], row[kind]) >= (time, fact.document):
        return {}
    changes: Row = {kind: fact.document, f"{kind}_ns": time}
    if isinstance(event, WorkerStarted | HeartbeatRecorded):
        changes["seen_ns"] = max(row["seen_ns"] or 0, fact.logged.timestamp * _NS_PER_MS)
    return changes


def _unknown(key: str, worker: str) -> Row:
    row: Row = {column.name: None for column in WORKERS.columns}
    return row | {"key": key, "worker": worker}


def _fold_degraded(facts: Sequence[Fact], store: Store) -> None:
    parts = Rows(store, DEGRADED, (digest(fact.event.worker, fact.event.part) for fact in facts))
    for fact in facts:
        event = fact.event
        key, time = digest(event.worker, event.part), moment(event.time)
        row = parts.get(key)
        if row is None or (row["time_ns"], row["id"]) < (time, fact.id):
            changed: Row = {
                "key": key, "worker": event.worker, "part": event.part, "time_ns": time, "id": fact.id,
                "document": fact.document,
            }  # fmt: skip
            parts.put(key, changed)
    parts.save()
