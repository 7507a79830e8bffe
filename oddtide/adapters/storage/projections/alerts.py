"""Alerts: what each is now, and everything that happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from oddtide.adapters.storage.columns import digest, moment
from oddtide.adapters.storage.projections.base import Content, Fact, Row, Rows, Store
from oddtide.adapters.storage.tables import ALERT_HISTORY, ALERTS
from oddtide.domain.events import Message
from oddtide.domain.observability.events import (
    AlertAcknowledged,
    AlertOpened,
    AlertResolved,
    AlertUpdated,
    AlertWithheld,
    CommandRefused,
)

__all__ = ["AlertsProjection"]

_LIFECYCLE = (AlertOpened, AlertUpdated, AlertWithheld, AlertAcknowledged, AlertResolved)


class AlertsProjection:
    """One row an alert, or an episode that was withheld. Its figures are those of the event with the highest count;
    acknowledging and resolving are kept beside them, so an alert is resolved even where the update that came late is
    folded last."""

    name: ClassVar[str] = "alerts"
    group: ClassVar[str] = "observability"
    takes: ClassVar[tuple[type[Message], ...]] = (*_LIFECYCLE, CommandRefused)
    contents: ClassVar[tuple[Content, ...]] = (Content(ALERTS), Content(ALERT_HISTORY))

    def fold(self, facts: Sequence[Fact], store: Store) -> None:
        lifecycle = [fact for fact in facts if isinstance(fact.event, _LIFECYCLE)]
        alerts = Rows(store, ALERTS, (digest(fact.event.alert) for fact in lifecycle))
        for fact in lifecycle:
            key = digest(fact.event.alert)
            row = alerts.get(key) or _unknown(key, fact.event.alert)
            changes = _changes(row, fact)
            if changes:
                alerts.put(key, _with_status(row | changes))
        alerts.save()
        store.add(ALERT_HISTORY, [_history(fact) for fact in facts])


def _unknown(key: str, alert: str) -> Row:
    row: Row = {column.name: None for column in ALERTS.columns}
    return row | {"key": key, "alert": alert}


def _changes(row: Row, fact: Fact) -> Row:
    event = fact.event
    if isinstance(event, AlertOpened):
        return _figures(row, fact)
    kind = "acknowledged" if isinstance(event, AlertAcknowledged) else "resolved"
    time = moment(event.time)
    if row[f"{kind}_id"] is not None and (row[f"{kind}_ns"], row[f"{kind}_id"]) >= (time, fact.id):
        return {}
    changes: Row = {
        f"{kind}_ns": time, f"{kind}_id": fact.id, f"{kind}_by": event.by, f"{kind}_note": event.note,
    }  # fmt: skip
    return changes | ({"resolved_how": event.how} if isinstance(event, AlertResolved) else {})


def _figures(row: Row, fact: Fact) -> Row:
    event = fact.event
    last = moment(event.last)
    if row["state_id"] is not None and (row["count"], row["last_ns"], row["state_id"]) >= (event.count, last, fact.id):
        return {}
    return {
        "kind": event.kind, "stream": event.stream, "series": event.series, "severity": event.severity,
        "summary": event.summary, "opened_ns": moment(event.opened), "last_ns": last, "count": event.count,
        "state_id": fact.id, "document": fact.document,
        "status": "withheld" if isinstance(event, AlertWithheld) else "open",
    }  # fmt: skip


def _with_status(row: Row) -> Row:
    """What was withheld to its end stays so: nobody was told."""
    withheld = row["status"] == "withheld"
    if row["resolved_id"] is not None:
        row["status"] = "withheld" if withheld and row["resolved_how"] == "quiet" else "resolved"
    elif row["acknowledged_id"] is not None:
        row["status"] = "acknowledged"
    elif not withheld:
        row["status"] = "open"
    return row


def _history(fact: Fact) -> Row:
    event = fact.event
    alert = event.target if isinstance(event, CommandRefused) else event.alert
    time = event.last if isinstance(event, AlertOpened) else event.time
    return {
        "id": fact.id, "alert_key": digest(alert), "type": fact.type, "time_ns": moment(time),
        "log_offset": fact.logged.offset, "document": fact.document,
    }  # fmt: skip
