"""Notifications that are still to be sent: filled in the transaction that folds the alert, sent by whoever polls.

At most one per alert and channel is ever written, so an alert folded twice notifies once. Not guaranteed: that a
notification arrives only once; a sender that dies between sending and :meth:`Outbox.mark_sent` sends it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from oddtide.adapters.storage.columns import digest
from oddtide.adapters.storage.database import Database
from oddtide.adapters.storage.projections.base import Fact, Store
from oddtide.adapters.storage.tables import OUTBOX
from oddtide.domain.observability.events import AlertOpened
from oddtide.domain.readings import rfc3339

__all__ = ["Notification", "Outbox", "enqueue"]


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


class Outbox:
    """The sender's side of the outbox. Times are nanoseconds since 1970."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pending_notifications(self, now: int, limit: int = 100) -> list[Notification]:
        """Those due at ``now``, longest due first."""
        due = select(OUTBOX).where(OUTBOX.c.state == "pending", OUTBOX.c.next_ns <= now)
        with self._database.reading() as connection:
            rows = connection.execute(due.order_by(OUTBOX.c.next_ns, OUTBOX.c.id).limit(limit)).mappings().all()
        return [
            Notification(
                row["id"], row["alert"], row["channel"], row["attempts"], rfc3339(row["created_ns"]), row["document"]
            )
            for row in rows
        ]

    def mark_sent(self, notification: str, now: int) -> None:
        """It arrived."""
        self._mark(notification, state="sent", sent_ns=now, error="")

    def mark_failed(self, notification: str, error: str, next_attempt: int | None) -> None:
        """It did not arrive; try again at ``next_attempt``, or never (None)."""
        state = "pending" if next_attempt is not None else "failed"
        self._mark(
            notification, state=state, next_ns=next_attempt or 0, attempts=OUTBOX.c.attempts + 1, error=error
        )

    def _mark(self, notification: str, **values: object) -> None:
        with self._database.writing() as connection:
            connection.execute(update(OUTBOX).where(OUTBOX.c.id == notification).values(**values))

    def notifications(self) -> dict[str, int]:
        """How many there are by state: ``pending``, ``sent``, ``failed``."""
        with self._database.reading() as connection:
            states = connection.execute(select(OUTBOX.c.state)).scalars().all()
        return {state: states.count(state) for state in sorted(set(states))}
