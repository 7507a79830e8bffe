"""Questions about the installation itself: workers, partitions, the ledger."""

from __future__ import annotations

from typing import Any

from sqlalchemy import desc, select

from oddtide.adapters.storage.queries.base import Answer, Reader, event_of, picked, time_of
from oddtide.adapters.storage.tables import DEGRADED, LEDGER_BREAKS, LEDGER_PARTITIONS, LEDGER_REASONS, WORKERS

__all__ = ["HealthQueries"]

_SECOND = 1_000_000_000
#: A worker that missed so many of its intervals, and at least so many seconds, is silent.
_MISSED, _LEAST_S = 4, 15.0
_SUMS = (
    "batches", "records", "holes", "readings", "scored", "rejected", "skipped", "detections", "gaps", "missing",
    "repeated", "unbalanced",
)  # fmt: skip
_COUNTERS = (
    "readings", "scored", "rejected", "skipped", "detections", "readings_per_s", "memory_mib", "series", "asleep",
    "uptime_s",
)  # fmt: skip


class HealthQueries(Reader):
    """Answers about workers are as fresh as their last heartbeat."""

    def workers(self) -> list[Answer]:
        """Every worker that is known, the running ones first. ``state`` is what it says of itself, or ``stopped``,
        ``lost`` (its silence was logged) or ``silent`` (by this machine's clock)."""
        now = self._clock()
        found = [_worker(row, now) for row in self._all(select(WORKERS))]
        return sorted(found, key=lambda worker: (worker["state"] in _GONE, worker["worker"]))

    def partitions(self) -> list[Answer]:
        """Every partition of readings: its ledger's sums, and who has it and how far it is by the last heartbeat.

        ``worker`` is empty where no live worker says that it has the partition; ``lag`` is then -1 (unknown).
        """
        owners = {
            (place["topic"], place["partition"]): (worker["worker"], place)
            for worker in sorted(self.workers(), key=lambda worker: str(worker["heartbeat"]))
            if worker["state"] not in _GONE
            for place in worker["partitions"]
        }
        ledgers = {(row["topic"], row["partition"]): row for row in self._all(select(LEDGER_PARTITIONS))}
        places = sorted(owners.keys() | ledgers.keys())
        return [_partition(place, ledgers.get(place), owners.get(place)) for place in places]

    def totals(self) -> Answer:
        """The ledger's sums over all partitions, with ``rejected_by`` and ``skipped_by`` reason."""
        sums: dict[str, Any] = dict.fromkeys(_SUMS, 0)
        for row in self._all(select(LEDGER_PARTITIONS)):
            sums = {name: total + row[name] for name, total in sums.items()}
        for outcome in ("rejected", "skipped"):
            reasons: dict[str, int] = {}
            for row in self._all(select(LEDGER_REASONS).where(LEDGER_REASONS.c.outcome == outcome)):
                reasons[row["reason"]] = reasons.get(row["reason"], 0) + row["count"]
            sums[f"{outcome}_by"] = dict(sorted(reasons.items()))
        return sums

    def degraded(self, *, limit: int = 50) -> list[Answer]:
        """Parts that work less well, the newest of each worker and part: ``AgentDegraded`` events."""
        rows = self._all(select(DEGRADED).order_by(desc(DEGRADED.c.time_ns), DEGRADED.c.key).limit(limit))
        return [event_of(row["document"]) for row in rows]

    def ledger_breaks(self, *, limit: int = 50) -> list[Answer]:
        """Where ledgers were found not to add up: ``LedgerBroken`` events."""
        return [event_of(row["document"]) for row in self._all(self._recent(LEDGER_BREAKS, limit))]


_GONE = frozenset({"stopped", "lost", "silent"})


def _worker(row: Answer, now: int) -> Answer:
    beat = event_of(row["beat"])
    about = beat or event_of(row["started"])
    return {
        "worker": row["worker"], "state": _state(row, beat, now), "host": about.get("host", ""),
        "pid": about.get("pid", 0), "roles": about.get("roles", []), "metrics": about.get("metrics", ""),
        "build": event_of(row["started"]).get("build", ""),
        "started": time_of(row["started_ns"]), "heartbeat": time_of(row["beat_ns"]),
        "stopped": time_of(row["stopped_ns"]), "reason": event_of(row["stopped"]).get("reason", ""),
        **{name: beat.get(name, 0) for name in _COUNTERS},
        "partitions": beat.get("partitions", []),
    }  # fmt: skip


def _state(row: Answer, beat: Answer, now: int) -> str:
    last_word = max(row["started_ns"] or 0, row["beat_ns"] or 0)
    seen = row["seen_ns"] or 0
    if row["stopped"] is not None and row["stopped_ns"] >= last_word:
        return "stopped"
    if row["lost"] is not None and row["lost_ns"] >= seen:
        return "lost"
    patience = max(_MISSED * beat.get("interval_s", 0.0), _LEAST_S) * _SECOND
    if now - seen > patience:
        return "silent"
    fresh = row["beat_ns"] is not None and row["beat_ns"] >= (row["started_ns"] or 0)
    return str(beat.get("state", "running")) if fresh else "starting"


def _partition(place: tuple[str, int], ledger: Answer | None, owner: tuple[str, Answer] | None) -> Answer:
    topic, partition = place
    worker, said = owner or ("", {})
    position = said.get("position", -1)
    answer = {
        "topic": topic, "partition": partition, "worker": worker, "state": said.get("state", "unassigned"),
        "position": max(position, ledger["position"] if ledger else -1),
        "end": said.get("end", -1), "lag": said.get("lag", -1),
    }  # fmt: skip
    if ledger is None:
        return answer | {"stream": ""} | dict.fromkeys(_SUMS, 0) | {"hash": "", "last": "", "first_offset": 0}
    return {
        **answer, **picked(ledger, ("stream", *_SUMS, "hash", "pipeline_version", "build", "first_offset")),
        "last": time_of(ledger["time_ns"]),
    }  # fmt: skip
