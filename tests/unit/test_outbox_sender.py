"""Working the outbox off: told once, retried with patience, given up in the open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from oddtide.domain.errors import StorageUnavailableError
from oddtide.domain.observability.notifications import Channel, Delivery, Notification, PlainNotification, RetryPolicy
from oddtide.streams.agents.outbox import OutboxSender

SECOND = 1_000_000_000
BODY = (
    '{"alert":"a","kind":"anomaly","stream":"s","series":"x","severity":"warning","summary":"","opened":"2026-01-01T00:'
    '00:00Z","last":"2026-01-01T00:00:00Z"}'
)


def note(id: str, *, channel: str = "hook", attempts: int = 0) -> PlainNotification:
    return PlainNotification(id, "a", channel, attempts, body=BODY)


class Box:
    """An outbox in memory."""

    def __init__(self, *waiting: PlainNotification) -> None:
        self.waiting = list(waiting)
        self.sent: list[str] = []
        self.failed: dict[str, tuple[str, int | None]] = {}
        self.done = threading.Event()
        self.failures: list[Exception] = []

    def pending_notifications(self, now: int, limit: int = 100) -> Sequence[Notification]:
        if self.failures:
            raise self.failures.pop()
        due, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return due

    def mark_sent(self, notification: str, now: int) -> None:
        self.sent.append(notification)
        self.done.set()

    def mark_failed(self, notification: str, error: str, next_attempt: int | None) -> None:
        self.failed[notification] = (error, next_attempt)


class Hook:
    """Answers as it is told."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.told: list[str] = []
        self.closed = False

    def notify(self, notification: Notification) -> Delivery:
        self.told.append(notification.id)
        return self.delivery

    def close(self) -> None:
        self.closed = True


def sender(box: Box, hook: Hook, **changes: object) -> OutboxSender:
    channel = Channel(hook, **changes)  # type: ignore[arg-type]  # fields by name
    return OutboxSender(box, {"hook": channel}, lambda: 100 * SECOND, poll_s=0.01)


def test_what_arrives_is_marked() -> None:
    box, hook = Box(note("1"), note("2")), Hook(Delivery("delivered"))
    assert sender(box, hook).send_due() == 2
    assert (hook.told, box.sent, box.failed) == (["1", "2"], ["1", "2"], {})


def test_what_may_work_later_is_put_off() -> None:
    box, hook = Box(note("1", attempts=1)), Hook(Delivery("retry", "HTTP 503"))
    sender(box, hook, retry=RetryPolicy(first_s=5, attempts=3)).send_due()
    assert box.failed == {"1": ("HTTP 503", 110 * SECOND)}


def test_what_never_will_work_or_was_tried_enough_is_given_up() -> None:
    box, hook = Box(note("1"), note("2", channel="gone")), Hook(Delivery("refused", "HTTP 404"))
    sender(box, hook).send_due()
    assert box.failed == {"1": ("HTTP 404", None), "2": ("no channel 'gone' is configured", None)}
    box, hook = Box(note("3", attempts=2)), Hook(Delivery("retry", "HTTP 503"))
    sender(box, hook, retry=RetryPolicy(attempts=3)).send_due()
    assert box.failed == {"3": ("HTTP 503", None)}


def test_what_a_channel_does_not_want_is_not_told() -> None:
    box, hook = Box(note("1")), Hook(Delivery("delivered"))
    sender(box, hook, minimum_severity="critical").send_due()
    assert (hook.told, box.sent) == ([], ["1"])


def test_who_may_not_send_leaves_it_to_others() -> None:
    box, hook = Box(note("1")), Hook(Delivery("delivered"))
    working = OutboxSender(box, {"hook": Channel(hook)}, lambda: 0, may_send=lambda: False)
    working.send_due()
    assert hook.told == []


async def test_the_service_works_on_over_a_database_that_is_away() -> None:
    box, hook = Box(note("1")), Hook(Delivery("delivered"))
    box.failures = [StorageUnavailableError("the database is away.")]
    service = sender(box, hook)
    await service.start()
    assert await asyncio.to_thread(box.done.wait, 30)
    await service.stop()
    assert hook.told == ["1"]
    assert hook.closed
