"""The board on which the roles of one worker write how far they are.

Ingest writes once a batch, heartbeats and ``/metrics`` read. Writers and readers may be different threads.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from oddtide.domain.observability.events import PartitionHealth
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.observability.progress import (
    Durations,
    MemoryUse,
    PartitionProgress,
    PartState,
    RoleProgress,
    StreamProgress,
    WorkerProgress,
)

__all__ = ["ProgressBoard"]

_UNKNOWN = -1
_UNTOLD = MemoryUse()


@dataclass(slots=True)
class _Tally:
    readings: int = 0
    scored: int = 0
    detections: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    batches: Durations = field(default_factory=Durations)


@dataclass(slots=True)
class _Held:
    stream: str
    position: int = _UNKNOWN
    end: int = _UNKNOWN
    state: PartState = "restoring"
    series: int = 0
    memory: MemoryUse = _UNTOLD


class ProgressBoard:
    """Counters per stream, positions per partition, states per role. Every method is thread-safe and cheap: a lock
    and a few additions, meant to be called once a batch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[str, _Tally] = {}
        self._held: dict[tuple[str, int], _Held] = {}
        self._roles: dict[str, RoleProgress] = {}

    def batch(
        self, completed: BatchCompleted, *, seconds: float, end: int = _UNKNOWN, series: int = 0,
        memory: MemoryUse = _UNTOLD,
    ) -> None:  # fmt: skip
        """A batch is durable. ``end`` is the partition's high watermark, ``series`` how many it holds now, ``memory``
        what they take."""
        with self._lock:
            tally = self._streams.setdefault(completed.stream, _Tally())
            tally.readings += completed.readings
            tally.scored += completed.scored
            tally.detections += completed.detections
            tally.rejected.update(completed.rejected)
            tally.skipped.update(completed.skipped)
            tally.batches.add(seconds)
            held = self._held.setdefault((completed.topic, completed.partition), _Held(completed.stream))
            held.position, held.state, held.series = completed.to_offset, "running", series
            held.memory = memory
            held.end = max(end, completed.to_offset) if end != _UNKNOWN else held.end

    def place(
        self, stream: str, topic: str, partition: int, state: PartState, *,
        position: int | None = None, end: int | None = None, series: int | None = None,
    ) -> None:  # fmt: skip
        """A partition is held and in ``state``. What is None stays as it was."""
        with self._lock:
            held = self._held.setdefault((topic, partition), _Held(stream))
            held.state = state
            held.position = held.position if position is None else position
            held.end = held.end if end is None else end
            held.series = held.series if series is None else series

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
            streams = tuple(
                StreamProgress(
                    stream=name,
                    readings=tally.readings,
                    scored=tally.scored,
                    rejected=dict(tally.rejected),
                    skipped=dict(tally.skipped),
                    detections=tally.detections,
                    batches=tally.batches.copy(),
                )
                for name, tally in sorted(self._streams.items())
            )
            partitions = tuple(
                PartitionProgress(held.stream, _health(topic, partition, held), held.series, held.memory)
                for (topic, partition), held in sorted(self._held.items())
            )
            trouble = next((held.memory.trouble for held in self._held.values() if held.memory.trouble), "")
            roles = tuple(_with(trouble, progress) for _, progress in sorted(self._roles.items()))
        return WorkerProgress(streams, partitions, roles)


def _with(trouble: str, role: RoleProgress) -> RoleProgress:
    """Series that cannot go to sleep make ingest, which holds them, a part that works less well."""
    if trouble and role.role == "ingest" and role.state == "running":
        return RoleProgress(role.role, "degraded", f"series stay awake beyond the memory budget: {trouble}")
    return role


def _health(topic: str, partition: int, held: _Held) -> PartitionHealth:
    known = _UNKNOWN not in (held.end, held.position)
    return PartitionHealth(
        topic=topic,
        partition=partition,
        position=held.position,
        end=held.end,
        lag=max(held.end - held.position, 0) if known else _UNKNOWN,
        state=held.state,
    )
