"""What a worker says of its own work: plain values for heartbeats, metrics and readiness.

Counters run since the worker's start. The log, not these numbers, is the truth: the ledger counts every
reading exactly, while a counter here is lost with its process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from oddtide.domain.observability.events import PartitionHealth

__all__ = [
    "BATCH_SECONDS",
    "Durations",
    "MemoryUse",
    "PartState",
    "PartitionProgress",
    "RoleProgress",
    "StreamProgress",
    "WorkerProgress",
]

#: Upper bounds of the buckets of batch durations, in seconds; one more bucket holds what is longer.
BATCH_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: ``starting``: nothing assigned yet; ``restoring``: state is being folded back; ``running``: up to date or
#: catching up; ``degraded``: works, but less well; ``failed``: does not work.
PartState: TypeAlias = Literal["starting", "restoring", "running", "degraded", "failed", "stopped"]


@dataclass(slots=True)
class Durations:
    """A histogram of batch durations: ``counts`` per bucket of :data:`BATCH_SECONDS`, not cumulated."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BATCH_SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BATCH_SECONDS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)

    def copy(self) -> Durations:
        """The same counts, sharing nothing."""
        return Durations(list(self.counts), self.total)


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """One stream's readings by outcome: scored, or rejected or skipped by reason."""

    stream: str
    readings: int = 0
    scored: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    detections: int = 0
    batches: Durations = field(default_factory=Durations)


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """The series of a partition: ``awake`` in memory, ``asleep`` on disk; ``bytes_per_series`` of those awake (names
    included, a guess where detectors are objects); ``woken`` and ``put_to_sleep`` since the state began; ``trouble``
    says why series stay awake beyond the budget."""

    awake: int = 0
    asleep: int = 0
    bytes_per_series: int = 0
    woken: int = 0
    put_to_sleep: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """One partition as its owner sees it, the stream it belongs to and how many series live in it, awake or asleep."""

    stream: str
    health: PartitionHealth
    series: int = 0
    memory: MemoryUse = field(default_factory=MemoryUse)


@dataclass(frozen=True, slots=True)
class RoleProgress:
    """How one role of the worker does, with the reason where it is not ``running``."""

    role: str
    state: PartState = "starting"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WorkerProgress:
    """A consistent view of everything at one moment; shares nothing with what goes on."""

    streams: tuple[StreamProgress, ...] = ()
    partitions: tuple[PartitionProgress, ...] = ()
    roles: tuple[RoleProgress, ...] = ()

    @property
    def readings(self) -> int:
        """Readings over all streams."""
        return sum(stream.readings for stream in self.streams)

    @property
    def scored(self) -> int:
        """Readings scored."""
        return sum(stream.scored for stream in self.streams)

    @property
    def rejected(self) -> int:
        """Readings rejected, whatever the reason."""
        return sum(sum(stream.rejected.values()) for stream in self.streams)

    @property
    def skipped(self) -> int:
        """Readings skipped by policy, whatever the reason."""
        return sum(sum(stream.skipped.values()) for stream in self.streams)

    @property
    def detections(self) -> int:
        """Anomalies found."""
        return sum(stream.detections for stream in self.streams)

    @property
    def series(self) -> int:
        """Series in the partitions held now."""
        return sum(partition.series for partition in self.partitions)

    @property
    def asleep(self) -> int:
        """Those of them that sleep on disk."""
        return sum(partition.memory.asleep for partition in self.partitions)

    def unready(self) -> list[str]:
        """Why the worker is not ready, a line each; empty when every role runs and every partition is restored."""
        lines = [
            f"role {role.role} is {role.state}" + (f": {role.reason}" if role.reason else "")
            for role in self.roles
            if role.state not in ("running", "degraded")
        ]
        lines += [
            f"partition {held.health.partition} of {held.health.topic} is {held.health.state}"
            for held in self.partitions
            if held.health.state != "running"
        ]
        return lines or ([] if self.roles else ["no role has started"])
