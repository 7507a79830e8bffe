"""Notifications that are still to be sent: filled in the transaction that folds the alert, sent by whoever polls.

At most one per alert and channel is ever written, so an alert folded twice notifies once. Not guaranteed: that a
notification arrives only once; a sender that dies between sending and :meth:`SqlOutbox.mark_sent` sends it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update

from oddtide.adapters.storage.columns import digest
from oddtide.adapters.storage.projections.base import Fact, Store
from oddtide.adapters.storage.queries.base import Answer, Reader
from oddtide.adapters.storage.tables import OUTBOX
from oddtide.domain.observability.events import AlertOpened
from oddtide.domain.readings import rfc3339

__all__ = ["Notification", "SqlOutbox", "enqueue"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification. ``body`` is the ``AlertOpened`` event as JSON; ``attempts`` those that failed so far."""

    id: str
    alert: str
    channel: str
    attempts: int
    created: str
    body: str


def enqueue(store: Store, facts: Sequence[Fact], channels: Sequence[str], now: int) -> None:
    """Write a notification per newly opened alert and channel."""
    opened = [fact for fact in facts if type(fact.event) is AlertOpened]
    store.add(OUTBOX, [_row(fact, channel, now) for fact in opened for channel in channels])


def _row(fact: Fact, channel: str, now: int) -> dict[str, Any]:
    alert = fact.event.alert
    return {
        "id": digest(alert, channel), "alert": alert, "channel": channel, "state": "pending", "created_ns": now,
        "next_ns": now, "attempts": 0, "sent_ns": None, "error": "", "document": fact.document,
    }  # fmt: skip


class SqlOutbox(Reader):
    """The sender's side; fits ``Outbox`` of observability. Times are nanoseconds since 1970."""

    def pending_notifications(self, now: int, limit: int = 100) -> list[Notification]:
        """Those due at ``now``, longest due first."""
        due = select(OUTBOX).where(OUTBOX.c.state == "pending", OUTBOX.c.next_ns <= now)
        return [_notification(row) for row in self._all(due.order_by(OUTBOX.c.next_ns, OUTBOX.c.id).limit(limit))]

    def mark_sent(self, notification: str, now: int) -> None:
        """It arrived."""
        self._mark(notification, state="sent", sent_ns=now, error="")

    def mark_failed(self, notification: str, error: str, next_attempt: int | None) -> None:
        """It did not arrive; try again at ``next_attempt``, or never (None)."""
        state = "pending" if next_attempt is not None else "failed"
        next_ns = next_attempt or 0
        self._mark(notification, state=state, next_ns=next_ns, attempts=OUTBOX.c.attempts + 1, error=error)

    def _mark(self, notification: str, **values: object) -> None:
        with self._database.writing() as connection:
            connection.execute(update(OUTBOX).where(OUTBOX.c.id == notification).values(**values))

    def notifications(self) -> dict[str, int]:
        """How many there are by state: ``failed``, ``pending``, ``sent``."""
        counted = select(OUTBOX.c.state, func.count().label("count")).group_by(OUTBOX.c.state)
        return {row["state"]: row["count"] for row in sorted(self._all(counted), key=lambda row: str(row["state"]))}


def _notification(row: Answer) -> Notification:
    return Notification(
        row["id"], row["alert"], row["channel"], row["attempts"], rfc3339(row["created_ns"]), row["document"]
    )
