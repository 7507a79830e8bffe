"""The health of a running platform, read from its log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oddtide.config.lagging import lag_rows
from oddtide.config.settings import load
from oddtide.domain.errors import DecodeError
from oddtide.domain.observability.events import HeartbeatRecorded, WorkerLost, WorkerStarted, WorkerStopped
from oddtide.domain.readings import parse_rfc3339

if TYPE_CHECKING:
    from oddtide.config.composition import Composition

__all__ = ["PlatformHealth", "WorkerHealth", "platform_health"]

_MISSED = 3.0


@dataclass(frozen=True)
class WorkerHealth:
    """A worker by its last heartbeat. ``state`` is ``running``, ``silent`` or what it says of itself."""

    worker: str
    host: str
    state: str
    roles: tuple[str, ...]
    partitions: int
    readings_per_s: float
    silent_s: float


@dataclass(frozen=True)
class PlatformHealth:
    """Workers that have not stopped, lag in records by readings topic, alerts that are open."""

    workers: tuple[WorkerHealth, ...]
    lag: dict[str, int]
    open_alerts: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """Everything worth a look, a line each."""
        lines = [] if self.workers else ["no worker runs"]
        lines += [f"{w.worker} is {w.state} ({w.silent_s:.0f} s)" for w in self.workers if w.state != "running"]
        return lines + [f"open alert: {alert}" for alert in self.open_alerts]

    def __str__(self) -> str:
        behind, alerts = sum(self.lag.values()), len(self.open_alerts)
        lines = [f"{len(self.workers)} workers, {behind:,} records behind, {alerts} open alerts"]
        lines += [
            f"  {w.worker}: {w.state}, {', '.join(w.roles)}, {w.partitions} partitions, "
            f"{w.readings_per_s:,.0f} readings/s"
            for w in self.workers
        ]
        lines += [f"  {topic}: {behind:,} records behind" for topic, behind in sorted(self.lag.items())]
        return "\n".join([*lines, *(f"  ! {problem}" for problem in self.problems)])


def platform_health(config: Path | None) -> PlatformHealth:
    """Ask the cluster. Raises ``BrokerUnreachableError``, ``ConfigurationError``."""
    from oddtide.config.composition import Composition

    composition = Composition(load(config).settings)
    return PlatformHealth(_workers(composition), _lag(composition), _alerts(composition))


def _workers(composition: Composition) -> tuple[WorkerHealth, ...]:
    from oddtide.streams.envelope import open_envelope

    beats: dict[str, HeartbeatRecorded | None] = {}
    with composition.reader() as reader:
        for record in reader.read(composition.catalogue().name("health"), start="beginning", stop_at_end=True):
            try:
                _, event = open_envelope(record.value, record.headers)
            except DecodeError:
                continue
            if isinstance(event, HeartbeatRecorded):
                beats[event.worker] = event
            elif isinstance(event, WorkerStarted):
                beats.setdefault(event.worker, None)
            elif isinstance(event, WorkerStopped | WorkerLost):
                beats.pop(event.worker, None)
    now = composition.clock()
    return tuple(_worker(beat, now) for beat in beats.values() if beat is not None)


def _worker(beat: HeartbeatRecorded, now: int) -> WorkerHealth:
    silent = max(0.0, (now - parse_rfc3339(beat.time)) / 1e9)
    state = "silent" if silent > _MISSED * beat.interval_s else beat.state
    return WorkerHealth(
        beat.worker, beat.host, state, tuple(beat.roles), len(beat.partitions), beat.readings_per_s, silent
    )


def _lag(composition: Composition) -> dict[str, int]:
    with composition.admin() as admin:
        rows = [row for row in lag_rows(composition, admin) if row["role"] == "ingest"]
    return {topic: sum(row["lag"] for row in rows if row["topic"] == topic) for topic in {row["topic"] for row in rows}}


def _alerts(composition: Composition) -> tuple[str, ...]:
    from oddtide.domain.observability.events import AlertOpened, AlertResolved, AlertWithheld
    from oddtide.streams.envelope import open_envelope

    found: dict[str, str] = {}
    with composition.reader() as reader:
        for record in reader.read(composition.catalogue().name("alerts"), start="beginning", stop_at_end=True):
            try:
                _, event = open_envelope(record.value, record.headers)
            except DecodeError:
                continue
            if isinstance(event, AlertOpened) and not isinstance(event, AlertWithheld):
                found[event.alert] = f"{event.severity} {event.series}: {event.summary}"
            elif isinstance(event, AlertResolved):
                found.pop(event.alert, None)
    return tuple(found.values())
