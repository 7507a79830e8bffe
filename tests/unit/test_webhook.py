"""The webhook notifier against a real HTTP server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from oddtide.adapters.notifications import SIGNATURE_HEADER, WebhookNotifier, sign
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.observability.notifications import PlainNotification

NOTE = PlainNotification("n-1", "a-1", created="2026-01-01T00:00:00Z", body='{"alert":"a-1","count":1}')


class Receiver:
    """Answers as it is told and keeps what it got."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b"thanks"
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, content))
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(receiver.body)))
                self.end_headers()
                self.wfile.write(receiver.body)

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


@pytest.fixture
def notifier(receiver: Receiver) -> Iterator[WebhookNotifier]:
    notifier = WebhookNotifier(receiver.url, secret="s3cret", headers={"X-Team": "ops"}, source="/plant")
    yield notifier
    notifier.close()
    notifier.close()


def test_a_cloudevent_arrives_signed(receiver: Receiver, notifier: WebhookNotifier) -> None:
    assert notifier.notify(NOTE).outcome == "delivered"
    ((headers, body),) = receiver.got
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert headers["x-team"] == "ops"
    assert headers["idempotency-key"] == "n-1"
    assert headers[SIGNATURE_HEADER.lower()] == sign("s3cret", body)
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": "n-1",
        "type": "oddtide.AlertOpened",
        "source": "/plant",
        "subject": "a-1",
        "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {"alert": "a-1", "count": 1},
    }


def test_without_a_secret_there_is_no_signature(receiver: Receiver) -> None:
    notifier = WebhookNotifier(receiver.url)
    assert notifier.notify(NOTE).outcome == "delivered"
    notifier.close()
    assert SIGNATURE_HEADER.lower() not in receiver.got[0][0]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"), (202, "delivered"), (204, "delivered"),
        (408, "retry"), (425, "retry"), (429, "retry"), (500, "retry"), (503, "retry"),
        (301, "refused"), (307, "refused"), (400, "refused"), (401, "refused"), (404, "refused"), (410, "refused"),
    ],
)  # fmt: skip
def test_answers_are_told_apart(receiver: Receiver, notifier: WebhookNotifier, status: int, outcome: str) -> None:
    receiver.status, receiver.body = status, b"" if status == 204 else b"no such hook"
    delivery = notifier.notify(NOTE)
    assert delivery.outcome == outcome
    assert str(status) in delivery.detail
    assert len(receiver.got) == 1


def test_a_redirect_is_named_and_not_followed(receiver: Receiver, notifier: WebhookNotifier) -> None:
    receiver.status, receiver.headers = 302, {"Location": "https://example.org/elsewhere"}
    delivery = notifier.notify(NOTE)
    assert delivery.outcome == "refused"
    assert "https://example.org/elsewhere" in delivery.detail


@pytest.mark.parametrize(
    ("wish", "seconds"), [("120", 120.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("", None), ("9" * 20, None)]
)
def test_the_receivers_wish_is_read(
    receiver: Receiver, notifier: WebhookNotifier, wish: str, seconds: float | None
) -> None:
    receiver.status, receiver.headers = 503, {"Retry-After": wish}
    assert notifier.notify(NOTE).retry_after_s == seconds


def test_long_answers_are_cut(receiver: Receiver, notifier: WebhookNotifier) -> None:
    receiver.status, receiver.body = 400, b"x" * 10_000
    assert len(notifier.notify(NOTE).detail) <= 200


def test_nobody_there_is_tried_again() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    notifier = WebhookNotifier(f"http://127.0.0.1:{port}/", timeout_s=2)
    delivery = notifier.notify(NOTE)
    notifier.close()
    assert delivery.outcome == "retry"
    assert "ConnectError" in delivery.detail


def test_a_receiver_that_never_answers_is_given_up_in_time() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        notifier = WebhookNotifier(f"http://127.0.0.1:{mute.getsockname()[1]}/", timeout_s=0.2)
        delivery = notifier.notify(NOTE)
        notifier.close()
    assert delivery.outcome == "retry"
    assert "Timeout" in delivery.detail


@pytest.mark.parametrize("url", ["", "example.org/hook", "ftp://example.org/x", "http://", "http://h\x00st/"])
def test_what_is_no_address_is_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Give one like https://"):
        WebhookNotifier(url)


@pytest.mark.parametrize("url", ["htps://example.org/hush", "https://example.org:port/hush"])
def test_a_refused_address_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WebhookNotifier(url)
    assert "hush" not in str(caught.value)


def test_its_name_shows_no_secret() -> None:
    notifier = WebhookNotifier("https://user:hush@example.org/token/abc", secret="s3cret", verify=False)
    notifier.close()
    assert repr(notifier) == "WebhookNotifier(https://example.org)"
