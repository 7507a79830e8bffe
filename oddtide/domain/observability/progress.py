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
    "BATCH_RECORDS",
    "BATCH_SECONDS",
    "Histogram",
    "MemoryUse",
    "PartState",
    "PartitionProgress",
    "Restore",
    "RoleProgress",
    "SnapshotProgress",
    "StreamProgress",
    "WorkerProgress",
]

#: Upper bounds of the buckets of batch durations, in seconds; one more bucket holds what is longer.
BATCH_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Upper bounds of the buckets of batch sizes, in records.
BATCH_RECORDS = (1.0, 10.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 25_000.0, 50_000.0)

#: ``starting``: nothing assigned yet; ``restoring``: state is being folded back; ``running``: up to date or
#: catching up; ``degraded``: works, but less well; ``failed``: does not work.
PartState: TypeAlias = Literal["starting", "restoring", "running", "degraded", "failed", "stopped"]


@dataclass(slots=True)
class Histogram:
    """How often values fell between ``bounds``: ``counts`` per bucket, not cumulated; the last holds what is above."""

    bounds: tuple[float, ...] = BATCH_SECONDS
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def copy(self) -> Histogram:
        """The same counts, sharing nothing."""
        return Histogram(self.bounds, list(self.counts), self.total)


def sizes() -> Histogram:
    """An empty histogram of batch sizes."""
    return Histogram(BATCH_RECORDS)


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """One stream's records, and readings by outcome: scored, or rejected or skipped by reason. ``commits`` are the
    seconds of transactions, ``folds`` those of folding a batch (the silent fold included), ``sizes`` its records."""

    stream: str
    records: int = 0
    readings: int = 0
    scored: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    detections: int = 0
    commits: Histogram = field(default_factory=Histogram)
    folds: Histogram = field(default_factory=Histogram)
    sizes: Histogram = field(default_factory=sizes)


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
class Restore:
    """Rebuilding a partition's state by folding what is published already, from ``begin`` up to ``target``; it is at
    ``position``. ``seconds`` since it began, or that it took. Offsets, so holes in the log count as records."""

    begin: int = 0
    target: int = 0
    position: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """How many records there are to fold."""
        return max(self.target - self.begin, 0)

    @property
    def left(self) -> int:
        """How many of them are still to be folded."""
        return max(self.target - max(self.position, self.begin), 0)

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return 1.0 - self.left / self.total if self.total else 1.0

    @property
    def rate(self) -> float:
        """Records a second so far."""
        return (self.total - self.left) / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta_s(self) -> float:
        """Seconds until it is done if it goes on as so far; -1 while nothing can be said."""
        if not self.left:
            return 0.0
        return self.left / self.rate if self.rate > 0 else -1.0


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """Snapshots of a partition during this ownership: ``written`` and ``failed``, and of the newest its ``seconds``
    (processor time of copying and writing), ``size`` (bytes) and ``age_s``."""

    written: int = 0
    failed: int = 0
    seconds: float = 0.0
    size: int = 0
    age_s: float = -1.0


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """One partition as its owner sees it, the stream it belongs to and how many series live in it, awake or asleep.
    ``proven``: whether its state is known to be the one that the verdicts published before came from."""

    stream: str
    health: PartitionHealth
    series: int = 0
    memory: MemoryUse = field(default_factory=MemoryUse)
    restore: Restore = field(default_factory=Restore)
    snapshots: SnapshotProgress = field(default_factory=SnapshotProgress)
    proven: bool = True


@dataclass(frozen=True, slots=True)
class RoleProgress:
    """How one role of the worker does, with the reason where it is not ``running``."""

    role: str
    state: PartState = "starting"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WorkerProgress:
    """A consistent view of everything at one moment; shares nothing with what goes on. ``rebalances`` of the group of
    ingest workers, ``fences``: how often a partition was taken from this worker by another's producer;
    ``alerts`` that it decided on, by outcome (opened, withheld, resolved)."""

    streams: tuple[StreamProgress, ...] = ()
    partitions: tuple[PartitionProgress, ...] = ()
    roles: tuple[RoleProgress, ...] = ()
    rebalances: int = 0
    fences: int = 0
    alerts: Mapping[str, int] = field(default_factory=dict)

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
            + (f": {held.restore.share:.0%} done" if held.health.state == "restoring" and held.restore.total else "")
            for held in self.partitions
            if held.health.state != "running"
        ]
        return lines or ([] if self.roles else ["no role has started"])
