"""Telling people: what is told, and how often a failed delivery is tried again.

A notification is a side effect, so it can't be part of a fold: rebuilding a projection must not ring anybody's phone.
It goes through an *outbox*: the projection writes "tell them of this alert" in the same transaction as the alert, and a
sender works the outbox off. Delivery is at least once: a receiver recognises repeats by the notification's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

__all__ = ["Delivery", "Notification", "Notifier", "Outbox", "Outcome", "RetryPolicy"]

#: ``delivered``; ``retry``: it may work later; ``refused``: it never will as it stands.
Outcome: TypeAlias = Literal["delivered", "retry", "refused"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell. ``id`` is the same at every try; ``subject`` the alert, ``body`` its event as JSON values.
    ``attempts`` is how often it was tried already."""

    id: str
    type: str
    subject: str
    time: str
    body: Mapping[str, object]
    source: str = "/oddtide"
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one try. ``retry_after_s`` is the receiver's own wish, where it had one."""

    outcome: Outcome
    detail: str = ""
    retry_after_s: float | None = None


class Notifier(Protocol):
    """A way to reach people. It blocks until the outcome is known (never for ever) and never raises."""

    def notify(self, notification: Notification) -> Delivery:
        """Try once."""
        ...

    def close(self) -> None:
        """Release connections. May be called twice."""
        ...


class Outbox(Protocol):
    """Where notifications wait. Times are nanoseconds since 1970."""

    def due_notifications(self, now: int, limit: int) -> Sequence[Notification]:
        """Those whose time has come, oldest first."""
        ...

    def record_delivery(self, id: str, delivery: Delivery, *, now: int, next_try: int | None) -> None:
        """Note the outcome of a try; ``next_try`` None means that there will be none."""
        ...


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits double from ``first_s`` to ``most_s`` seconds; after ``attempts`` tries it is given up.

    With the defaults, tries go on for about a day.
    """

    first_s: float = 5.0
    most_s: float = 3_600.0
    attempts: int = 32

    def next_try(self, delivery: Delivery, attempts: int, now: int) -> int | None:
        """When to try again (ns) after ``attempts`` tries, the last of which had this outcome; None for never."""
        if delivery.outcome != "retry" or attempts >= self.attempts:
            return None
        wait = min(self.first_s * 2.0 ** min(attempts - 1, 30), self.most_s)
        if delivery.retry_after_s is not None:
            wait = min(max(wait, delivery.retry_after_s), self.most_s)
        return now + int(wait * 1_000_000_000)
