"""Questions about what was found in the data: detections, drift, quality."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, desc, func, select

from oddtide.adapters.storage.queries.base import Answer, Reader, event_of, picked, time_of
from oddtide.adapters.storage.tables import (
    DETECTION_SERIES,
    DETECTIONS,
    DRIFT_COUNTS,
    DRIFTS,
    LEDGER_REASONS,
    PROFILES,
    VIOLATION_COUNTS,
    VIOLATIONS,
)

__all__ = ["FindingQueries"]


class FindingQueries(Reader):
    """Newest first means: by the time of the reading."""

    def detections(self, *, limit: int = 50, series: str = "", stream: str = "") -> list[Answer]:
        """The newest detections: ``AnomalyDetected`` events."""
        rows = self._all(self._recent(DETECTIONS, limit, series=series, stream=stream))
        return [event_of(row["document"]) for row in rows]

    def detection(self, verdict: str) -> Answer | None:
        """The detection with this id; None where it is not there, or no longer."""
        rows = self._all(select(DETECTIONS).where(DETECTIONS.c.id == verdict))
        return event_of(rows[0]["document"]) if rows else None

    def detection_series(self, *, limit: int = 50, stream: str = "") -> list[Answer]:
        """Series with detections: how many, and the newest."""
        table = DETECTION_SERIES
        found = select(table) if not stream else select(table).where(table.c.stream == stream)
        rows = self._all(found.order_by(desc(table.c.time_ns), table.c.key).limit(limit))
        return [
            {
                **picked(row, ("stream", "series", "topic", "partition", "count")),
                "newest": time_of(row["time_ns"]),
                "detection": event_of(row["document"]),
            }
            for row in rows
        ]

    def drift(self, *, limit: int = 50, series: str = "", stream: str = "") -> list[Answer]:
        """The newest warnings, drifts and adaptations, each with its ``type``."""
        rows = self._all(self._recent(DRIFTS, limit, series=series, stream=stream))
        return [{"type": row["type"], **event_of(row["document"])} for row in rows]

    def drift_counts(self, *, stream: str = "") -> list[Answer]:
        """How often each series drifted, by type and by what was watched."""
        return self._counted(DRIFT_COUNTS, ("type", "stream", "series", "watched"), stream)

    def violations(self, *, limit: int = 50, series: str = "", stream: str = "") -> list[Answer]:
        """The newest violations: ``ContractViolated`` events."""
        rows = self._all(self._recent(VIOLATIONS, limit, series=series, stream=stream))
        return [event_of(row["document"]) for row in rows]

    def quality(self, *, stream: str = "") -> Answer:
        """The state of the data: ``violations`` by rule, and what was ``rejected`` and ``skipped``, by reason."""
        table = LEDGER_REASONS
        count = func.sum(table.c.count).label("count")
        reasons = select(table.c.stream, table.c.outcome, table.c.reason, count)
        if stream:
            reasons = reasons.where(table.c.stream == stream)
        outcomes = self._all(reasons.group_by(table.c.stream, table.c.outcome, table.c.reason))
        outcomes.sort(key=lambda row: (-row["count"], row["stream"], row["reason"]))
        return {
            "violations": self._counted(VIOLATION_COUNTS, ("stream", "rule", "feature", "action"), stream),
            **{
                outcome: [
                    {**picked(row, ("stream", "reason")), "count": int(row["count"])}
                    for row in outcomes if row["outcome"] == outcome
                ]
                for outcome in ("rejected", "skipped")
            },
        }  # fmt: skip

    def profiles(self, *, limit: int = 50, series: str = "", stream: str = "") -> list[Answer]:
        """The newest profile of each series: ``ProfileUpdated`` events."""
        found = select(PROFILES)
        for column, value in ((PROFILES.c.series, series), (PROFILES.c.stream, stream)):
            if value:
                found = found.where(column == value)
        rows = self._all(found.order_by(desc(PROFILES.c.time_ns), PROFILES.c.key).limit(limit))
        return [event_of(row["document"]) for row in rows]

    def _counted(self, table: Table, names: tuple[str, ...], stream: str) -> list[Answer]:
        """Counts over all partitions, largest first."""
        columns: list[Any] = [table.c[name] for name in names]
        found = select(*columns, func.sum(table.c.count).label("count"), func.max(table.c.time_ns).label("newest_ns"))
        if stream:
            found = found.where(table.c.stream == stream)
        rows = self._all(found.group_by(*columns))
        rows.sort(key=lambda row: (-row["count"], *(row[name] for name in names)))
        return [
            {**picked(row, names), "count": int(row["count"]), "newest": time_of(int(row["newest_ns"]))} for row in rows
        ]
