"""Questions about alerts."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import desc, select

from oddtide.adapters.storage.columns import digest
from oddtide.adapters.storage.queries.base import Answer, Reader, event_of, picked, time_of
from oddtide.adapters.storage.tables import ALERT_HISTORY, ALERTS
from oddtide.domain.errors import NotFoundError

__all__ = ["AlertQueries"]


class AlertQueries(Reader):
    """Alerts and what happened to them."""

    def alerts(
        self, *, states: Collection[str] = (), severity: str = "", series: str = "", since: int = 0, limit: int = 50
    ) -> list[Answer]:
        """Alerts, those with the newest cause first. ``states`` are any of ``open``, ``acknowledged``, ``resolved``,
        ``withheld``; ``since`` is in nanoseconds, of the newest cause. Empty means any."""
        found = select(ALERTS).where(ALERTS.c.state_id.is_not(None))
        if states:
            found = found.where(ALERTS.c.status.in_(states))
        if severity:
            found = found.where(ALERTS.c.severity == severity)
        if series:
            found = found.where(ALERTS.c.series == series)
        if since:
            found = found.where(ALERTS.c.last_ns >= since)
        rows = self._all(found.order_by(desc(ALERTS.c.last_ns), ALERTS.c.key).limit(limit))
        return [_alert(row) for row in rows]

    def alert(self, alert: str) -> Answer:
        """One alert with its history, oldest first. Raises ``NotFoundError``."""
        key = digest(alert)
        rows = self._all(select(ALERTS).where(ALERTS.c.key == key, ALERTS.c.state_id.is_not(None)))
        if not rows:
            raise NotFoundError(f"There is no alert {alert!r}.", remedy="Look at the list of all alerts.")
        order = (ALERT_HISTORY.c.time_ns, ALERT_HISTORY.c.log_offset)
        history = self._all(select(ALERT_HISTORY).where(ALERT_HISTORY.c.alert_key == key).order_by(*order))
        event = event_of(rows[0]["document"])
        return {
            **_alert(rows[0]),
            **picked(event, ("first_cause", "last_cause", "source_topic", "source_partition", "source_offset")),
            "history": [
                {"type": row["type"], "time": time_of(row["time_ns"]), "event": event_of(row["document"])}
                for row in history
            ],
        }

    def alert_ids(self, beginning: str, limit: int = 100) -> list[str]:
        """The ids of alerts that begin so."""
        found = select(ALERTS.c.alert).where(ALERTS.c.state_id.is_not(None))
        found = found.where(ALERTS.c.alert.startswith(beginning, autoescape=True)).order_by(ALERTS.c.alert)
        return [row["alert"] for row in self._all(found.limit(limit)) if row["alert"].startswith(beginning)]


def _alert(row: Answer) -> Answer:
    return {
        "alert": row["alert"], "state": row["status"],
        **picked(row, ("severity", "kind", "stream", "series", "count", "summary")),
        "opened": time_of(row["opened_ns"]), "last": time_of(row["last_ns"]),
        "p_value": event_of(row["document"]).get("p_value"),
        "acknowledged": time_of(row["acknowledged_ns"]), "acknowledged_by": row["acknowledged_by"] or "",
        "acknowledged_note": row["acknowledged_note"] or "",
        "resolved": time_of(row["resolved_ns"]), "resolved_how": row["resolved_how"] or "",
        "resolved_by": row["resolved_by"] or "", "resolved_note": row["resolved_note"] or "",
    }  # fmt: skip
