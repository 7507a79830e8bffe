"""When snapshots are taken and named, what is kept, what happens when the disk is full; and which one is begun from."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from oddtide.adapters.rocksdb import RocksSleepStores
from oddtide.domain.errors import DecodeError, FoldError, NotFoundError, StateMismatchError, StorageUnavailableError
from oddtide.domain.observability.ledger import SnapshotPointer
from oddtide.streams import takeover
from oddtide.streams.codecs.container import read_container, write_container
from oddtide.streams.no_snapshots import NoSnapshots
from oddtide.streams.pipeline.running_hash import hash_text
from oddtide.streams.pipeline.sleeping import MemoryBudget, Sleeping
from oddtide.streams.pipeline.snapshot import Part
from oddtide.streams.restoring import SnapshotRefusedError
from oddtide.streams.scratch import Scratch
from oddtide.streams.snapshotting import SnapshotPolicy
from tests.property.recovery_world import Store, World, log_of, pointers, undisturbed

FULL = StorageUnavailableError("No space left on device.", remedy="Free space.")


def world(**policy: float) -> World:
    return World(log_of(150), policy=SnapshotPolicy(**{"every_s": 10.0, "fold_s": 1e9, "keep": 2} | policy))  # type: ignore[arg-type]  # keep is an int


def writing(subject: World) -> bool:
    return subject.snapshots.writing


async def settled(subject: World) -> None:
    """Let a snapshot that is being written be named."""
    assert subject.owner is not None
    await subject.snapshots.finish()
    await subject.owner.tick()
    await subject.owner.settle(10)
    await subject.snapshots.finish()


async def test_one_is_due_after_a_while_where_the_state_has_changed() -> None:
    subject = world()
    owner = await subject.take()
    await owner.tick()
    subject.now = 20.0
    await owner.tick()
    assert not writing(subject)  # nothing to keep yet
    await subject.feed(10)
    assert writing(subject)  # after the batch, at its end
    await settled(subject)
    assert list(pointers(subject)) == [10]
    subject.now = 100.0
    await owner.tick()
    assert not writing(subject)  # it is the same state
    await subject.feed(10)
    subject.now = 105.0
    await owner.tick()
    await settled(subject)
    assert list(pointers(subject)) == [10, 20]
    await subject.feed(10)
    await owner.tick()
    assert not writing(subject)  # too soon


async def test_one_is_due_sooner_where_much_would_be_folded_again() -> None:
    subject = world(fold_s=5.0)
    await subject.take()
    await subject.feed(10)
    assert not subject.snapshots.due()
    subject.snapshots.folded(4.9)
    subject.now = 1.0
    await subject.feed(10)
    subject.snapshots.folded(0.2)
    assert subject.snapshots.due()


async def test_big_states_are_stored_less_often() -> None:
    subject = world(share=0.1)
    await subject.take()
    await subject.feed(10)
    subject.snapshots._cost.writing = 3.0
    subject.now = 29.0
    assert not subject.snapshots.due()
    subject.now = 31.0
    assert subject.snapshots.due()


async def test_at_most_so_many_are_in_memory_at_once() -> None:
    subject = world()
    await subject.take()
    await subject.feed(10)
    subject.now = 20.0
    lanes = subject.takeover.around.lanes
    await lanes.acquire()
    assert subject.snapshots.due()
    await lanes.acquire()
    assert not subject.snapshots.due()


async def test_a_big_state_is_copied_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oddtide.streams.snapshotting._BIG", 0)
    subject = world()
    await subject.take()
    await subject.feed(10)
    await subject.snapshot()
    assert list(pointers(subject)) == [10]


async def test_with_each_snapshot_free_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[threading.Thread] = []
    monkeypatch.setattr("oddtide.streams.snapshotting.give_back", lambda: asked.append(threading.current_thread()))
    subject = world()
    await subject.take()
    await subject.feed(10)
    await subject.snapshot()
    assert len(asked) == 1
    assert asked[0] is not threading.main_thread()


async def test_the_newest_are_kept_and_what_a_crash_left_is_swept_away() -> None:
    subject = world()
    await subject.take()
    orphan, _ = subject.store.put("app/t-0/00000000000000000003", [b"an orphan"])
    foreign, _ = subject.store.put("app/t-0/readme", [b"what somebody put there"])
    zombie, _ = subject.store.put("app/t-0/00000000000000000099", [b"another owner's, farther on"])
    other, _ = subject.store.put("app/t-1/00000000000000000003", [b"another partition's"])
    for _ in range(4):
        await subject.feed(10)
        await subject.snapshot()
    kept = {pointer.reference for pointer in subject.ledger().pointers[-2:]}
    assert set(subject.store.blobs) == {*kept, foreign, zombie, other}
    assert orphan not in subject.store.blobs


async def test_a_full_disk_stops_nothing_and_is_told_until_it_is_over() -> None:
    subject = world()
    owner = await subject.take()
    await subject.feed(10)
    await subject.snapshot()
    subject.store.failing = FULL
    await subject.feed(10)
    await subject.snapshot()
    assert subject.troubles == ["no snapshot of t/0: No space left on device. Free space."]
    await subject.feed(10)
    assert (owner.dead, owner.committed, list(pointers(subject))) == (False, 30, [10])
    subject.now += 1.0
    subject.snapshots.urge()
    assert not subject.snapshots.due()  # not at once again
    subject.store.failing = None
    await subject.snapshot()
    assert subject.troubles[1:] == [""]
    assert list(pointers(subject)) == [10, 30]


async def test_what_cannot_be_deleted_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = world()
    owner = await subject.take()

    def away(self: Store, name: str) -> list[str]:
        raise FULL

    monkeypatch.setattr(Store, "references", away)
    for _ in range(4):
        await subject.feed(10)
        await subject.snapshot()
    assert (owner.dead, list(pointers(subject))) == (False, [10, 20, 30, 40])


async def test_without_a_store_none_are_taken() -> None:
    subject = world()
    subject.takeover.around.on = False
    await subject.take()
    await subject.feed(10)
    await subject.snapshot()
    assert subject.store.blobs == {}
    nothing = NoSnapshots()
    assert nothing.references("a") == []
    nothing.delete("a")
    with pytest.raises(StorageUnavailableError):
        nothing.put("a", [])
    with pytest.raises(NotFoundError):
        nothing.get("a", "")


async def test_a_parting_owner_leaves_one_behind_and_the_next_begins_with_it() -> None:
    subject = world()
    owner = await subject.take()
    await subject.feed(33)
    await owner.part(10)
    assert list(pointers(subject)) == [33]
    await owner.part(10)  # there is nothing new
    assert list(pointers(subject)) == [33]
    await subject.die()
    second = await subject.take(1)
    assert (subject.begun.source, second.processor.position) == ("snapshot", 33)
    await subject.drain()
    assert subject.batches[-1].hash == hash_text(undisturbed(subject.log).hash)


async def test_a_parting_owner_leaves_none_where_folding_again_is_quicker() -> None:
    subject = world()
    owner = await subject.take()
    await subject.feed(33)
    await subject.snapshot()
    subject.snapshots._cost.writing = 1_000.0
    await subject.feed(10)
    await owner.part(10)
    assert list(pointers(subject)) == [33]
    subject.snapshots.folded(2_000.0)
    await owner.part(10)
    assert list(pointers(subject)) == [33, 43]


async def test_a_parting_owner_waits_no_longer_than_it_may() -> None:
    subject = world()
    owner = await subject.take()
    await subject.feed(33)
    await owner.settle(10)
    for _ in range(2):
        await subject.takeover.around.lanes.acquire()
    await owner.part(0.05)
    assert list(pointers(subject)) == []


async def three_snapshots() -> World:
    subject = world(keep=3)
    await subject.take()
    for _ in range(3):
        await subject.feed(20)
        await subject.snapshot()
    await subject.feed(20)
    assert subject.owner is not None
    await subject.owner.settle(10)
    await subject.die()
    return subject


async def goes_on(subject: World, source: str, position: int) -> None:
    owner = await subject.take(1)
    assert (subject.begun.source, owner.processor.position) == (source, position)
    await subject.drain()
    assert subject.batches[-1].hash == hash_text(undisturbed(subject.log).hash)
    assert not [batch for batch in subject.batches if batch.epoch]


async def test_the_newest_is_begun_from() -> None:
    await goes_on(await three_snapshots(), "snapshot", 60)


async def test_damaged_and_missing_ones_fall_back_to_the_one_before_and_say_so() -> None:
    subject = await three_snapshots()
    _, second, newest = sorted(subject.store.blobs)
    subject.store.delete(newest)
    subject.store.blobs[second] = subject.store.blobs[second][:-200]
    await goes_on(subject, "snapshot", 20)
    assert [trouble.split(" cannot")[0] for trouble in subject.troubles] == [f"snapshot {newest}", f"snapshot {second}"]


async def test_without_any_the_log_is_folded_from_its_start() -> None:
    subject = await three_snapshots()
    subject.store.blobs.clear()
    await goes_on(subject, "log", 0)


async def test_one_that_speaks_of_another_hash_or_offset_than_the_ledger_is_not_used() -> None:
    subject = await three_snapshots()
    for reference, raw in list(subject.store.blobs.items()):
        content = read_container(raw)
        lie = {"hash": f"{7:016x}"} if "60/" in reference else {"position": 7}
        changed = content._replace(about={**content.about, **lie})
        subject.store.blobs[reference] = b"".join(write_container(changed))
    await goes_on(subject, "log", 0)
    assert len(subject.troubles) == 3


async def test_one_whose_state_turns_out_wrong_is_refused_and_the_one_before_tried() -> None:
    subject = await three_snapshots()
    newest = max(subject.store.blobs)
    content = read_container(subject.store.blobs[newest])
    columns = {
        name: column if isinstance(column, list) or "ewma" not in name or column.dtype.kind != "f" else column + 1.0
        for name, column in content.columns.items()
    }
    subject.store.blobs[newest] = b"".join(write_container(content._replace(columns=columns)))
    owner = await subject.take(1)
    await subject.feed(20)
    assert owner.dead
    (error,) = subject.ends
    assert isinstance(error, SnapshotRefusedError)
    assert isinstance(error, StateMismatchError)
    subject.takeover.refuse("t", 0, error.reference, str(error))
    await goes_on(subject, "snapshot", 40)


async def test_a_store_that_does_not_answer_is_asked_again_before_the_log_is_folded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(takeover, "_RETRY_S", 0.0)
    subject = await three_snapshots()
    get, tries, patience = subject.store.get, list[str](), [3]

    def away(reference: str, digest: str) -> bytes:
        tries.append(reference)
        if len(tries) < patience[0]:
            raise FULL
        return get(reference, digest)

    monkeypatch.setattr(subject.store, "get", away)
    await goes_on(subject, "snapshot", 60)
    subject.begin_process()
    patience[0] = 1_000
    await goes_on(subject, "log", 0)
    assert len(tries) == 3 + 3 * 3


async def test_the_state_in_memory_goes_on_where_it_is_the_ledgers() -> None:
    subject = await three_snapshots()
    await subject.take(1)
    await subject.drain()
    before = subject.owner
    again = await subject.take(1)
    assert subject.begun.source == "memory"
    assert before is not None
    assert again.processor is before.processor


async def test_records_cut_away_under_a_running_owner_are_counted_as_lost() -> None:
    subject = world()
    await subject.take()
    await subject.feed(20)
    subject.log = [record for record in subject.log if record.offset >= 50]
    subject.earliest = 50
    await subject.drain()
    (opening,) = [batch for batch in subject.batches if batch.opened]
    assert (opening.from_offset, opening.to_offset, opening.lost, opening.epoch) == (20, 50, 30, 1)
    assert subject.batches[-1].to_offset == 150
    assert subject.ends == []
    subject.now += 1e6
    assert subject.owner is not None
    await settled(subject)


async def test_holes_are_not_taken_for_losses() -> None:
    subject = world()
    await subject.take()
    await subject.feed(20)
    subject.log = [record for record in subject.log if record.offset >= 50]
    await subject.drain()
    assert [batch.lost for batch in subject.batches if batch.lost or batch.opened] == []
    assert sum(batch.holes for batch in subject.batches) == 30


async def test_a_log_cut_while_the_state_is_rebuilt_is_looked_at_again() -> None:
    subject = await three_snapshots()
    subject.store.blobs.clear()
    owner = await subject.take(1)
    await subject.feed(5)
    subject.log = [record for record in subject.log if record.offset >= 50]
    subject.earliest = 50
    await subject.feed(5)
    assert owner.dead
    await subject.take(1)
    await subject.drain()
    (opening,) = [batch for batch in subject.batches if batch.opened]
    assert opening.opened is not None
    assert (opening.to_offset, opening.lost, opening.opened.state_from) == (80, 0, 50)


async def test_a_batch_that_cannot_be_folded_ends_it_and_names_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = world()
    owner = await subject.take()
    await subject.feed(20)
    monkeypatch.setattr(owner.processor, "fold", lambda records: 1 / 0)
    await subject.feed(10)
    (error,) = subject.breaks
    assert isinstance(error, FoldError)
    assert re.search(r"t/0: the records 20 to 29 cannot be folded.*ZeroDivisionError", str(error))
    assert owner.dead
    await owner.part(1)  # nothing is left behind of a state half changed
    await owner.tick()
    assert list(pointers(subject)) == []


async def test_what_says_itself_why_it_cannot_be_folded_is_not_taken_for_a_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = world()
    owner = await subject.take()

    def away(records: object) -> None:
        raise FULL

    monkeypatch.setattr(owner.processor, "fold", away)
    await subject.feed(10)
    assert (owner.dead, owner.keepable, subject.ends) == (True, False, [FULL])


async def test_another_builds_ledger_cannot_be_verified_but_gone_on_from() -> None:
    subject = await three_snapshots()
    subject.build = "another"
    subject.begin_process()
    subject.committed[-1] = replace(subject.committed[-1])
    await goes_on(subject, "snapshot", 60)


def sleepy(folder: Path) -> World:
    """A world where only one of three series may be awake between batches."""
    sleeping = Sleeping(RocksSleepStores(folder / "sleeping"), MemoryBudget(1))
    policy = SnapshotPolicy(every_s=10.0, fold_s=1e9, keep=2)
    return World(log_of(150), policy=policy, sleeping=sleeping, folder=folder / "under-way")


def parts_in(store: Store) -> set[str]:
    return {reference for reference in store.blobs if "/parts/" in reference}


def needs(subject: World, pointer: SnapshotPointer) -> set[str]:
    return set(subject.takeover.around.parts_of(pointer))


async def test_those_who_sleep_are_part_of_a_snapshot_and_wake_under_the_next_owner(tmp_path: Path) -> None:
    subject = sleepy(tmp_path)
    owner = await subject.take()
    await subject.feed(30)
    assert owner.processor.memory.asleep == 2
    await subject.snapshot()
    await subject.feed(30)
    await subject.snapshot()
    assert list(pointers(subject)) == [30, 60]
    assert list((tmp_path / "under-way").iterdir()) == []
    await subject.die()
    await goes_on(subject, "snapshot", 60)


async def test_files_that_snapshots_share_are_stored_once_and_go_with_the_last_that_needs_them(tmp_path: Path) -> None:
    subject = sleepy(tmp_path)
    await subject.take()
    seen: set[str] = set()
    shared: set[str] = set()
    for _ in range(4):
        await subject.feed(20)
        await subject.snapshot()
        seen |= parts_in(subject.store)
        shared |= set.intersection(*(needs(subject, pointer) for pointer in subject.ledger().pointers[-2:]))
    await subject.die()
    await subject.take(2)
    await subject.feed(20)
    await subject.snapshot()
    one, other = (needs(subject, pointer) for pointer in subject.ledger().pointers[-2:])
    assert parts_in(subject.store) == one | other
    assert seen - parts_in(subject.store)
    assert any(reference.split("/")[-2].endswith(".sst") for reference in shared)


async def test_a_part_that_is_missing_makes_the_snapshot_useless(tmp_path: Path) -> None:
    subject = sleepy(tmp_path)
    await subject.take()
    await subject.feed(30)
    await subject.snapshot()
    subject.store.delete(min(parts_in(subject.store)))
    await subject.die()
    await goes_on(subject, "log", 0)


async def test_without_a_memory_budget_a_snapshot_with_sleepers_is_not_used(tmp_path: Path) -> None:
    subject = sleepy(tmp_path)
    await subject.take()
    await subject.feed(30)
    await subject.snapshot()
    await subject.die()
    subject.sleeping = None
    await goes_on(subject, "log", 0)
    assert "memory_mib" in subject.troubles[0]


async def test_those_who_sleep_that_cannot_be_written_down_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = sleepy(tmp_path)
    owner = await subject.take()
    await subject.feed(30)
    assert owner.processor.sleepers is not None

    def full(folder: Path) -> list[Path]:
        raise FULL

    monkeypatch.setattr(owner.processor.sleepers, "checkpoint", full)
    await subject.snapshot()
    await subject.feed(30)
    assert (owner.dead, owner.committed, list(pointers(subject))) == (False, 60, [])
    assert "No space left" in subject.troubles[0]
    assert list((tmp_path / "under-way").iterdir()) == []


def test_a_part_is_a_plain_file(tmp_path: Path) -> None:
    around = world().takeover.around
    part = Part(name="../x", reference="r", digest="d", size=1)
    with pytest.raises(DecodeError, match=r"\.\./x"):
        around.load_parts([part], tmp_path)


def test_what_killed_processes_left_under_way_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "4194305-abc").mkdir()  # beyond the highest process id
    (tmp_path / "1-init").mkdir()
    with Scratch(tmp_path).folder() as folder:
        assert folder.is_dir()
        assert {path.name for path in tmp_path.iterdir()} == {"1-init", folder.name}
    assert not folder.exists()


async def test_one_named_while_the_next_became_ready_is_kept_in_mind() -> None:
    subject = world()
    await subject.take()
    first, second = (SnapshotPointer(offset=i, reference=f"app/t-0/{i:020d}/d", digest="d") for i in (10, 20))
    snapshots = subject.snapshots
    snapshots.ready = second
    snapshots.was_named(first)
    assert list(snapshots.pointers) == [first]
    for _ in range(2):
        snapshots.was_named(second)
        assert list(snapshots.pointers) == [first, second]
    assert snapshots.for_record(99) is second  # the named one: none is waiting
    await snapshots.finish()


async def test_no_history_is_given_up_because_the_store_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "_RETRY_S", 0.0)
    subject = await three_snapshots()
    whole, get = subject.log, subject.store.get
    subject.log, subject.earliest = whole[50:], 50

    def away(reference: str, digest: str) -> bytes:
        raise FULL

    for _ in range(2):
        monkeypatch.setattr(subject.store, "get", away)
        with pytest.raises(StorageUnavailableError):
            await subject.take(1)
    monkeypatch.setattr(subject.store, "get", get)
    await subject.take(1)
    await subject.drain()
    assert subject.begun.source == "snapshot"
    assert subject.batches[-1].hash == hash_text(undisturbed(whole).hash)
    assert not [batch for batch in subject.batches if batch.epoch]


async def test_the_trouble_of_a_partition_goes_with_it() -> None:
    subject = world()
    await subject.take()
    await subject.feed(10)
    subject.store.failing = FULL
    await subject.snapshot()
    assert len(subject.troubles) == 1
    subject.takeover.let_go("t", 1)
    assert len(subject.troubles) == 1
    subject.takeover.let_go("t", 0)
    assert subject.troubles[1:] == [""]
