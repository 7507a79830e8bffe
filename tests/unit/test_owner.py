"""One ownership of one partition, without Kafka: order, back-pressure, gaps, silence, models."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import orjson
import pytest
from aiokafka.errors import KafkaConnectionError

from oddtide.domain.detection.ports import Detector, DetectorSpec, Rows, Scores
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.errors import ConfigurationError, NotFoundError, StateMismatchError, StorageUnavailableError
from oddtide.domain.events import Message
from oddtide.domain.mlops.events import ModelPromoted, ModelRegistered
from oddtide.domain.observability.events import HistoryLost
from oddtide.domain.readings import IntArray
from oddtide.domain.slots import SlotState
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.controls import Controls, ControlSource, publication
from oddtide.streams.envelope import Envelope
from oddtide.streams.folding import FoldCosts, FoldRunner
from oddtide.streams.history import begin_at
from oddtide.streams.ledger import PartitionLedger
from oddtide.streams.owner import MAX_PENDING, PartitionOwner, Services
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.running_hash import hash_text
from oddtide.streams.ports import LoggedEvent, Toolkit
from oddtide.streams.progress import ProgressBoard
from oddtide.streams.restoring import Beginning
from oddtide.streams.snapshotting import SnapshotPolicy, Snapshots, Snapshotter
from oddtide.streams.stepping import MOST_PASSING

T0 = 1_700_000_000_000
BUILD = "b1"
PLAN = StreamPlan("s", "t", detectors=(DetectorSpec("pyod:Level"),))


class Level:
    """A trained detector in one line: the model is a number, the score is the distance from it."""

    warm_up = 0
    bytes_per_slot = 0

    def __init__(self) -> None:
        self.level: float | None = None
        self.version = "untrained"

    def adopt(self, artifact: bytes, version: str) -> None:
        self.level, self.version = float(artifact), version

    def grow(self, slots: int) -> None: ...
    def learn(self, rows: Rows) -> None: ...
    def forget(self, slots: IntArray) -> None: ...
    def insert(self, slots: IntArray, state: SlotState) -> None: ...
    def extract(self, slots: IntArray) -> SlotState:
        return {}

    def score(self, rows: Rows) -> Scores:
        score = np.zeros(len(rows)) if self.level is None else np.abs(rows.values[:, 0] - self.level)
        return Scores(score, np.ones(len(rows)), score[:, None].copy(), np.zeros(len(rows), np.int64))

    advance = score


def detector(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    return Level() if spec.kind == "pyod:Level" else build_detector(spec, features, families={})


TOOLKIT = Toolkit(detector=detector, monitors=lambda policy: pytest.fail("light only"))


def records(start: int, stop: int) -> list[Record]:
    return [
        Record(i, T0, None, orjson.dumps({"series": "x", "time": T0 + i, "value": float(i)}))
        for i in range(start, stop)
    ]


@dataclass
class Surroundings:
    """Everything around an owner, in memory."""

    plan: StreamPlan = PLAN
    committed: list[Outcome] = field(default_factory=list)
    sought: list[int] = field(default_factory=list)
    ends: list[BaseException] = field(default_factory=list)
    breaks: list[BaseException] = field(default_factory=list)
    #: One record is enough: nothing is joined, and feeding returns when the batch is folded.
    enough: int = 1
    pace: float = 0.0
    store: dict[str, bytes] = field(default_factory=dict)
    acknowledged: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    controls: Controls = field(default_factory=Controls)
    board: ProgressBoard = field(default_factory=ProgressBoard)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        if self.controls.pipelines.newest(self.plan.name) is None:
            self.publish(self.plan)

    def publish(self, plan: StreamPlan) -> None:
        event = publication(plan, 1, by="ann", time="", settings={})
        self.controls.fold(LoggedEvent("pipelines", 0, 0, 0, "", Envelope("", "", ""), event))

    async def commit(self, outcomes: list[Outcome]) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.committed += outcomes

    async def earliest(self) -> int:
        return 0

    async def seek(self, offset: int) -> None:
        self.sought.append(offset)

    def lost(self, error: BaseException) -> None:
        self.ends.append(error)
        self.ended.set()

    def broken(self, error: BaseException) -> None:
        self.breaks.append(error)
        self.ended.set()

    def put(self, name: str, content: bytes) -> tuple[str, str]:
        raise AssertionError("an owner stores nothing")

    def get(self, reference: str, digest: str) -> bytes:
        if reference not in self.store:
            raise NotFoundError(f"no artifact {reference!r}.")
        return self.store[reference]

    def acknowledge(self) -> None:
        self.acknowledged += 1

    def owner(self, ledger: PartitionLedger | None = None, *, start: int = 0, build: str = BUILD) -> PartitionOwner:
        processor = PartitionProcessor(self.plan, TOOLKIT, application="a", partition=0)
        processor.start_at(start)
        services = Services(
            self.commit, self.seek, self.lost, self.broken, lambda: 100, self.earliest, self.controls,
            ControlSource(self.controls.pipelines, self), self.board, build, FoldCosts(), lambda: self.pace,
            self.enough,
        )  # fmt: skip
        ledger = ledger or PartitionLedger()
        start, loss = begin_at(ledger, start)
        processor.start_at(start)
        snapshots = Snapshotter(processor, Snapshots(None, SnapshotPolicy(), "a"), "t", 0)
        return PartitionOwner(processor, ledger, Beginning(loss=loss), snapshots, services)

    def promote(self, version: int, level: float) -> None:
        events: list[Message] = [
            ModelRegistered(model="m", stream="s", algorithm="Level", time=""),
            ModelPromoted(
                model="m", version=version, stream="s", digest=f"d{version}", artifact=f"a{version}", time="", by=""
            ),
        ]
        self.store[f"a{version}"] = str(level).encode()
        for event in events:
            self.controls.fold(LoggedEvent("models", 0, 0, 0, "", Envelope("", "", ""), event))


async def run(owner: PartitionOwner, around: Surroundings, *batches: Sequence[Record]) -> None:
    for batch in batches:
        await owner.feed(batch, around.acknowledge)
    await owner.settle(10)


def digests(owner: PartitionOwner) -> dict[str, str]:
    return {detector: model.digest for detector, model in owner.processor.in_force.models.items()}


def ledger_of(outcomes: Sequence[Outcome], build: str = BUILD) -> PartitionLedger:
    import msgspec

    ledger = PartitionLedger()
    for outcome in outcomes:
        ledger.take(msgspec.structs.replace(outcome.completed, build=build))
    return ledger


async def test_batches_are_committed_in_order_and_acknowledged_after() -> None:
    around = Surroundings()
    owner = around.owner()
    await run(owner, around, records(0, 3), records(3, 5), records(4, 7))
    assert [(o.completed.from_offset, o.completed.to_offset) for o in around.committed] == [(0, 3), (3, 5), (5, 7)]
    assert (around.acknowledged, owner.committed, owner.keepable) == (3, 7, True)


async def test_a_repeat_is_acknowledged_and_changes_nothing() -> None:
    around = Surroundings()
    owner = around.owner()
    await run(owner, around, records(0, 3), records(0, 3), [])
    assert (len(around.committed), around.acknowledged) == (1, 3)


async def test_feeding_waits_while_kafka_takes_nothing() -> None:
    around = Surroundings()
    owner = around.owner()
    around.gate.clear()
    await owner.feed(records(0, 1), around.acknowledge)
    await asyncio.sleep(0)  # the first batch is taken up and waits at the gate
    for i in range(1, MAX_PENDING + 1):
        await owner.feed(records(i, i + 1), around.acknowledge)
    waiting = asyncio.ensure_future(owner.feed(records(MAX_PENDING + 1, MAX_PENDING + 2), around.acknowledge))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    around.gate.set()
    await waiting
    await owner.settle(10)
    assert [o.completed.from_offset for o in around.committed] == list(range(MAX_PENDING + 2))


async def test_an_error_of_the_producer_ends_the_ownership_once() -> None:
    around = Surroundings(failure=RuntimeError("fenced"))
    owner = around.owner()
    await owner.feed(records(0, 3), around.acknowledge)
    await around.ended.wait()
    await owner.feed(records(3, 5), around.acknowledge)
    assert owner.dead
    assert [str(error) for error in around.ends] == ["fenced"]
    assert (around.committed, around.acknowledged) == ([], 0)


async def test_closing_lets_nobody_wait() -> None:
    around = Surroundings()
    owner = around.owner()
    around.gate.clear()
    for i in range(MAX_PENDING + 1):
        await owner.feed(records(i, i + 1), around.acknowledge)
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(owner.feed(records(MAX_PENDING + 1, MAX_PENDING + 2), around.acknowledge))
    await asyncio.sleep(0)
    owner.close()
    await waiting
    assert around.committed == []


async def test_what_was_queued_before_a_seek_is_asked_for_again_and_the_same_gap_twice_is_a_hole() -> None:
    around = Surroundings()
    owner = around.owner()
    await run(owner, around, records(5, 7))
    assert (around.sought, around.committed) == ([0], [])
    await run(owner, around, records(5, 7), records(9, 10))
    assert around.sought == [0]
    assert [(o.completed.to_offset, o.completed.holes) for o in around.committed] == [(7, 5), (10, 2)]


async def test_many_batches_queued_behind_a_hole_pass_by_and_do_not_keep_the_partition_seeking() -> None:
    around = Surroundings()
    owner = around.owner()
    queued = [records(start, start + 3) for start in (5, 9, 13, 17)]
    await run(owner, around, *queued)
    assert (around.sought, around.committed) == ([0], [])
    await run(owner, around, *queued)
    assert around.sought == [0]
    assert [o.completed.from_offset for o in around.committed] == [0, 8, 12, 16]
    assert sum(o.completed.records for o in around.committed) == 12


async def test_what_comes_nearer_to_the_position_than_before_is_no_end_of_a_hole_yet() -> None:
    around = Surroundings()
    owner = around.owner()
    await run(owner, around, records(9, 12), records(5, 8), records(9, 12))
    assert (around.sought, around.committed) == ([0, 0], [])
    await run(owner, around, records(5, 8), records(9, 12))
    assert [(o.completed.from_offset, o.completed.to_offset) for o in around.committed] == [(0, 8), (8, 12)]


async def test_a_hole_that_compaction_widens_between_two_fetches_is_found_all_the_same() -> None:
    around = Surroundings()
    owner = around.owner()
    await run(owner, around, records(5, 6), *(records(6 + i, 7 + i) for i in range(MOST_PASSING)))
    assert (around.sought, around.committed) == ([0], [])
    await run(owner, around, records(6, 7), records(6, 7))
    assert around.sought == [0, 0]
    assert [(o.completed.to_offset, o.completed.holes) for o in around.committed] == [(7, 6)]


async def test_history_is_folded_in_silence_with_each_model_at_its_offset() -> None:
    before = Surroundings()
    owner = before.owner()
    await run(owner, before, records(0, 4))
    before.promote(1, 2.0)
    await run(owner, before, records(4, 6))
    before.promote(2, 9.0)
    await run(owner, before, records(6, 10))
    kinds = [[(c.kind, c.version) for c in o.completed.controls] for o in before.committed]
    assert kinds == [[("pipeline", 0)], [("model", 1)], [("model", 2)]]

    after = Surroundings(controls=before.controls, store=before.store)
    second = after.owner(ledger_of(before.committed))
    assert not second.keepable
    await run(second, after, records(0, 5), records(5, 12))
    assert digests(second) == {"pyod:Level": "d2"}
    (outcome,) = after.committed
    assert (outcome.completed.from_offset, outcome.completed.controls) == (10, [])
    whole = Surroundings(controls=before.controls, store=before.store)
    await run(owner, before, records(10, 12))
    assert outcome.completed.hash == before.committed[-1].completed.hash
    assert whole.committed == []


async def test_a_model_that_cannot_be_read_is_tried_again_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    around = Surroundings()
    around.promote(1, 2.0)
    content, now = around.store.pop("a1"), [100.0]
    owner = around.owner()
    monkeypatch.setattr(owner._taker, "_clock", lambda: now[0])
    await run(owner, around, records(0, 3), records(3, 5))
    assert [[c.kind for c in o.completed.controls] for o in around.committed] == [["pipeline"], []]
    (role,) = around.board.snapshot().roles
    assert (role.state, "m@1" in role.reason) == ("degraded", True)
    now[0] += 1.0
    await run(owner, around, records(5, 6))
    around.store["a1"] = content
    now[0] += 1.5
    await run(owner, around, records(6, 7))
    assert digests(owner) == {}
    now[0] += 0.5
    await run(owner, around, records(7, 9))
    assert [[c.offset for c in o.completed.controls] for o in around.committed] == [[0], [], [], [], [7]]
    assert digests(owner) == {"pyod:Level": "d1"}
    (role,) = around.board.snapshot().roles
    assert (role.state, role.reason) == ("running", "")


async def test_a_published_pipeline_takes_effect_between_batches_and_a_rebuild_finds_it_there() -> None:
    other = replace(PLAN, detectors=(DetectorSpec("ewma"),))
    before = Surroundings()
    owner = before.owner()
    await run(owner, before, records(0, 4))
    before.publish(other)
    await run(owner, before, records(4, 9))
    assert [o.completed.pipeline_version for o in before.committed] == [PLAN.version, other.version]
    assert [(c.offset, c.kept) for c in before.committed[1].completed.controls] == [(4, ("validator", "profiles"))]
    after = Surroundings(controls=before.controls)
    second = after.owner(ledger_of(before.committed))
    await run(second, after, records(0, 7), records(7, 12))
    assert second.processor.plan.version == other.version
    (outcome,) = after.committed
    assert (outcome.completed.from_offset, outcome.completed.controls) == (9, [])


async def test_a_pipeline_that_cannot_run_here_is_no_reason_to_go_on_with_the_old_one() -> None:
    around = Surroundings()
    owner = around.owner()
    await run(owner, around, records(0, 2))
    around.publish(replace(PLAN, detectors=(DetectorSpec("newfangled"),)))
    await owner.feed(records(2, 4), around.acknowledge)
    (error,) = around.breaks
    assert isinstance(error, ConfigurationError)
    assert re.search(r"cannot run here: There is no detector 'newf.*start the worker", str(error))
    assert (len(around.committed), owner.dead, around.ends) == (1, True, [])


async def test_without_its_model_history_cannot_be_folded() -> None:
    before = Surroundings()
    before.promote(1, 2.0)
    owner = before.owner()
    await run(owner, before, records(0, 4))
    after = Surroundings()
    second = after.owner(ledger_of(before.committed))
    await second.feed(records(0, 4), after.acknowledge)
    assert [type(error) for error in after.breaks] == [NotFoundError]


@pytest.mark.parametrize("change", ["hash", "build", "records", "pipeline"])
async def test_a_rebuilt_state_is_held_against_the_ledger_where_that_is_possible(change: str) -> None:
    import msgspec

    before = Surroundings()
    owner = before.owner()
    await run(owner, before, records(0, 4))
    ledger = ledger_of(before.committed, build="older" if change == "build" else BUILD)
    assert ledger.last is not None
    ledger.last = msgspec.structs.replace(ledger.last, hash=f"{7:016x}")
    ledger.records += change == "records"
    if change == "pipeline":
        ledger.last = msgspec.structs.replace(ledger.last, pipeline_version="older")
    after = Surroundings()
    second = after.owner(ledger)
    if change == "hash":
        await second.feed(records(0, 5), after.acknowledge)
        (error,) = after.breaks
        assert isinstance(error, StateMismatchError)
        assert re.search(r"t/0.*0000000000000007", str(error))
        return
    await run(second, after, records(0, 5))
    assert [o.completed.from_offset for o in after.committed] == [4]
    assert [held.proven for held in after.board.snapshot().partitions] == [False]


async def test_history_that_the_log_no_longer_has_in_full_is_no_mismatch() -> None:
    before = Surroundings()
    await run(before.owner(), before, records(0, 6))
    after = Surroundings()
    second = after.owner(ledger_of(before.committed), start=3)
    await run(second, after, records(3, 8))
    opening, going_on = (outcome.completed for outcome in after.committed)
    assert (opening.from_offset, opening.to_offset, opening.epoch, opening.lost) == (6, 6, 1, 0)
    assert opening.opened is not None
    assert (opening.opened.from_offset, opening.opened.to_offset, opening.opened.state_from) == (0, 3, 3)
    assert (going_on.from_offset, going_on.to_offset, going_on.epoch, going_on.opened) == (6, 8, 1, None)
    (published,) = after.committed[0].events
    assert isinstance(published.event, HistoryLost)
    assert (published.role, published.event.epoch, published.event.unread) == ("health", 1, 0)


async def test_a_state_that_a_batch_is_being_folded_into_is_not_kept_and_settling_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    around = Surroundings()
    owner = around.owner()
    await run(owner, around, records(0, 3))
    fold, begun, go_on = owner.processor.fold, threading.Event(), threading.Event()

    def slow(batch: Sequence[Record]) -> Outcome:
        begun.set()
        assert go_on.wait(10)
        return fold(batch)

    monkeypatch.setattr(owner.processor, "fold", slow)
    monkeypatch.setattr(
        owner, "_runner", FoldRunner(owner.processor, FoldCosts())
    )  # whose first batch goes to a thread
    feeding = asyncio.ensure_future(owner.feed(records(3, 6), around.acknowledge))
    await asyncio.to_thread(begun.wait, 10)
    await owner.settle(0.05)
    assert (owner.processor.position, owner.keepable) == (3, False)
    go_on.set()
    await owner.settle(10)
    assert (owner.committed, owner.keepable) == (6, True)
    await feeding


async def test_what_retention_cuts_away_between_two_waiting_batches_is_said() -> None:
    """Folded as one, it would pass for a hole."""

    class Cut(Surroundings):
        async def earliest(self) -> int:
            return 50

        async def commit(self, outcomes: list[Outcome]) -> None:
            committing.set()
            await super().commit(outcomes)

    around, committing = Cut(enough=100), asyncio.Event()
    owner = around.owner()
    around.gate.clear()
    await owner.feed(records(0, 3), around.acknowledge)
    await committing.wait()
    await owner.feed(records(3, 5), around.acknowledge)
    await owner.feed(records(7, 9), around.acknowledge)  # behind a transaction's markers
    await owner.feed(records(50, 53), around.acknowledge)
    around.gate.set()
    await owner.settle(10)
    found = [(o.completed.from_offset, o.completed.to_offset, o.completed.lost) for o in around.committed]
    assert found == [(0, 3, 0), (3, 9, 0), (9, 50, 41), (50, 53, 0)]


async def test_a_parting_owner_begins_no_further_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a slow detector what waits would take longer than a rebalance may, and no snapshot would be left."""
    around = Surroundings(enough=100)
    owner = around.owner()
    fold, begun, go_on = owner.processor.fold, threading.Event(), threading.Event()

    def slow(batch: Sequence[Record]) -> Outcome:
        begun.set()
        assert go_on.wait(10)
        return fold(batch)

    monkeypatch.setattr(owner.processor, "fold", slow)
    await owner.feed(records(0, 3), around.acknowledge)
    await asyncio.to_thread(begun.wait, 10)
    await owner.feed(records(3, 6), around.acknowledge)
    full = asyncio.ensure_future(owner.feed(records(6, 206), around.acknowledge))
    parting = asyncio.ensure_future(owner.part(10))
    await full  # the agent is not held up
    go_on.set()
    await parting
    assert (owner.committed, owner.processor.position, around.acknowledged) == (3, 3, 1)
    assert (owner.keepable, owner.dead) == (True, False)


async def test_what_waits_to_be_folded_in_a_thread_when_its_ownership_ends_is_not_folded() -> None:
    """With slow detectors each partition that moves would else keep the thread from those that are restored next."""
    around = Surroundings(enough=100)
    owner = around.owner()
    async with owner._runner._costs.turn:  # another partition folds
        await owner.feed(records(0, 3), around.acknowledge)
        await asyncio.sleep(0.01)
        owner.close()
    await asyncio.wait({owner._inbox._task}, timeout=10)
    assert owner._inbox._task.cancelled()
    assert (owner.processor.position, around.ends, around.breaks) == (0, [], [])


@pytest.mark.parametrize("start", [6, 9])
async def test_where_the_log_has_nothing_left_of_the_history_the_hash_goes_on(start: int) -> None:
    before = Surroundings()
    await run(before.owner(), before, records(0, 6))
    after = Surroundings()
    second = after.owner(ledger_of(before.committed), start=start)
    assert hash_text(second.processor.hash) == before.committed[-1].completed.hash
    await run(second, after, records(start, start + 2), records(start, start + 2))
    opening, outcome = (outcome.completed for outcome in after.committed)
    assert (opening.from_offset, opening.to_offset, opening.lost, opening.holes) == (6, start, start - 6, 0)
    assert (outcome.from_offset, outcome.holes, outcome.epoch) == (start, 0, 1)


async def test_the_newest_model_of_a_history_that_was_cut_off_is_in_force() -> None:
    before = Surroundings()
    owner = before.owner()
    for version in (1, 2):
        before.promote(version, 2.0 * version)
        await run(owner, before, records(2 * version - 2, 2 * version))
    await run(owner, before, records(4, 8))
    after = Surroundings(controls=before.controls, store={"a2": before.store["a2"]})
    second = after.owner(ledger_of(before.committed), start=5)
    await run(second, after, records(5, 10))
    assert digests(second) == {"pyod:Level": "d2"}
    assert [outcome.completed.controls for outcome in after.committed] == [[], []]


async def test_where_a_series_cannot_be_woken_the_ownership_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    around = Surroundings()
    owner = around.owner()
    await run(owner, around, records(0, 3))

    def unreadable(batch: object) -> Outcome:
        raise StorageUnavailableError("the disk is gone")

    monkeypatch.setattr(owner.processor, "fold", unreadable)
    await run(owner, around, records(3, 5))
    assert [str(error) for error in around.ends] == ["the disk is gone"]
    assert (owner.dead, around.acknowledged, len(around.committed)) == (True, 1, 1)


async def test_a_broker_that_does_not_answer_ends_the_ownership_and_not_the_worker() -> None:
    class Away(Surroundings):
        async def earliest(self) -> int:
            raise KafkaConnectionError("away")

    around = Away()
    owner = around.owner()
    await run(owner, around, records(0, 3))
    await owner.feed(records(50, 53), around.acknowledge)
    assert [str(error) for error in around.ends] == ["KafkaConnectionError: away"]
    assert (owner.dead, len(around.committed)) == (True, 1)


async def test_a_fold_that_outlives_its_ownership_is_no_loss_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    around = Surroundings()
    owner = around.owner()

    def closed(batch: object) -> Outcome:
        owner.close()  # as a rebalance does, which also closes the store of those who sleep
        raise StorageUnavailableError("closed")

    monkeypatch.setattr(owner.processor, "fold", closed)
    await owner.feed(records(0, 3), around.acknowledge)
    assert (owner.dead, around.ends) == (True, [])


async def test_what_a_restored_partition_holds_is_told_before_its_first_batch() -> None:
    before = Surroundings()
    await run(before.owner(), before, records(0, 4))
    after = Surroundings()
    second = after.owner(ledger_of(before.committed))
    await run(second, after, records(0, 4))
    (held,) = after.board.snapshot().partitions
    assert (after.committed, held.series, held.memory.awake, held.proven) == ([], 1, 1, True)
