"""Ways to reach people. Each fits :class:`oddtide.domain.observability.notifications.Notifier`."""

from oddtide.adapters.notifications.webhook import SIGNATURE_HEADER, WebhookNotifier, sign

__all__ = ["SIGNATURE_HEADER", "WebhookNotifier", "sign"]
