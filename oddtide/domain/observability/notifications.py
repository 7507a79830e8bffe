"""Telling people: what is told, and how often a failed delivery is tried again.

A notification is a side effect, so it can't be part of a fold: rebuilding a projection must not ring anybody's phone.
It goes through an *outbox*: the projection writes "tell them of this alert" in the same transaction as the alert, and a
sender works the outbox off. Delivery is at least once: a receiver recognises repeats by the notification's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from oddtide.domain.observability.events import Severity
from oddtide.domain.observability.policy import is_at_least

__all__ = ["Channel", "Delivery", "Notification", "Notifier", "Outbox", "Outcome", "PlainNotification", "RetryPolicy"]

#: ``delivered``; ``retry``: it may work later; ``refused``: it never will as it stands.
Outcome: TypeAlias = Literal["delivered", "retry", "refused"]


class Notification(Protocol):
    """One thing to tell through one channel."""

    @property
    def id(self) -> str:
        """The same at every try."""
        ...

    @property
    def alert(self) -> str:
        """The alert that it is about."""
        ...

    @property
    def channel(self) -> str:
        """The name of the way to tell it."""
        ...

    @property
    def attempts(self) -> int:
        """How often it was tried before."""
        ...

    @property
    def created(self) -> str:
        """When it entered the outbox, as RFC 3339."""
        ...

    @property
    def body(self) -> str:
        """The ``AlertOpened`` event as JSON."""
        ...


@dataclass(frozen=True, slots=True)
class PlainNotification:
    """A notification that comes from no outbox."""

    id: str
    alert: str
    channel: str = ""
    attempts: int = 0
    created: str = ""
    body: str = "{}"


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

    def pending_notifications(self, now: int, limit: int = 100) -> Sequence[Notification]:
        """Those due at ``now``, longest due first."""
        ...

    def mark_sent(self, notification: str, now: int) -> None:
        """It arrived."""
        ...

    def mark_failed(self, notification: str, error: str, next_attempt: int | None) -> None:
        """It did not arrive; try again at ``next_attempt``, or never (None)."""
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


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to reach people, for alerts of ``minimum_severity`` and graver (as they are when they open)."""

    notifier: Notifier
    minimum_severity: Severity = "info"
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def wants(self, severity: Severity) -> bool:
        """Whether an alert of this severity is told through it."""
        return is_at_least(severity, self.minimum_severity)
