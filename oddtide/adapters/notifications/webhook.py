"""Notifications as HTTP requests: one POST of a CloudEvent in structured JSON to an address of the user's choice.

With a secret, the header ``Oddtide-Signature: sha256=<hex>`` holds the HMAC-SHA-256 of the body, so that the receiver
can tell that it comes from here. The header ``Idempotency-Key`` and the event's ``id`` are the same at every try.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Mapping

import httpx
import orjson

from oddtide.domain.errors import ConfigurationError
from oddtide.domain.observability.notifications import Delivery, Notification

__all__ = ["SIGNATURE_HEADER", "WebhookNotifier", "sign"]

SIGNATURE_HEADER = "Oddtide-Signature"

_CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_TYPE = "oddtide.AlertOpened"
#: Answers that may be different later; every other one that is not 2xx stays as it is.
_LATER = frozenset({408, 421, 425, 429})
_DETAIL_CHARACTERS = 200


def sign(secret: str, body: bytes) -> str:
    """The signature of a body, as it stands in :data:`SIGNATURE_HEADER`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class WebhookNotifier:
    """Posts notifications to ``url``, waiting ``timeout_s`` for each step at most.

    Redirects are not followed: they would carry the signature and headers to an address nobody configured. Usable
    from one thread at a time. ``source`` is the events' source; ``verify`` false accepts any certificate; ``ca_file``
    names one's own authority.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        secret: str = "",
        headers: Mapping[str, str] | None = None,
        source: str = "/oddtide",
        ca_file: str = "",
        verify: bool = True,
    ) -> None:
        self._url = _checked(url)
        self._source = source
        self._secret = secret
        trust: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca_file) if ca_file and verify else verify
        self._client = httpx.Client(
            timeout=timeout_s, headers=dict(headers or {}), follow_redirects=False, verify=trust
        )

    def __repr__(self) -> str:
        return f"WebhookNotifier({self._url.scheme}://{self._url.host})"

    def notify(self, notification: Notification) -> Delivery:
        """Try once. Never raises for what a network or receiver may do."""
        body = _body(notification, self._source)
        headers = {"Content-Type": _CONTENT_TYPE, "Idempotency-Key": notification.id}
        if self._secret:
            headers[SIGNATURE_HEADER] = sign(self._secret, body)
        try:
            response = self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return Delivery("retry", f"{type(error).__name__}: {error}"[:_DETAIL_CHARACTERS])
        return _classify(response)

    def close(self) -> None:
        """Release the connections."""
        self._client.close()


def _checked(url: str) -> httpx.URL:
    # Never shown: where the path is the receiver's secret, as with many, the address is one.
    remedy = "Give one like https://example.org/hooks/oddtide."
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"A webhook's address is no URL: {error}.", remedy=remedy) from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError("A webhook's address is not an http or https URL.", remedy=remedy)
    return parsed


def _body(notification: Notification, source: str) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": notification.id,
            "type": _TYPE,
            "source": source,
            "subject": notification.alert,
            "time": notification.created,
            "datacontenttype": "application/json",
            "data": orjson.Fragment(notification.body),
        }
    )


def _classify(response: httpx.Response) -> Delivery:
    status = response.status_code
    if response.is_success:
        return Delivery("delivered", f"HTTP {status}")
    detail = f"HTTP {status}: {response.text.strip()}"[:_DETAIL_CHARACTERS].rstrip(": ")
    if status >= 500 or status in _LATER:
        return Delivery("retry", detail, _retry_after(response.headers.get("Retry-After", "")))
    if response.is_redirect:
        detail = f"HTTP {status}: redirects are not followed; configure {response.headers.get('Location', '')!r}"
    return Delivery("refused", detail)


def _retry_after(text: str) -> float | None:
    """Seconds; the header's date form is left unheard, since our own waits then do."""
    return float(text) if text.strip().isdigit() and len(text) < 10 else None
