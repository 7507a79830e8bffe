"""The health role on a real Kafka: signs of life, silence, ledgers that don't add up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from oddtide.domain.observability.events import (
    AgentDegraded,
    HeartbeatRecorded,
    LedgerBroken,
    WorkerLost,
    WorkerStarted,
    WorkerStopped,
)
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.agents.health import build
from oddtide.streams.agents.heartbeat import Heartbeats, resident_mib
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.publisher import EventPublisher, Outgoing
from tests.integration.agents_kit import Application, Memory, eventually, running

NOW = "2026-01-01T00:00:00Z"


@pytest.fixture
async def application(kafka: str, topic_prefix: str, tmp_path: Path) -> Application:
    plan = StreamPlan("plant", f"{topic_prefix}.readings")
    application = Application(kafka, topic_prefix, tmp_path, plans=(plan,))
    await application.create()
    return application


def batch(application: Application, start: int, stop: int, *, scored: int | None = None) -> BatchCompleted:
    return BatchCompleted(
        stream="plant", topic=f"{application.prefix}.readings", partition=1, from_offset=start, to_offset=stop,
        records=stop - start, holes=0, readings=stop - start, scored=stop - start if scored is None else scored,
        time=NOW,
    )  # fmt: skip


def beat(worker: str) -> HeartbeatRecorded:
    return HeartbeatRecorded(worker=worker, host="h", pid=1, roles=[], time=NOW, uptime_s=1.0, interval_s=0.1)


async def test_a_worker_says_that_it_lives_what_it_does_and_goodbye(application: Application) -> None:
    context = application.context(roles=("health", "ingest"))
    context.progress.batch(batch(application, 0, 10), seconds=0.1, end=12, series=3)
    context.progress.role("ingest", "degraded", "the broker is slow")
    async with running(Heartbeats(context)):
        await eventually(lambda: application.events("health", HeartbeatRecorded), lambda beats: len(beats) >= 2)
    beats = await application.events("health", HeartbeatRecorded)
    (started,) = await application.events("health", WorkerStarted)
    (stopped,) = await application.events("health", WorkerStopped)
    (degraded,) = await application.events("health", AgentDegraded)
    last = beats[-1]
    assert started.worker == stopped.worker == last.worker == context.worker
    assert (started.roles, started.build) == (["health", "ingest"], "test")
    assert (last.readings, last.scored, last.series, last.state) == (10, 10, 3, "degraded")
    assert [(held.partition, held.position, held.lag) for held in last.partitions] == [(1, 10, 2)]
    assert last.memory_mib > 1
    assert last.uptime_s >= beats[0].uptime_s >= 0
    assert (degraded.part, degraded.reason) == ("ingest", "the broker is slow")
    ids = [logged.envelope.id for logged in await application.logged("health")]
    assert len(set(ids)) == len(ids)


async def test_silence_is_said_once_and_not_of_those_who_stopped(application: Application) -> None:
    publisher = application.publisher()
    async with publisher as health:
        topic = application.catalogue.name("health")
        await health.publish(topic, beat("gone"), id="1", key="gone", partition=0)
        await health.publish(topic, beat("left"), id="2", key="left", partition=0)
        await health.publish(topic, WorkerStopped(worker="left", time=NOW), id="3", key="left", partition=0)
    for _ in range(2):
        context = application.context()
        async with running(build(context, application.parts())), running(Heartbeats(context)):
            await eventually(lambda: application.events("health", WorkerLost), bool)
    lost = await application.events("health", WorkerLost)
    assert [(one.worker, one.silent_s > 15) for one in lost] == [("gone", True)]


async def test_a_broken_ledger_is_reported_once_also_over_a_restart(application: Application) -> None:
    memory = Memory()
    ledger = f"{application.prefix}.readings.ledger"
    role = ledger.removeprefix(f"{application.prefix}.")

    async def projected() -> int:
        await asyncio.sleep(0)
        return sum(isinstance(each.event, BatchCompleted) for each in memory.events.get("health", []))

    async with running(build(application.context(), application.parts(read_models=memory))):
        await application.publish(role, [batch(application, 0, 10), batch(application, 10, 20)], partition=1)
        assert await eventually(projected, lambda count: count == 2) == 2
        assert await application.events("health", LedgerBroken) == []
    async with running(build(application.context(), application.parts(read_models=memory))):
        bad = [batch(application, 25, 30), batch(application, 30, 40, scored=1)]
        await application.publish(role, bad, partition=1)
        await eventually(projected, lambda count: count == 4)
        broken = await eventually(lambda: application.events("health", LedgerBroken), lambda found: len(found) == 2)
    assert [(one.offset, one.problem.split(":")[0]) for one in broken] == [
        (25, "gap"), (30, "10 readings, but 1 outcomes"),
    ]  # fmt: skip
    assert {one.partition for one in broken} == {1}


async def test_a_heartbeat_that_cannot_be_sent_is_left_out(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = EventPublisher.publish_all, [OSError("no route to the broker")] * 2

    async def failing(publisher: EventPublisher, batch: Iterable[Outgoing]) -> None:
        outgoing = list(batch)
        if failures and any(isinstance(one.event, HeartbeatRecorded) for one in outgoing):
            raise failures.pop()
        if any(isinstance(one.event, WorkerStopped) for one in outgoing):
            raise TimeoutError
        await real(publisher, outgoing)

    monkeypatch.setattr(EventPublisher, "publish_all", failing)
    async with running(Heartbeats(application.context())):
        await eventually(lambda: application.events("health", HeartbeatRecorded), bool)
    assert failures == []
    assert await application.events("health", WorkerStopped) == []


def test_memory_is_told_also_where_the_system_has_no_proc(tmp_path: Path) -> None:
    assert resident_mib() > 1
    assert resident_mib(tmp_path / "nothing") > 1
