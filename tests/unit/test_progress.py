"""The progress board: counters add up, views share nothing."""

from __future__ import annotations

import threading

import pytest

from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.observability.progress import BATCH_SECONDS, Histogram, MemoryUse, Restore
from oddtide.streams.progress import ProgressBoard


def batch(start: int, stop: int, *, partition: int = 0, rejected: dict[str, int] | None = None) -> BatchCompleted:
    refused = rejected or {}
    return BatchCompleted(
        stream="plant",
        topic="readings",
        partition=partition,
        from_offset=start,
        to_offset=stop,
        records=stop - start,
        holes=0,
        readings=stop - start,
        scored=stop - start - sum(refused.values()) - 1,
        rejected=refused,
        skipped={"duplicate": 1},
        detections=2,
    )


def test_batches_add_up_and_positions_move() -> None:
    board = ProgressBoard()
    board.batch(batch(0, 10, rejected={"not_json": 3}), seconds=0.02, end=40, series=5)
    board.batch(batch(10, 20, rejected={"not_json": 1, "empty": 1}), seconds=0.2, end=40, series=6)
    view = board.snapshot()
    (stream,) = view.streams
    assert (stream.records, stream.readings, stream.scored, stream.detections) == (20, 20, 13, 4)
    assert stream.rejected == {"not_json": 4, "empty": 1}
    assert stream.skipped == {"duplicate": 2}
    assert (view.readings, view.scored, view.rejected, view.skipped, view.detections) == (20, 13, 5, 2, 4)
    assert stream.commits.count == 2
    assert stream.commits.total == pytest.approx(0.22)
    (held,) = view.partitions
    assert (held.health.position, held.health.end, held.health.lag, held.health.state) == (20, 40, 20, "running")
    assert view.series == 6


def test_a_partition_not_measured_yet_has_unknown_lag_and_drops_out() -> None:
    board = ProgressBoard()
    board.place("plant", "readings", 1, "restoring")
    assert board.snapshot().partitions[0].health.lag == -1
    board.place("plant", "readings", 1, "running", position=5, end=9, series=2)
    assert board.snapshot().partitions[0].health.lag == 4
    board.place("plant", "readings", 1, "restoring")
    assert board.snapshot().partitions[0].health.position == 5
    board.drop("readings", 1)
    board.drop("readings", 1)
    assert board.snapshot().partitions == ()


def test_the_end_is_never_behind_the_position() -> None:
    board = ProgressBoard()
    board.batch(batch(0, 10), seconds=0.1, end=4)
    assert board.snapshot().partitions[0].health.lag == 0
    board.batch(batch(10, 20), seconds=0.1)
    assert board.snapshot().partitions[0].health.lag == 0


def test_readiness_names_each_reason() -> None:
    board = ProgressBoard()
    assert board.snapshot().unready() == ["no role has started"]
    board.role("ingest", "running")
    board.role("mlops", "failed", "no artifacts folder")
    board.role("health", "degraded", "slow")
    board.place("plant", "readings", 1, "restoring")
    assert board.snapshot().unready() == [
        "role mlops is failed: no artifacts folder",
        "partition 1 of readings is restoring",
    ]
    board.role("mlops", "starting")
    assert board.snapshot().unready()[0] == "role mlops is starting"
    board.role("mlops", "running")
    board.place("plant", "readings", 1, "running")
    assert board.snapshot().unready() == []


def test_a_view_does_not_change_afterwards() -> None:
    board = ProgressBoard()
    board.batch(batch(0, 10), seconds=0.02, end=10)
    before = board.snapshot()
    board.batch(batch(10, 20, rejected={"empty": 1}), seconds=0.02, end=20)
    assert before.readings == 10
    assert before.rejected == 0
    assert before.streams[0].commits.count == 1


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.001, 0), (0.0011, 1), (10.0, 12), (11.0, 13)])
def test_durations_fall_into_the_bucket_whose_bound_holds_them(seconds: float, bucket: int) -> None:
    durations = Histogram()
    durations.add(seconds)
    assert durations.counts.index(1) == bucket
    assert len(durations.counts) == len(BATCH_SECONDS) + 1


def test_many_threads_lose_no_count() -> None:
    board = ProgressBoard()

    def work(partition: int) -> None:
        for i in range(200):
            board.batch(batch(i * 10, i * 10 + 10, partition=partition), seconds=0.001, end=2_000)

    threads = [threading.Thread(target=work, args=(p,)) for p in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert board.snapshot().readings == 8_000
    assert len(board.snapshot().partitions) == 4


def test_series_that_cannot_sleep_degrade_the_role_that_holds_them() -> None:
    board = ProgressBoard()
    board.role("ingest", "running")
    board.role("health", "running")
    use = MemoryUse(awake=9, asleep=2, bytes_per_series=100, trouble="disk full")
    board.batch(batch(0, 10), seconds=0.1, series=11, memory=use)
    view = board.snapshot()
    assert [(role.role, role.state) for role in view.roles] == [("health", "running"), ("ingest", "degraded")]
    assert "disk full" in view.roles[1].reason
    assert (view.series, view.asleep, view.unready()) == (11, 2, [])
    board.batch(batch(10, 20), seconds=0.1, series=11, memory=MemoryUse(awake=9, asleep=2))
    assert {role.state for role in board.snapshot().roles} == {"running"}
    board.role("ingest", "failed", "why")
    board.batch(batch(20, 30), seconds=0.1, memory=use)
    assert board.snapshot().roles[1].reason == "why"


def test_a_restoration_says_how_far_it_is_and_how_long_it_takes() -> None:
    now = [100.0]
    board = ProgressBoard(lambda: now[0])
    board.role("ingest", "running")
    board.restoring("plant", "readings", 1, 1_000, 5_000)
    (held,) = board.snapshot().partitions
    assert (held.restore.share, held.restore.eta_s, held.health.eta_s) == (0.0, -1.0, -1.0)
    now[0] = 102.0
    board.folded("plant", 1_000, 1.5)
    board.place("plant", "readings", 1, "restoring", position=2_000)
    view = board.snapshot()
    (held,) = view.partitions
    assert (held.restore.total, held.restore.left, held.restore.rate, held.restore.eta_s) == (4_000, 3_000, 500.0, 6.0)
    assert (held.health.restored, held.health.eta_s) == (0.25, 6.0)
    assert view.unready() == ["partition 1 of readings is restoring: 25% done"]
    assert view.streams[0].folds.total == 1.5
    assert view.streams[0].sizes.count == 1
    now[0] = 110.0
    board.place("plant", "readings", 1, "running", position=5_000)
    now[0] = 200.0
    (held,) = board.snapshot().partitions
    assert (held.restore.left, held.restore.seconds, held.health.restored, held.health.eta_s) == (0, 10.0, 1.0, 0.0)


def test_what_never_had_to_be_restored_is_there() -> None:
    assert (Restore().share, Restore().eta_s, Restore().rate) == (1.0, 0.0, 0.0)


def test_snapshots_rebalances_and_fences_are_counted() -> None:
    now = [10.0]
    board = ProgressBoard(lambda: now[0])
    board.snapshot_written("readings", 1, 0.1, 10)  # not held: nothing to say
    board.snapshot_failed("readings", 1)
    board.place("plant", "readings", 1, "running")
    assert board.snapshot().partitions[0].snapshots.age_s == -1.0
    board.snapshot_written("readings", 1, 0.5, 2_000)
    board.snapshot_failed("readings", 1)
    board.rebalanced()
    board.fenced()
    now[0] = 13.0
    view = board.snapshot()
    snapshots = view.partitions[0].snapshots
    assert (snapshots.written, snapshots.failed, snapshots.seconds, snapshots.size) == (1, 1, 0.5, 2_000)
    assert (snapshots.age_s, view.rebalances, view.fences) == (3.0, 1, 1)
