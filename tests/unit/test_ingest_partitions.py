"""Taking partitions, without Kafka: what fails half way leaves nothing behind, what cannot mend ends the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP
from structlog.testing import capture_logs

from oddtide.domain.errors import FoldError, OddtideError, SchemaVersionError
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams import ledger
from oddtide.streams.agents import ingest
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.controls import following, publication
from oddtide.streams.envelope import seal
from oddtide.streams.ledger import PartitionLedger, read_ledgers
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.progress import ProgressBoard
from oddtide.streams.snapshotting import SnapshotPolicy
from oddtide.streams.topics import TopicCatalogue
from tests.property.recovery_world import TOOLKIT

PLAN = StreamPlan("s", "t")


class Writer:
    """A partition's producer; the ids in ``unreachable`` answer late, and with an error."""

    made: ClassVar[list[Writer]] = []
    unreachable: ClassVar[set[str]] = set()

    def __init__(self, broker: BrokerAccess, id: str) -> None:
        self.id, self.opened, self.closed = id, False, False
        self.made.append(self)

    async def open(self) -> None:
        if self.id in self.unreachable:
            raise KafkaConnectionError(f"{self.id} cannot be fenced")
        await asyncio.sleep(0.01)  # after the other one has failed
        self.opened = True

    async def close(self) -> None:
        self.closed = True


class App:
    """What partitions see of their Faust app."""

    consumer_generation_id = 1
    should_stop = False

    def __init__(self, held: Iterable[int]) -> None:
        self.consumer = self
        self.held = {TP("t", partition) for partition in held}
        self.crashes: list[BaseException] = []

    def assignment(self) -> set[TP]:
        return self.held

    def highwater(self, tp: TP) -> int:
        return 0

    async def crash(self, error: BaseException) -> None:
        self.crashes.append(error)


async def no_ledgers(
    broker: BrokerAccess, topic: str, partitions: Iterable[int], refused: object
) -> dict[int, PartitionLedger]:
    return {partition: PartitionLedger() for partition in partitions}


class FromZero:
    """A log of which nothing was cut."""

    def __init__(self, broker: BrokerAccess) -> None: ...
    async def earliest(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 0)

    async def stop(self) -> None: ...


@pytest.fixture(autouse=True)
def without_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Writer, "made", [])
    monkeypatch.setattr(Writer, "unreachable", set())
    monkeypatch.setattr(ingest, "PartitionWriter", Writer)
    monkeypatch.setattr(ingest, "read_ledgers", no_ledgers)
    monkeypatch.setattr(ingest, "LogEnds", FromZero)
    monkeypatch.setattr(ingest, "_RETRY_S", 0.0)


def partitions_of(app: App) -> ingest._Partitions:
    context = SimpleNamespace(
        broker=BrokerAccess("nowhere:1"), catalogue=TopicCatalogue((("s", "t", 3),)), application="a",
        progress=ProgressBoard(), session_timeout_s=0.1, build="b", source="/a", worker="w", clock=lambda: 0,
        folder=Path("nowhere"),
    )  # fmt: skip
    parts = SimpleNamespace(
        plans=[PLAN], toolkit=None, artifacts=None, settings={}, snapshots=None, snapshot_policy=SnapshotPolicy()
    )
    partitions = ingest._Partitions(cast(Any, app), cast(Any, context), cast(Any, parts))
    partitions._board.controls.pipelines.take(publication(PLAN, 3, by="ann", time="", settings={}))
    partitions._board._following = True
    return partitions


async def test_fencing_that_fails_for_one_partition_leaves_no_producer_open() -> None:
    Writer.unreachable.add("a-t-0")
    partitions = partitions_of(App([0, 1, 2]))
    with pytest.raises(KafkaConnectionError):
        await partitions._take([TP("t", 0), TP("t", 1), TP("t", 2)])
    assert [(writer.opened, writer.closed) for writer in Writer.made] == [(False, True), (True, True), (True, True)]


async def test_a_partition_that_went_elsewhere_meanwhile_is_not_fenced() -> None:
    partitions = partitions_of(App([1]))
    await partitions._take([TP("t", 0)])
    assert Writer.made == []


async def test_a_ledger_of_a_newer_version_ends_the_worker_instead_of_being_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def newer(*_: Any) -> dict[int, PartitionLedger]:
        raise SchemaVersionError("newer.")

    monkeypatch.setattr(ingest, "read_ledgers", newer)
    app = App([0])
    await asyncio.wait_for(partitions_of(app).on_rebalance_complete(), 5)
    assert [str(error) for error in app.crashes] == ["newer."]
    assert [writer.closed for writer in Writer.made] == [True]


@pytest.mark.parametrize(
    ("error", "shown"), [(FoldError("a bug"), True), (ValueError(), True), (OddtideError("no"), False)]
)
async def test_what_may_be_a_bug_ends_the_worker_with_its_traceback_in_the_log(error: Exception, shown: bool) -> None:
    """Nothing else says where it lies: it comes out of a task, not out of Faust's agent."""
    app = App([])
    with capture_logs() as logs:
        await partitions_of(app)._give_up(error)
    assert [(line["reason"], line["exc_info"] is error) for line in logs] == [(str(error) or "ValueError", shown)]
    assert app.crashes == [error]


async def test_control_topics_that_cannot_be_read_yet_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app, tries = App([]), []
    partitions = partitions_of(app)

    async def start() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise KafkaConnectionError("not yet")

    monkeypatch.setattr(partitions._board, "start", start)
    await asyncio.wait_for(partitions.on_rebalance_complete(), 5)
    assert len(tries) == 2


class Log:
    """A client over one partition whose records are ``records``."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records
        self._position = 0

    async def __aenter__(self) -> Log:
        return self

    async def __aexit__(self, *_: object) -> None: ...
    def assign(self, sources: Any) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def seek_to_beginning(self, *sources: Any) -> None: ...
    def seek(self, source: Any, offset: int) -> None:
        self._position = offset

    async def beginning_offsets(self, sources: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(sources, 0)

    async def end_offsets(self, sources: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(sources, len(self._records))

    async def position(self, source: Any) -> int:
        return self._position

    async def getmany(self, *sources: Any, timeout_ms: int) -> dict[Any, list[Record]]:
        start, self._position = self._position, len(self._records)
        return {TP("t.ledger", 0): self._records[start:]} if start < len(self._records) else {}


def completed(start: int) -> tuple[bytes, list[tuple[str, bytes]]]:
    batch = BatchCompleted(
        stream="s", topic="t", partition=0, from_offset=start, to_offset=start + 1, records=1, holes=0, readings=1,
        scored=1,
    )  # fmt: skip
    return seal(batch, id=str(start), source="/a")


async def test_what_others_wrote_into_a_ledger_stalls_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (one, headers), (two, _) = completed(0), completed(1)
    values = [(one, headers), (b"garbage", []), (None, []), (b"{}", headers), (two, headers)]
    records = [Record(i, 0, None, value, list(headers)) for i, (value, headers) in enumerate(values)]
    monkeypatch.setattr(ledger, "_reader", lambda broker: Log(records))
    found = await read_ledgers(BrokerAccess("nowhere:1"), "t.ledger", [0])
    assert (found[0].records, found[0].last and found[0].last.to_offset) == (2, 2)


class Models(Log):
    """A control topic: empty at first; then ``errors`` come, one a poll."""

    errors: ClassVar[list[Exception]] = []

    def __init__(self, **_: Any) -> None:
        super().__init__([])

    async def getmany(self, *sources: Any, timeout_ms: int) -> dict[Any, list[Record]]:
        await asyncio.sleep(0)
        raise self.errors.pop(0)


async def test_the_control_topics_are_followed_through_trouble_and_their_end_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Models, "errors", [KafkaConnectionError("away"), SchemaVersionError("newer.")])
    monkeypatch.setattr(following, "AIOKafkaConsumer", Models)
    monkeypatch.setattr(following, "_RETRY_S", 0.0)
    told: asyncio.Future[OddtideError] = asyncio.get_running_loop().create_future()
    follower = following.TopicFollower(BrokerAccess("nowhere:1"), {"models": 1}, lambda logged: None, told.set_result)
    await follower.start()
    assert str(await asyncio.wait_for(told, 5)) == "newer."
    with pytest.raises(SchemaVersionError):
        await follower.catch_up()
    await follower.stop()


async def test_a_batch_of_a_partition_that_is_not_held_is_left_alone() -> None:
    fed = list[int]()

    class Owner:
        dead = False

        async def feed(self, records: list[int], acknowledge: Any) -> None:
            fed.append(len(records))

    owner = Owner()
    made = SimpleNamespace(_held={TP("t", 0): SimpleNamespace(owner=owner)})
    for dead, partition in ((False, 0), (False, 9), (True, 0)):
        owner.dead = dead
        await ingest._Partitions.handle(cast(Any, made), TP("t", partition), cast(Any, [1, 2]), lambda: None)
    assert fed == [2]


async def test_following_that_ends_by_a_bug_is_told_and_lets_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unready(Models):
        async def end_offsets(self, sources: list[Any]) -> dict[Any, int]:
            return dict.fromkeys(sources, 9 if waiting else 0)

    waiting: list[asyncio.Future[None]] = []
    told = list[OddtideError]()
    monkeypatch.setattr(Models, "errors", [KafkaConnectionError("away")] * 10 + [ValueError("a bug")])
    monkeypatch.setattr(following, "AIOKafkaConsumer", Unready)
    monkeypatch.setattr(following, "_RETRY_S", 0.0)
    follower = following.TopicFollower(BrokerAccess("nowhere:1"), {"models": 1}, lambda logged: None, told.append)
    await follower.start()
    waiting.append(asyncio.ensure_future(follower.catch_up()))
    with pytest.raises(ValueError, match="a bug"):
        await asyncio.wait_for(waiting[0], 5)
    assert ["a bug" in str(error) for error in told] == [True]
    await follower.stop()


async def test_what_a_late_take_brought_is_let_go_of_by_the_next_rebalance(monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh(plan: StreamPlan, partition: int) -> PartitionProcessor:
        return PartitionProcessor(plan, TOOLKIT, application="a", partition=partition)

    app, read = App([0, 1]), asyncio.Event()
    partitions = partitions_of(app)
    partitions._takeover.fresh = fresh

    async def slow(*arguments: Any) -> dict[int, PartitionLedger]:
        await read.wait()
        return await no_ledgers(*arguments)

    monkeypatch.setattr(ingest, "read_ledgers", slow)
    first = asyncio.ensure_future(partitions.on_rebalance_complete())
    await asyncio.sleep(0.05)
    app.held, app.consumer_generation_id = {TP("t", 0)}, 2
    second = asyncio.ensure_future(partitions.on_rebalance_complete())
    await asyncio.sleep(0)
    read.set()
    await asyncio.wait_for(asyncio.gather(first, second), 5)
    assert set(partitions._held) == {TP("t", 0)}
    await partitions.on_before_shutdown()
