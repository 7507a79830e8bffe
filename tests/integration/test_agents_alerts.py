"""The observability role on a real Kafka: one alert an episode, whatever happens to workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from oddtide.adapters.storage import SqlReadModels
from oddtide.domain.detection.events import AnomalyDetected
from oddtide.domain.drift.events import DriftDetected
from oddtide.domain.errors import StorageUnavailableError
from oddtide.domain.observability.day_budget import DayBudget
from oddtide.domain.observability.events import (
    AcknowledgeAlert,
    AlertAcknowledged,
    AlertOpened,
    AlertResolved,
    AlertUpdated,
    AlertWithheld,
    CommandRefused,
    ResolveAlert,
    WorkerLost,
)
from oddtide.domain.observability.notifications import Channel, Delivery, Notification
from oddtide.domain.observability.policy import AlertPolicy
from oddtide.domain.quality.events import ContractViolated
from oddtide.domain.readings import rfc3339
from oddtide.streams.agents.decisions import DecisionLog
from oddtide.streams.agents.observability import build
from oddtide.streams.transactions import PartitionWriter
from tests.integration.agents_kit import Application, Memory, eventually, running

NOW = "2026-01-01T00:00:00Z"


def anomaly(number: int, series: str = "pump-1", *, at: int | None = None) -> AnomalyDetected:
    seconds = number if at is None else at
    return AnomalyDetected(
        id=f"v-{series}-{number}", stream="plant", series=series, time=rfc3339((1_700_000_000 + seconds) * 10**9),
        feature="value", value=9.0, score=7.0, p_value=1e-7, is_anomaly=True, reason="9 is far above 5",
    )  # fmt: skip


@pytest.fixture
async def application(kafka: str, topic_prefix: str, tmp_path: Path) -> Application:
    application = Application(kafka, topic_prefix, tmp_path)
    await application.create()
    return application


def _at_least(least: int) -> Callable[[int], bool]:
    return lambda count: count >= least


def opened_by(application: Application) -> Callable[[], Awaitable[list[AlertOpened]]]:
    return lambda: application.events("alerts", AlertOpened)


async def test_causes_of_every_kind_open_one_alert_each(application: Application) -> None:
    drift = DriftDetected(
        id="d", stream="plant", series="pump-1", time=NOW, monitor="adwin", watched="score", readings=9, before=1,
        after=2,
    )  # fmt: skip
    broken = ContractViolated(
        id="q", stream="plant", series="pump-1", rule="range", detail="9 is above 5", action="reject", time=NOW
    )
    skipped = ContractViolated(
        id="s", stream="plant", series="pump-2", rule="order", detail="late", action="skip", time=NOW
    )
    lost = WorkerLost(worker="w9", time=NOW, silent_s=20, last=NOW)
    async with running(build(application.context(), application.parts())):
        await application.publish("detections", [anomaly(0), anomaly(1)], partition=1)
        await application.publish("drift", [drift], partition=1)
        await application.publish("quality", [skipped, broken], partition=1)
        await application.publish("health", [lost])
        alerts = await eventually(opened_by(application), lambda alerts: len(alerts) >= 4)
        await eventually(lambda: application.events("alerts", AlertUpdated), lambda updates: len(updates) == 1)
    assert {(alert.kind, alert.series, alert.severity) for alert in alerts} == {
        ("anomaly", "pump-1", "warning"),
        ("drift", "pump-1", "warning"),
        ("quality", "pump-1", "warning"),
        ("health", "w9", "critical"),
    }
    assert next(a for a in alerts if a.kind == "drift").summary == "score has drifted from 1 to 2 (adwin)"


async def test_events_of_an_alert_stay_in_one_partition_with_derived_ids(application: Application) -> None:
    async with running(build(application.context(), application.parts())):
        await application.publish("detections", [anomaly(n, at=n * 1_000) for n in range(6)], partition=2)
        await eventually(opened_by(application), lambda alerts: len(alerts) == 6)
    logged = await application.logged("alerts")
    assert len({each.partition for each in logged}) == 1
    assert len({each.envelope.id for each in logged}) == len(logged)
    assert [type(each.event).__name__ for each in logged[:3]] == ["AlertOpened", "AlertResolved", "AlertOpened"]
    assert logged[0].envelope.causation == "v-pump-1-0"


async def test_people_acknowledge_and_resolve(application: Application) -> None:
    async with running(build(application.context(), application.parts())):
        await application.publish("detections", [anomaly(0)])
        (alert,) = await eventually(opened_by(application), lambda alerts: len(alerts) == 1)
        ids = await application.publish(
            "commands",
            [
                AcknowledgeAlert(alert=alert.alert, by="ann", time=NOW),
                ResolveAlert(alert=alert.alert, by="bob", time=NOW, note="fixed"),
                ResolveAlert(alert="nope", by="bob", time=NOW),
            ],
        )
        (refused,) = await eventually(lambda: application.events("alerts", CommandRefused), bool)
        (seen,) = await application.events("alerts", AlertAcknowledged)
        (resolved,) = await application.events("alerts", AlertResolved)
        assert (seen.by, seen.causation) == ("ann", ids[0])
        assert (resolved.how, resolved.by, resolved.note, resolved.causation) == ("person", "bob", "fixed", ids[1])
        assert (refused.target, refused.causation) == ("nope", ids[2])


async def test_quiet_ends_an_alert_once_everything_is_read(application: Application) -> None:
    policy = AlertPolicy(quiet_s=60, update_s=600)
    async with running(build(application.context(), application.parts(alerts=policy))):
        await application.publish("detections", [anomaly(n) for n in range(4)])
        await eventually(lambda: application.events("alerts", AlertUpdated), bool)
        application.clock.ahead_s = 120
        (resolved,) = await eventually(lambda: application.events("alerts", AlertResolved), bool)
        assert resolved.how == "quiet"
        assert [update.count for update in await application.events("alerts", AlertUpdated)] == [2, 4]


async def test_the_days_budget_survives_a_restart_and_one_digest_sums_it_up(application: Application) -> None:
    policy = AlertPolicy(update_s=600, day=DayBudget(2))
    noon = (application.clock() // 10**9 // 86_400 + 2) * 86_400 + 43_200 - 1_700_000_000  # of the day after tomorrow

    async def logged() -> int:
        return len(await application.logged("alerts"))

    for first in (0, 3):
        async with running(build(application.context(), application.parts(alerts=policy))):
            strange = [anomaly(n, f"pump-{n}", at=noon + n) for n in range(first, first + 3)]
            await application.publish("detections", strange, partition=first % 2)
            await eventually(logged, _at_least(first + 3))
    assert await logged() == 6  # and no digest yet
    application.clock.ahead_s = 3 * 86_400  # all is read, so the clock says that the day is over
    async with running(build(application.context(), application.parts(alerts=policy))):
        found = await eventually(opened_by(application), lambda alerts: any(a.kind == "digest" for a in alerts))
    opened = [alert.series for alert in found if alert.kind == "anomaly"]
    withheld = [alert.series for alert in await application.events("alerts", AlertWithheld)]
    assert (len(opened), sorted(opened + withheld)) == (2, [f"pump-{n}" for n in range(6)])
    assert [(alert.count, alert.severity) for alert in found if alert.kind == "digest"] == [(4, "warning")]


async def test_a_restart_counts_on_and_opens_nothing_twice(application: Application) -> None:
    for first in (0, 3):
        async with running(build(application.context(), application.parts(alerts=AlertPolicy(update_s=600)))):
            await application.publish("detections", [anomaly(n) for n in range(first, first + 3)])
            last = first + 2

            async def handled(last: int = last) -> int:
                alerts = await application.logged("alerts")
                counts = [each.event.count for each in alerts if isinstance(each.event, AlertOpened)]
                return max(counts, default=0)

            await eventually(handled, _at_least(2 if last == 2 else 5))
    assert len(await application.events("alerts", AlertOpened)) == 1
    async with running(build(application.context(), application.parts(alerts=AlertPolicy(update_s=1)))):
        application.clock.ahead_s = 5
        await eventually(
            lambda: application.events("alerts", AlertUpdated), lambda found: max(u.count for u in found) == 6
        )
    assert len(await application.events("alerts", AlertOpened)) == 1


async def test_of_two_workers_one_decides_and_the_other_takes_over(application: Application) -> None:
    first, second = application.context(), application.context()
    one, two = build(first, application.parts()), build(second, application.parts())
    await one.start()
    await application.publish("detections", [anomaly(0)], partition=0)
    await eventually(opened_by(application), lambda alerts: len(alerts) == 1)
    async with running(two):
        await eventually(lambda: _state(second.progress.snapshot()), lambda role: role == ("running", _STANDING_BY))
        await application.publish("detections", [anomaly(0, "pump-2")], partition=2)
        await eventually(opened_by(application), lambda alerts: len(alerts) == 2)
        await one.stop()
        await application.publish("detections", [anomaly(1), anomaly(0, "pump-3")], partition=0)
        alerts = await eventually(opened_by(application), lambda alerts: len(alerts) == 3)
        assert {alert.series for alert in alerts} == {"pump-1", "pump-2", "pump-3"}
        await eventually(lambda: application.events("alerts", AlertUpdated), lambda found: len(found) == 1)


_STANDING_BY = "another worker decides; standing by"


async def _state(view: object) -> tuple[str, str]:
    roles = {role.role: role for role in getattr(view, "roles", ())}
    role = roles.get("observability.alerts")
    return (role.state, role.reason) if role else ("", "")


async def test_everything_is_projected_once_and_a_database_that_is_away_is_waited_for(
    application: Application,
) -> None:
    memory = Memory()
    memory.failures = [StorageUnavailableError("the database is away.")]
    await application.publish("detections", [anomaly(0), anomaly(1, "pump-2")], partition=1)
    for _ in range(2):
        async with running(build(application.context(), application.parts(read_models=memory))):

            async def folded() -> list[str]:
                await asyncio.sleep(0)
                return sorted(type(each.event).__name__ for each in memory.events.get("observability", []))

            await eventually(folded, lambda names: names.count("AlertOpened") == 2)
    names = await folded()
    assert names == ["AlertOpened", "AlertOpened", "AnomalyDetected", "AnomalyDetected"]


async def test_a_worker_that_was_fenced_takes_the_desk_back_and_loses_nothing(application: Application) -> None:
    context = application.context()
    async with running(build(context, application.parts(alerts=AlertPolicy(update_s=600)))):
        await application.publish("detections", [anomaly(n) for n in range(4)])
        await eventually(lambda: application.events("alerts", AlertUpdated), bool)
        intruder = PartitionWriter(context.broker, f"{application.prefix}-alerts")
        await intruder.open()
        await application.publish("detections", [anomaly(4), anomaly(0, "pump-2")])
        await eventually(lambda: _state(context.progress.snapshot()), lambda role: role[0] == "degraded")
        await intruder.close()
        await eventually(opened_by(application), lambda alerts: len(alerts) == 2)
        updates = await eventually(lambda: application.events("alerts", AlertUpdated), lambda found: len(found) == 2)
    assert [update.count for update in updates] == [2, 5]


class Receiver:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def notify(self, notification: Notification) -> Delivery:
        self.told.append(notification.alert)
        return Delivery("delivered")

    def close(self) -> None:
        """Nothing to release."""


async def test_an_alert_is_told_once_and_not_again_on_a_rebuild(application: Application) -> None:
    receiver = Receiver()
    url = f"sqlite:///{application.folder}/read.db"
    with SqlReadModels(url, clock=application.clock, channels=["hook"]) as models:
        parts = application.parts(read_models=models, outbox=models, channels={"hook": Channel(receiver)})

        async def states() -> dict[str, int]:
            return await asyncio.to_thread(models.notifications)

        async with running(build(application.context(), parts)):
            await application.publish("detections", [anomaly(0), anomaly(1), anomaly(0, "pump-2")])
            await eventually(states, lambda found: found == {"sent": 2})
        before = models.content_hash("observability")
        models.reset("observability")
        async with running(build(application.context(), parts)):

            async def rebuilt() -> str:
                return await asyncio.to_thread(models.content_hash, "observability")

            await eventually(rebuilt, lambda found: found == before)
            await application.publish("detections", [anomaly(0, "pump-3")])
            await eventually(states, lambda found: found == {"sent": 3})
    assert len(receiver.told) == len(set(receiver.told)) == 3


async def test_counts_that_wait_too_long_are_logged_and_old_ones_forgotten(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oddtide.streams.agents.alerting._MAX_HELD", 0)
    monkeypatch.setattr("oddtide.streams.agents.alerting._SETTLE_TICKS", 1)
    async with running(build(application.context(), application.parts(alerts=AlertPolicy(update_s=600)))):
        for number in range(4):
            await application.publish("detections", [anomaly(number)])
            await eventually(opened_by(application), bool)
        await eventually(lambda: application.events("alerts", AlertUpdated), _counts_to(4))


def _counts_to(count: int) -> Callable[[list[AlertUpdated]], bool]:
    return lambda updates: max((update.count for update in updates), default=0) == count


async def test_a_broker_that_fails_at_the_takeover_is_tried_again(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = DecisionLog.open, [OSError("no route to the broker"), OSError("still none")]

    async def failing(log: DecisionLog) -> None:
        if failures:
            raise failures.pop()
        await real(log)

    monkeypatch.setattr(DecisionLog, "open", failing)
    async with running(build(application.context(), application.parts())):
        await application.publish("detections", [anomaly(0)])
        await eventually(opened_by(application), bool)
    assert failures == []


async def test_nothing_is_logged_before_the_takeover(application: Application) -> None:
    with pytest.raises(RuntimeError, match="append before open"):
        await DecisionLog(application.context(), "x").append([])
