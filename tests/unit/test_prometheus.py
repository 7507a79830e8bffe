"""Metrics, liveness and readiness over HTTP."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from oddtide.adapters.prometheus import MetricsServer, PrometheusMetrics, WorkerInfo
from oddtide.domain.errors import ConfigurationError, DependencyError
from oddtide.domain.observability.events import PartitionHealth
from oddtide.domain.observability.progress import (
    BATCH_SECONDS,
    Histogram,
    MemoryUse,
    PartitionProgress,
    Restore,
    RoleProgress,
    SnapshotProgress,
    StreamProgress,
    WorkerProgress,
)

USE = MemoryUse(awake=5, asleep=2, bytes_per_series=200, woken=3, put_to_sleep=9, trouble="disk full")


def progress(state: str = "running", role: str = "running") -> WorkerProgress:
    durations = Histogram()
    for seconds in (0.002, 0.03, 60.0):
        durations.add(seconds)
    held = [
        PartitionProgress(
            "plant",
            PartitionHealth(topic="r", partition=0, position=5, end=9, lag=4, state=state),
            7,
            USE,
            Restore(1, 5, 4, 2.0),
            SnapshotProgress(3, 1, 0.25, 900, 12.0),
        ),
        PartitionProgress("plant", PartitionHealth(topic="r", partition=1, position=5, end=-1, lag=-1), 0),
    ]
    stream = StreamProgress("plant", 11, 12, 9, {"not_json": 2}, {"duplicate": 1}, 3, durations)
    roles = (RoleProgress("ingest", role, "why" if role != "running" else ""),)  # type: ignore[arg-type]  # any state
    return WorkerProgress((stream,), tuple(held), roles, rebalances=2, fences=1)


class Source:
    def __init__(self) -> None:
        self.progress = progress()

    def __call__(self) -> WorkerProgress:
        return self.progress


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def server(source: Source) -> Iterator[MetricsServer]:
    metrics = PrometheusMetrics(source, WorkerInfo("w1", "host", "0.1.0"))
    with MetricsServer(metrics, source) as server:
        yield server


def get(server: MetricsServer, path: str) -> httpx.Response:
    return httpx.get(server.url.replace("/metrics", path))


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_figure_is_there(server: MetricsServer) -> None:
    response = get(server, "/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    found = samples(response.text)
    plant = ("stream", "plant")
    first = (("partition", "0"), plant, ("topic", "r"))
    assert found["oddtide_readings_total", (("outcome", "scored"), ("reason", ""), plant)] == 9
    assert found["oddtide_readings_total", (("outcome", "rejected"), ("reason", "not_json"), plant)] == 2
    assert found["oddtide_readings_total", (("outcome", "skipped"), ("reason", "duplicate"), plant)] == 1
    assert found["oddtide_detections_total", (plant,)] == 3
    assert found["oddtide_records_total", (plant,)] == 11
    assert found["oddtide_rebalances_total", ()] == 2
    assert found["oddtide_fences_total", ()] == 1
    assert found["oddtide_restore_records_left", first] == 1
    assert found["oddtide_restore_share", first] == 1
    assert found["oddtide_restore_seconds", first] == 2
    assert found["oddtide_snapshots_total", (("outcome", "written"), *first)] == 3
    assert found["oddtide_snapshots_total", (("outcome", "failed"), *first)] == 1
    assert found["oddtide_snapshot_age_seconds", first] == 12
    assert found["oddtide_snapshot_bytes", first] == 900
    assert found["oddtide_snapshot_seconds", first] == 0.25
    assert ("oddtide_snapshot_bytes", (("partition", "1"), plant, ("topic", "r"))) not in found
    assert found["oddtide_batch_records_count", (plant,)] == 0
    assert found["oddtide_fold_seconds_count", (plant,)] == 0
    assert found["oddtide_partition_lag", first] == 4
    assert found["oddtide_partition_position", first] == 5
    assert found["oddtide_partition_running", first] == 1
    assert found["oddtide_partition_series", first] == 7
    assert found["oddtide_series", (*first[:1], ("state", "awake"), *first[1:])] == 5
    assert found["oddtide_series", (*first[:1], ("state", "asleep"), *first[1:])] == 2
    assert found["oddtide_series_bytes", first] == 200
    assert found["oddtide_series_moved_total", (*first[:2], ("to", "asleep"), first[2])] == 9
    assert found["oddtide_series_moved_total", (*first[:2], ("to", "awake"), first[2])] == 3
    assert found["oddtide_memory_over_budget", first] == 1
    assert found["oddtide_readings_unscored_share", (plant,)] == 0
    assert found["oddtide_worker_info", (("build", "0.1.0"), ("host", "host"), ("worker", "w1"))] == 1
    assert found["oddtide_role_running", (("role", "ingest"), ("state", "running"))] == 1
    assert any(name.startswith(("process_", "python_info")) for name, _ in found)


def test_an_unknown_lag_is_absent(server: MetricsServer) -> None:
    found = samples(get(server, "/metrics").text)
    second = (("partition", "1"), ("stream", "plant"), ("topic", "r"))
    assert ("oddtide_partition_lag", second) not in found
    assert found["oddtide_partition_position", second] == 5


def test_who_hangs_up_is_no_news_and_what_fails_is_logged(
    server: MetricsServer, source: Source, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 0)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
    get(server, "/livez")
    assert (caplog.text, capfd.readouterr().err) == ("", "")
    source.progress = None  # type: ignore[assignment]  # to make answering fail
    with pytest.raises(httpx.RemoteProtocolError):
        get(server, "/readyz")
    assert "metrics request failed" in caplog.text
    assert "AttributeError" in caplog.text
    source.progress = progress()
    assert get(server, "/readyz").status_code == 200


def test_the_histogram_cumulates(server: MetricsServer) -> None:
    found = samples(get(server, "/metrics").text)
    plant = ("stream", "plant")
    counts = [found["oddtide_commit_seconds_bucket", (("le", str(bound)), plant)] for bound in BATCH_SECONDS]
    assert counts == sorted(counts)
    assert counts[-1] == 2
    assert found["oddtide_commit_seconds_bucket", (("le", "+Inf"), plant)] == 3
    assert found["oddtide_commit_seconds_count", (plant,)] == 3
    assert found["oddtide_commit_seconds_sum", (plant,)] == pytest.approx(60.032)


@pytest.mark.parametrize("path", ["/readyz", "/ready"])
def test_ready_once_restored(server: MetricsServer, source: Source, path: str) -> None:
    assert get(server, path).json() == {"status": "ready", "reasons": []}
    source.progress = progress("restoring")
    response = get(server, path)
    assert response.status_code == 503
    assert response.json() == {"status": "not ready", "reasons": ["partition 0 of r is restoring: 75% done"]}


@pytest.mark.parametrize("path", ["/livez", "/live"])
def test_alive_until_a_role_fails_for_good(server: MetricsServer, source: Source, path: str) -> None:
    assert get(server, path).json()["status"] == "alive"
    source.progress = progress(role="failed")
    response = get(server, path)
    assert response.status_code == 503
    assert response.json() == {"status": "not alive", "reasons": ["role ingest failed: why"]}


def test_other_paths_say_which_there_are(server: MetricsServer) -> None:
    response = get(server, "/?x=1")
    assert response.status_code == 404
    assert json.loads(response.content)["paths"] == ["/metrics", "/livez", "/readyz"]
    assert httpx.head(server.url).content == b""


def test_a_port_in_use_is_named_with_a_remedy(source: Source) -> None:
    metrics = PrometheusMetrics(source, WorkerInfo("w1", "host", "0.1.0"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            DependencyError, match=rf"Port {port} on 127.0.0.1 is in use.*set another worker.metrics_port"
        ):
            MetricsServer(metrics, source, port=port).start()


@pytest.mark.parametrize(("host", "port"), [("203.0.113.1", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_cannot_be_bound_is_named(source: Source, host: str, port: int) -> None:
    metrics = PrometheusMetrics(source, WorkerInfo("w1", "host", "0.1.0"))
    with pytest.raises(ConfigurationError, match="can't be served"):
        MetricsServer(metrics, source, host=host, port=port).start()


def test_stopping_frees_the_port(source: Source) -> None:
    server = MetricsServer(PrometheusMetrics(source, WorkerInfo("w1", "host", "0.1.0")), source)
    assert server.url == ""
    port = httpx.URL(server.start()).port
    server.stop()
    server.stop()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port or 0))
