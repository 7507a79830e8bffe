"""Sending what waits in the outbox: the one side effect on the outside world.

Every opened alert is told once through every channel that wants its severity, at least once in the strict sense: a
worker that dies between the receiver's answer and the note of it tells again, with the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec
import structlog
from mode import Service

from oddtide.domain.errors import DependencyError
from oddtide.domain.observability.events import AlertOpened
from oddtide.domain.observability.notifications import Channel, Delivery, Notification, Outbox

__all__ = ["OutboxSender"]

_POLL_S = 1.0
_AT_ONCE = 20

_log = structlog.get_logger(__name__)
_DECODER = msgspec.json.Decoder(AlertOpened)


class OutboxSender(Service):
    """Works the outbox off, a notification at a time, while ``may_send`` says so: of the workers on one database, one
    at a time may."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        clock: Callable[[], int],
        *,
        may_send: Callable[[], bool] = lambda: True,
        poll_s: float = _POLL_S,
    ) -> None:
        super().__init__()
        self._may_send = may_send
        self._outbox = outbox
        self._channels = channels
        self._clock = clock
        self._poll_s = poll_s

    @Service.task
    async def _work(self) -> None:
        while not self.should_stop:
            try:
                sent = await asyncio.to_thread(self.send_due) if self._may_send() else 0
            except DependencyError as error:
                _log.warning("cannot read the outbox for now", reason=str(error))
                sent = 0
            if sent < _AT_ONCE:
                await self.sleep(self._poll_s)

    async def on_stop(self) -> None:
        """Release the channels' connections."""
        for channel in self._channels.values():
            channel.notifier.close()

    def send_due(self) -> int:
        """Try everything that is due once, up to a bound; returns how many were tried. Blocks."""
        due = self._outbox.pending_notifications(self._clock(), _AT_ONCE)
        for notification in due:
            if self.should_stop or not self._may_send():
                break
            self._send(notification)
        return len(due)

    def _send(self, notification: Notification) -> None:
        channel = self._channels.get(notification.channel)
        if channel is None:
            self._outbox.mark_failed(notification.id, f"no channel {notification.channel!r} is configured", None)
            return
        if not channel.wants(_DECODER.decode(notification.body).severity):
            self._outbox.mark_sent(notification.id, self._clock())
            return
        self._note(notification, channel, channel.notifier.notify(notification))

    def _note(self, notification: Notification, channel: Channel, delivery: Delivery) -> None:
        now = self._clock()
        if delivery.outcome == "delivered":
            self._outbox.mark_sent(notification.id, now)
            _log.info("notified", alert=notification.alert, channel=notification.channel)
            return
        next_try = channel.retry.next_try(delivery, notification.attempts + 1, now)
        self._outbox.mark_failed(notification.id, delivery.detail, next_try)
        _log.warning(
            "notification failed", alert=notification.alert, channel=notification.channel, reason=delivery.detail,
            tries=notification.attempts + 1, given_up=next_try is None,
        )  # fmt: skip
