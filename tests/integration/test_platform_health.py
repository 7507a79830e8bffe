"""``monitor_health()`` without data: what the log of a running platform says."""

from __future__ import annotations

from pathlib import Path

import pytest

import oddtide
from oddtide.adapters.kafka import KafkaWriter
from oddtide.config.composition import Composition
from oddtide.config.settings import load
from oddtide.domain.events import Event
from oddtide.domain.observability.events import (
    AlertOpened,
    AlertResolved,
    HeartbeatRecorded,
    WorkerStarted,
    WorkerStopped,
)
from oddtide.domain.readings import rfc3339
from oddtide.streams.envelope import seal


@pytest.fixture
def platform(kafka: str, topic_prefix: str, tmp_path: Path) -> Composition:
    file = tmp_path / "oddtide.toml"
    file.write_text(f'application = "{topic_prefix}"\nprefix = "{topic_prefix}"\n[kafka]\nbootstrap = "{kafka}"\n')
    composition = Composition(load(file).settings)
    with composition.admin() as admin:
        admin.ensure(composition.catalogue().all())
    return composition


def publish(platform: Composition, role: str, *events: Event) -> None:
    with KafkaWriter(platform.connection()) as writer:
        for number, event in enumerate(events):
            value, headers = seal(event, id=str(number), source="/test")
            writer.send(platform.catalogue().name(role), value, headers=headers, partition=0)
        writer.send(platform.catalogue().name(role), b"not ours", partition=0)


def beat(worker: str, time: int) -> HeartbeatRecorded:
    return HeartbeatRecorded(
        worker=worker, host="h", pid=1, roles=["ingest"], time=rfc3339(time), uptime_s=1.0, readings_per_s=5.0
    )


def alert(name: str) -> AlertOpened:
    return AlertOpened(
        alert=name, kind="anomaly", stream="readings", series="pump", severity="warning", summary="odd",
        opened="2024-01-01T00:00:00Z", last="2024-01-01T00:00:00Z",
    )  # fmt: skip


def test_workers_lag_and_alerts_are_gathered(platform: Composition, tmp_path: Path) -> None:
    now = platform.clock()
    started = WorkerStarted(worker="w3", host="h", pid=3, roles=[], build="1", time=rfc3339(now))
    stopped = WorkerStopped(worker="w2", time=rfc3339(now))
    publish(platform, "health", started, beat("w1", now), beat("w2", now), beat("old", now - 10**11), stopped)
    resolved = AlertResolved(alert="b", how="person", time=rfc3339(now))
    publish(platform, "alerts", alert("a"), alert("b"), resolved)
    with KafkaWriter(platform.connection()) as writer:
        for _ in range(7):
            writer.send(platform.plans()[0].topic, b"{}", key=b"a")
    health = oddtide.monitor_health(config=tmp_path / "oddtide.toml")
    assert health.platform is not None
    assert {each.worker: each.state for each in health.platform.workers} == {"w1": "running", "old": "silent"}
    assert health.platform.lag == {platform.plans()[0].topic: 7}
    assert health.platform.open_alerts == ("warning pump: odd",)
    assert not health.healthy
    shown = str(health)
    assert "2 workers, 7 records behind, 1 open alerts" in shown
    assert "! old is silent" in shown


def test_a_platform_without_workers_is_not_healthy(platform: Composition, tmp_path: Path) -> None:
    assert oddtide.monitor_health(config=str(tmp_path / "oddtide.toml")).problems == ("no worker runs",)
