"""Silence and broken ledgers: said once, and only where they are."""

from __future__ import annotations

import msgspec

from oddtide.domain.events import Event
from oddtide.domain.observability.events import HeartbeatRecorded, WorkerLost, WorkerStarted, WorkerStopped
from oddtide.domain.observability.health import LedgerAudit, SilenceWatch
from oddtide.domain.observability.ledger import BatchCompleted

SECOND = 1_000_000_000
NOW = "2026-01-01T00:00:00Z"


def beat(worker: str = "w", interval: float = 5.0) -> HeartbeatRecorded:
    return HeartbeatRecorded(
        worker=worker, host="h", pid=1, roles=[], time=NOW, uptime_s=1.0, interval_s=interval
    )  # fmt: skip


def started(worker: str = "w") -> WorkerStarted:
    return WorkerStarted(worker=worker, host="h", pid=1, roles=[], build="b", time=NOW)


def batch(start: int, stop: int, *, partition: int = 0, scored: int | None = None) -> BatchCompleted:
    return BatchCompleted(
        stream="plant", topic="readings", partition=partition, from_offset=start, to_offset=stop,
        records=stop - start, holes=0, readings=stop - start, scored=stop - start if scored is None else scored,
        time=NOW,
    )  # fmt: skip


def test_a_silent_worker_is_lost_once_per_silence() -> None:
    watch = SilenceWatch()
    watch.apply(beat(), 0)
    assert watch.due(20 * SECOND) == []
    (lost,) = watch.due(21 * SECOND)
    assert (lost.worker, lost.silent_s, lost.last) == ("w", 21.0, "1970-01-01T00:00:00Z")
    watch.apply(lost, 21 * SECOND)
    assert watch.due(100 * SECOND) == []
    watch.apply(beat(), 200 * SECOND)
    assert watch.alive == ["w"]
    assert [again.worker for again in watch.due(300 * SECOND)] == ["w"]


def test_slow_speakers_get_more_time_and_quick_ones_not_less_than_the_least() -> None:
    watch = SilenceWatch()
    watch.apply(beat("slow", 30), 0)
    watch.apply(beat("quick", 0.1), 0)
    watch.apply(started("new"), 0)
    assert [lost.worker for lost in watch.due(16 * SECOND)] == ["quick"]
    assert [lost.worker for lost in watch.due(21 * SECOND)] == ["new", "quick"]
    assert [lost.worker for lost in watch.due(121 * SECOND)] == ["new", "quick", "slow"]


def test_who_stopped_is_not_lost() -> None:
    watch = SilenceWatch()
    events: list[Event] = [started(), beat(), WorkerStopped(worker="w", time=NOW), Event()]
    for event in events:
        watch.apply(event, 0)
    assert watch.due(1_000 * SECOND) == []


def test_the_log_says_who_was_reported() -> None:
    watch = SilenceWatch()
    for event in (beat(), WorkerLost(worker="w", time=NOW, silent_s=30, last=NOW)):
        watch.apply(event, 0)
    assert watch.due(1_000 * SECOND) == []


def test_a_ledger_that_adds_up_is_not_broken() -> None:
    audit = LedgerAudit()
    assert audit.see(batch(7, 10)) == []
    assert audit.see(batch(0, 5, partition=1)) == []
    assert audit.see(batch(10, 20)) == []


def test_gaps_repeats_and_bad_sums_are_named() -> None:
    audit = LedgerAudit()
    audit.see(batch(0, 10))
    (gap,) = audit.see(batch(12, 20))
    assert (gap.stream, gap.topic, gap.partition, gap.offset) == ("plant", "readings", 0, 12)
    assert gap.problem.startswith("gap")
    first, second = audit.see(batch(15, 25, scored=3))
    assert "10 readings, but 3 outcomes" in first.problem
    assert second.problem.startswith("repeat")
    holes = msgspec.structs.replace(batch(25, 30), holes=1)
    assert "to - from is 5" in audit.see(holes)[0].problem


def test_a_dropped_partition_starts_anew() -> None:
    audit = LedgerAudit()
    audit.see(batch(0, 10))
    audit.drop("readings", 0)
    audit.drop("readings", 0)
    assert audit.see(batch(50, 60)) == []
