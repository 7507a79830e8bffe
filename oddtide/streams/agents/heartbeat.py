"""A worker's signs of life: started, heartbeats with what it holds and has done, degraded parts, stopped."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

import structlog
from mode import Service

from oddtide.domain.observability.events import (
    AgentDegraded,
    HeartbeatRecorded,
    WorkerStarted,
    WorkerStopped,
)
from oddtide.domain.observability.progress import RoleProgress, WorkerProgress
from oddtide.domain.readings import rfc3339
from oddtide.streams.agents.patience import TRANSIENT
from oddtide.streams.app import WorkerContext
from oddtide.streams.envelope import derive_id
from oddtide.streams.publisher import EventPublisher, Outgoing

__all__ = ["Heartbeats", "resident_mib"]

_SECOND = 1_000_000_000
_LAST_WORD_S = 5.0
_REMEDIES = {
    "failed": "Restart the worker; its log says more.",
    "degraded": "It is tried again by itself; see the worker's log.",
}

_log = structlog.get_logger(__name__)


class Heartbeats(Service):
    """Publishes to the health topic every ``context.heartbeat_s`` seconds, from start to stop.

    A heartbeat that can't be published is left out: silence is what the others go by. One worker needs one of these,
    whatever its roles.
    """

    def __init__(self, context: WorkerContext) -> None:
        super().__init__()
        self._context = context
        #: Why the worker ends, for its last word.
        self.reason = "asked to stop"
        self._topic = context.catalogue.name("health")
        self._publisher = EventPublisher(context)
        self._began = 0
        self._number = 0
        self._last = (0, 0)
        self._troubles: dict[str, RoleProgress] = {}

    async def on_start(self) -> None:
        """Connect and say hello."""
        context = self._context
        self._began = context.clock()
        self._last = (self._began, 0)
        await self._publisher.start()
        started = WorkerStarted(
            worker=context.worker, host=context.host, pid=context.pid, roles=list(context.roles), build=context.build,
            time=rfc3339(self._began), metrics=context.metrics_url,
        )  # fmt: skip
        await self._publisher.publish_all([self._outgoing("started", started, started.time)])

    async def on_stop(self) -> None:
        """Say goodbye, within a few seconds whatever the cluster does."""
        now = rfc3339(self._context.clock())
        stopped = WorkerStopped(worker=self._context.worker, time=now, reason=self.reason)
        try:
            goodbye = self._publisher.publish_all([self._outgoing("stopped", stopped, now)])
            await asyncio.wait_for(goodbye, _LAST_WORD_S)
        except (*TRANSIENT, RuntimeError) as error:
            _log.warning("left without a word", reason=str(error) or type(error).__name__)
        await self._publisher.stop()

    @Service.task
    async def _beat(self) -> None:
        while not self.should_stop:
            progress = self._context.progress.snapshot()
            try:
                await self._publisher.publish_all([self._heartbeat(progress), *self._degraded(progress)])
            except TRANSIENT as error:
                _log.warning("heartbeat left out", reason=str(error) or type(error).__name__)
            await self.sleep(self._context.heartbeat_s)

    def _heartbeat(self, progress: WorkerProgress) -> Outgoing:
        context, now = self._context, self._context.clock()
        beat = HeartbeatRecorded(
            worker=context.worker,
            host=context.host,
            pid=context.pid,
            roles=list(context.roles),
            time=rfc3339(now),
            uptime_s=round((now - self._began) / _SECOND, 3),
            partitions=[held.health for held in progress.partitions],
            readings=progress.readings,
            scored=progress.scored,
            rejected=progress.rejected,
            skipped=progress.skipped,
            detections=progress.detections,
            readings_per_s=self._rate(now, progress.readings),
            memory_mib=resident_mib(),
            series=progress.series,
            asleep=progress.asleep,
            state=_worst(progress),
            interval_s=context.heartbeat_s,
            metrics=context.metrics_url,
        )
        self._number += 1
        return self._outgoing("heartbeat", beat, beat.time)

    def _rate(self, now: int, readings: int) -> float:
        then, before = self._last
        self._last = (now, readings)
        return round((readings - before) * _SECOND / (now - then), 1) if now > then else 0.0

    def _degraded(self, progress: WorkerProgress) -> list[Outgoing]:
        """An event for each part that is newly in trouble, or in another trouble than before."""
        troubles = {role.role: role for role in progress.roles if role.state in _REMEDIES}
        new = [role for name, role in troubles.items() if self._troubles.get(name) != role]
        self._troubles = troubles
        now = rfc3339(self._context.clock())
        return [
            self._outgoing(
                f"degraded-{role.role}",
                AgentDegraded(
                    worker=self._context.worker, part=role.role, reason=role.reason, remedy=_REMEDIES[role.state],
                    time=now,
                ),
                now,
            )
            for role in new
        ]  # fmt: skip

    def _outgoing(
        self, what: str, event: WorkerStarted | HeartbeatRecorded | WorkerStopped | AgentDegraded, time: str
    ) -> Outgoing:
        worker = self._context.worker
        id = derive_id(what, worker, self._context.pid, self._began, self._number)
        return Outgoing(self._topic, event, id, worker, 0, time)


def _worst(progress: WorkerProgress) -> str:
    states = {role.state for role in progress.roles}
    order = ("failed", "degraded", "restoring", "starting")
    return next((state for state in order if state in states), "running")


def resident_mib(source: Path = Path("/proc/self/statm")) -> float:
    """Memory held by this process: now, where the system tells (Linux), else at its highest so far."""
    try:
        pages = int(source.read_text().split()[1])
        return round(pages * resource.getpagesize() / 2**20, 1)
    except (OSError, ValueError, IndexError):
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(highest / (2**20 if sys.platform == "darwin" else 2**10), 1)
