"""When a notification is tried again."""

from __future__ import annotations

import pytest

from oddtide.domain.observability.notifications import Channel, Delivery, Notification, PlainNotification, RetryPolicy

SECOND = 1_000_000_000
POLICY = RetryPolicy(first_s=5, most_s=60, attempts=8)


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (7, 60)])
def test_waits_double_up_to_the_most(attempts: int, seconds: int) -> None:
    assert POLICY.next_try(Delivery("retry"), attempts, 100) == 100 + seconds * SECOND


@pytest.mark.parametrize(
    ("delivery", "attempts"),
    [(Delivery("delivered"), 1), (Delivery("refused"), 1), (Delivery("retry"), 8), (Delivery("retry"), 9)],
)
def test_what_is_done_or_hopeless_is_not_tried_again(delivery: Delivery, attempts: int) -> None:
    assert POLICY.next_try(delivery, attempts, 0) is None


@pytest.mark.parametrize(("wish", "seconds"), [(1.0, 5), (30.0, 30), (1e9, 60)])
def test_the_receivers_wish_is_heard_within_reason(wish: float, seconds: int) -> None:
    assert POLICY.next_try(Delivery("retry", retry_after_s=wish), 1, 0) == seconds * SECOND


class Silent:
    def notify(self, notification: Notification) -> Delivery:
        return Delivery("delivered", notification.id)

    def close(self) -> None:
        """Nothing to release."""


def test_a_channel_wants_what_is_grave_enough() -> None:
    channel = Channel(Silent(), minimum_severity="warning")
    assert [channel.wants(severity) for severity in ("info", "warning", "critical")] == [False, True, True]
    assert channel.notifier.notify(PlainNotification("n", "a")).detail == "n"
