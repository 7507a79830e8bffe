"""The board on which the roles of one worker write how far they are.

Ingest writes once a batch, heartbeats and ``/metrics`` read. Writers and readers may be different threads.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from oddtide.domain.observability.events import PartitionHealth
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.observability.progress import (
    Histogram,
    MemoryUse,
    PartitionProgress,
    PartState,
    Restore,
    RoleProgress,
    SnapshotProgress,
    StreamProgress,
    WorkerProgress,
    sizes,
)

__all__ = ["ProgressBoard"]

_UNKNOWN = -1
_UNTOLD = MemoryUse()


@dataclass(slots=True)
class _Tally:
    records: int = 0
    readings: int = 0
    scored: int = 0
    detections: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    commits: Histogram = field(default_factory=Histogram)
    folds: Histogram = field(default_factory=Histogram)
    sizes: Histogram = field(default_factory=sizes)


@dataclass(slots=True)
class _Held:
    stream: str
    position: int = _UNKNOWN
    end: int = _UNKNOWN
    state: PartState = "restoring"
    series: int = 0
    memory: MemoryUse = _UNTOLD
    begin: int = 0
    target: int = 0
    began: float | None = None
    took: float = 0.0
    proven: bool = True
    snapshots: int = 0
    snapshots_failed: int = 0
    snapshot_s: float = 0.0
    snapshot_size: int = 0
    snapshot_at: float = 0.0

    def view(self, topic: str, partition: int, now: float) -> PartitionProgress:
        """This partition now."""
        restoring = self.state == "restoring"
        at = self.position if restoring else self.target
        restore = Restore(
            self.begin, self.target, at, now - self.began if restoring and self.began is not None else self.took
        )
        age_s = now - self.snapshot_at if self.snapshots else -1.0
        snapshots = SnapshotProgress(self.snapshots, self.snapshots_failed, self.snapshot_s, self.snapshot_size, age_s)
        health = self._health(topic, partition, restore)
        return PartitionProgress(self.stream, health, self.series, self.memory, restore, snapshots, self.proven)

    def _health(self, topic: str, partition: int, restore: Restore) -> PartitionHealth:
        known = _UNKNOWN not in (self.end, self.position)
        return PartitionHealth(
            topic=topic,
            partition=partition,
            position=self.position,
            end=self.end,
            lag=max(self.end - self.position, 0) if known else _UNKNOWN,
            state=self.state,
            restored=round(restore.share, 4) if self.state == "restoring" else 1.0,
            eta_s=round(restore.eta_s, 1) if self.state == "restoring" else 0.0,
        )


class ProgressBoard:
    """Counters per stream, positions per partition, states per role. Every method is thread-safe and cheap: a lock
    and a few additions, meant to be called once a batch."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rebalances = self._fences = 0
        self._alerts: dict[str, int] = {}
        self._streams: dict[str, _Tally] = {}
        self._held: dict[tuple[str, int], _Held] = {}
        self._roles: dict[str, RoleProgress] = {}

    def batch(
        self, completed: BatchCompleted, *, seconds: float, end: int = _UNKNOWN, series: int = 0,
        memory: MemoryUse = _UNTOLD,
    ) -> None:  # fmt: skip
        """A batch is durable; its transaction took ``seconds``. ``end`` is the partition's high watermark, ``series``
        how many it holds now, ``memory`` what they take."""
        with self._lock:
            tally = self._streams.setdefault(completed.stream, _Tally())
            tally.records += completed.records
            tally.readings += completed.readings
            tally.scored += completed.scored
            tally.detections += completed.detections
            tally.rejected.update(completed.rejected)
            tally.skipped.update(completed.skipped)
            tally.commits.add(seconds)
            held = self._held.setdefault((completed.topic, completed.partition), _Held(completed.stream))
            held.position, held.state, held.series = completed.to_offset, "running", series
            held.memory = memory
            held.end = max(end, completed.to_offset) if end != _UNKNOWN else held.end

    def place(
        self, stream: str, topic: str, partition: int, state: PartState, *,
        position: int | None = None, end: int | None = None, series: int | None = None,
        memory: MemoryUse | None = None,
    ) -> None:  # fmt: skip
        """A partition is held and in ``state``. What is None stays as it was."""
        with self._lock:
            held = self._held.setdefault((topic, partition), _Held(stream))
            if held.state == "restoring" and state != "restoring" and held.began is not None:
                held.took = self._clock() - held.began
            held.state = state
            held.position = held.position if position is None else position
            held.end = held.end if end is None else end
            held.series = held.series if series is None else series
            held.memory = held.memory if memory is None else memory

    def folded(self, stream: str, records: int, seconds: float) -> None:
        """A batch was folded, in silence or not."""
        with self._lock:
            tally = self._streams.setdefault(stream, _Tally())
            tally.folds.add(seconds)
            tally.sizes.add(records)

    def restoring(self, stream: str, topic: str, partition: int, begin: int, target: int) -> None:
        """The state of a held partition is at ``begin`` and is to be rebuilt up to ``target``."""
        with self._lock:
            held = self._held.setdefault((topic, partition), _Held(stream))
            held.state, held.position = "restoring", begin
            held.begin, held.target, held.began, held.took = begin, target, self._clock(), 0.0

    def restored(self, topic: str, partition: int, *, proven: bool) -> None:
        """The state of a held partition is rebuilt, and ``proven`` equal to the one its verdicts came from, or not."""
        with self._lock:
            held = self._held.get((topic, partition))
            if held is not None:
                held.proven = proven

    def snapshot_written(self, topic: str, partition: int, seconds: float, size: int) -> None:
        """A snapshot of a held partition is durable."""
        with self._lock:
            held = self._held.get((topic, partition))
            if held is not None:
                held.snapshots += 1
                held.snapshot_s, held.snapshot_size, held.snapshot_at = seconds, size, self._clock()

    def snapshot_failed(self, topic: str, partition: int) -> None:
        """A snapshot of a held partition could not be stored."""
        with self._lock:
            held = self._held.get((topic, partition))
            if held is not None:
                held.snapshots_failed += 1

    def rebalanced(self) -> None:
        """The group of ingest workers has settled anew."""
        with self._lock:
            self._rebalances += 1

    def fenced(self) -> None:
        """A partition was taken from this worker by another's producer."""
        with self._lock:
            self._fences += 1

    def alerts(self, outcomes: Iterable[str]) -> None:
        """Decisions on alerts were logged."""
        with self._lock:
            for outcome in outcomes:
                self._alerts[outcome] = self._alerts.get(outcome, 0) + 1

    def extent(self, topic: str, partition: int, end: int) -> None:
        """A held partition goes on to ``end``; nothing else changes."""
        with self._lock:
            held = self._held.get((topic, partition))
            if held is not None:
                held.end = max(end, held.end)

    def drop(self, topic: str, partition: int) -> None:
        """A partition is no longer held; its stream's counters stay."""
        with self._lock:
            self._held.pop((topic, partition), None)

    def role(self, role: str, state: PartState, reason: str = "") -> None:
        """How a role does."""
        with self._lock:
            self._roles[role] = RoleProgress(role, state, reason)

    def snapshot(self) -> WorkerProgress:
        """Everything at this moment, sorted by name, sharing nothing with the board."""
        with self._lock:
            now = self._clock()
            streams = tuple(
                StreamProgress(
                    stream=name,
                    records=tally.records,
                    readings=tally.readings,
                    scored=tally.scored,
                    rejected=dict(tally.rejected),
                    skipped=dict(tally.skipped),
                    detections=tally.detections,
                    commits=tally.commits.copy(),
                    folds=tally.folds.copy(),
                    sizes=tally.sizes.copy(),
                )
                for name, tally in sorted(self._streams.items())
            )
            partitions = tuple(
                held.view(topic, partition, now) for (topic, partition), held in sorted(self._held.items())
            )
            trouble = next((held.memory.trouble for held in self._held.values() if held.memory.trouble), "")
            roles = tuple(_with(trouble, progress) for _, progress in sorted(self._roles.items()))
            return WorkerProgress(streams, partitions, roles, self._rebalances, self._fences, dict(self._alerts))


def _with(trouble: str, role: RoleProgress) -> RoleProgress:
    """Series that cannot go to sleep make ingest, which holds them, a part that works less well."""
    if trouble and role.role == "ingest" and role.state == "running":
        return RoleProgress(role.role, "degraded", f"series stay awake beyond the memory budget: {trouble}")
    return role
