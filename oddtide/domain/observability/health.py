"""Health: who has fallen silent, and which ledger does not add up.

Silence can't be logged by the silent. Every worker says at what interval it speaks; one that misses several turns in
a row is *lost*, which is said once per silence and by whoever watches. A worker that stopped as it was asked to is not
lost. The watch reads the clock, so what it finds is logged as an event with an id derived from the last sign of life.
"""

from __future__ import annotations

from dataclasses import dataclass

from oddtide.domain.events import Event
from oddtide.domain.observability.events import (
    HeartbeatRecorded,
    LedgerBroken,
    WorkerLost,
    WorkerStarted,
    WorkerStopped,
)
from oddtide.domain.observability.ledger import BatchCompleted, check_batch, check_succession
from oddtide.domain.readings import rfc3339

__all__ = ["LedgerAudit", "SilenceWatch"]

_SECOND = 1_000_000_000
_DEFAULT_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """A worker's last sign of life (ns), and how many seconds lie between two."""

    last: int
    interval_s: float


class SilenceWatch:
    """Folds signs of life and names those who fell silent.

    A worker is lost after ``missed`` of its own intervals without one, but not before ``least_s`` seconds. Guaranteed:
    once per silence, also when the log (with the ``WorkerLost`` in it) is folded again. Lost and stopped workers take
    no memory.
    """

    def __init__(self, missed: int = 4, least_s: float = 15.0) -> None:
        self._missed = missed
        self._least_s = least_s
        self._alive: dict[str, _Seen] = {}

    def apply(self, event: Event, arrived: int) -> None:
        """Fold one event that was logged at ``arrived`` (ns). Events of other kinds change nothing."""
        if isinstance(event, HeartbeatRecorded):
            self._alive[event.worker] = _Seen(arrived, event.interval_s)
        elif isinstance(event, WorkerStarted):
            self._alive[event.worker] = _Seen(arrived, _DEFAULT_INTERVAL_S)
        elif isinstance(event, WorkerStopped | WorkerLost):
            self._alive.pop(event.worker, None)

    def due(self, now: int) -> list[WorkerLost]:
        """Who is lost at ``now`` (ns), by name. Changes nothing: apply what was logged."""
        return [
            WorkerLost(
                worker=worker,
                time=rfc3339(now),
                silent_s=round((now - seen.last) / _SECOND, 3),
                last=rfc3339(seen.last),
            )
            for worker, seen in sorted(self._alive.items())
            if now - seen.last > max(self._missed * seen.interval_s, self._least_s) * _SECOND
        ]

    @property
    def alive(self) -> list[str]:
        """The workers held to be alive."""
        return sorted(self._alive)


class LedgerAudit:
    """Checks that ledgers add up: each record in itself, and each with the one before it in its partition.

    The first record seen of a partition has none before it; prime the audit with an earlier one by :meth:`see` where
    there is one.
    """

    def __init__(self) -> None:
        self._previous: dict[tuple[str, int], BatchCompleted] = {}

    def see(self, batch: BatchCompleted) -> list[LedgerBroken]:
        """Take the next record of a partition; what is wrong with it, one event per problem."""
        key = (batch.topic, batch.partition)
        problems = check_batch(batch) + check_succession(self._previous.get(key), batch)
        self._previous[key] = batch
        return [
            LedgerBroken(
                stream=batch.stream,
                topic=batch.topic,
                partition=batch.partition,
                offset=batch.from_offset,
                problem=problem,
                time=batch.time,
            )
            for problem in problems
        ]

    def drop(self, topic: str, partition: int) -> None:
        """Forget a partition: someone else audits it now."""
        self._previous.pop((topic, partition), None)
