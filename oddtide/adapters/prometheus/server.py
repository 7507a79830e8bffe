"""The HTTP server of a worker: ``/metrics``, ``/livez`` and ``/readyz`` (also without the z), in a thread of its own.

``/readyz`` answers 200 once every role runs and every partition held is restored and consuming, else 503 with the
reasons. ``/livez`` answers 200 unless a role has failed for good: restart the worker then.
"""

from __future__ import annotations

import errno
import json
import logging
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from oddtide.adapters.prometheus.metrics import PrometheusMetrics
from oddtide.domain.errors import ConfigurationError, DependencyError, OddtideError
from oddtide.domain.observability.progress import WorkerProgress

__all__ = ["MetricsServer"]

_log = logging.getLogger(__name__)

_IDLE_CONNECTION_S = 30.0


class MetricsServer:
    """Serves from :meth:`start` to :meth:`stop`; also a context manager. Port 0 takes a free one."""

    def __init__(
        self,
        metrics: PrometheusMetrics,
        source: Callable[[], WorkerProgress],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._metrics = metrics
        self._source = source
        self._address = (host, port)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Bind and serve; returns the address of ``/metrics``.

        Raises ``DependencyError`` where the port is in use, ``ConfigurationError`` where no such address is here.
        """
        try:
            server = _Server(self._address, self._answer)
        except (OSError, OverflowError) as error:
            raise _cannot_bind(*self._address, error) from None
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="oddtide-metrics", daemon=True)
        self._thread.start()
        return self.url

    def stop(self) -> None:
        """Close the port. May be called twice."""
        server, self._server = self._server, None
        thread, self._thread = self._thread, None
        if server is not None and thread is not None:
            server.shutdown()
            thread.join()
            server.server_close()

    @property
    def url(self) -> str:
        """The address of ``/metrics``; empty while not started."""
        if self._server is None:
            return ""
        host, port = self._address[0], self._server.server_address[1]
        return f"http://{host}:{port}/metrics"

    def __enter__(self) -> MetricsServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/metrics":
            return HTTPStatus.OK, self._metrics.content_type, self._metrics.render()
        if path in ("/readyz", "/ready"):
            return _verdict("ready", self._source().unready())
        if path in ("/livez", "/live"):
            return _verdict("alive", _failures(self._source()))
        body = {"status": "not found", "paths": ["/metrics", "/livez", "/readyz"]}
        return HTTPStatus.NOT_FOUND, "application/json", json.dumps(body).encode()


def _failures(progress: WorkerProgress) -> list[str]:
    return [f"role {role.role} failed: {role.reason}" for role in progress.roles if role.state == "failed"]


def _verdict(good: str, reasons: list[str]) -> tuple[HTTPStatus, str, bytes]:
    body = json.dumps({"status": f"not {good}" if reasons else good, "reasons": reasons}).encode()
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return status, "application/json", body


def _cannot_bind(host: str, port: int, error: Exception) -> OddtideError:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return DependencyError(
            f"Port {port} on {host} is in use, so the worker can't serve its metrics there.",
            remedy="Stop what listens there, or set another worker.metrics_port (0 takes a free one).",
        )
    return ConfigurationError(
        f"Metrics can't be served at {host}:{port}: {error}.",
        remedy="Set worker.metrics_host to an address of this machine and worker.metrics_port to 0..65535.",
    )


_Answer = Callable[[str], tuple[HTTPStatus, str, bytes]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], answer: _Answer) -> None:
        self.answer = answer
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up before its answer is no news either; anything else is logged."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            _log.error("metrics request failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "oddtide"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_CONNECTION_S

    def do_GET(self) -> None:
        """Answer one request."""
        status, content_type, body = self.server.answer(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        """The same without the body."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a scrape every few seconds is no news."""
