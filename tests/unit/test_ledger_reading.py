"""Reading a ledger back, without Kafka: only as far as to a snapshot that can be used."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oddtide.domain.observability.ledger import BatchCompleted, SnapshotPointer
from oddtide.streams import ledger
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.envelope import seal
from oddtide.streams.ledger import LogEnds, PartitionLedger, read_ledgers
from tests.unit.test_ingest_partitions import Log

NOWHERE = BrokerAccess("nowhere:1")


class Watched(Log):
    """A log that notes from where it was read."""

    def __init__(self, records: list[Record]) -> None:
        super().__init__(records)
        self.sought: list[int] = []
        self.started = self.stopped = 0

    def seek(self, source: Any, offset: int) -> None:
        self.sought.append(offset)
        super().seek(source, offset)

    async def start(self) -> None:
        await asyncio.sleep(0)
        self.started += 1

    async def stop(self) -> None:
        self.stopped += 1


def record(number: int, snapshot: int | None) -> Record:
    """The ledger record ``10 number .. 10 number + 10``, which names the snapshot at ``snapshot``."""
    start = 10 * number
    pointer = SnapshotPointer(offset=snapshot, reference=f"r{snapshot}", digest="") if snapshot is not None else None
    batch = BatchCompleted(
        stream="s", topic="t", partition=0, from_offset=start, to_offset=start + 10, records=10, holes=0, readings=10,
        scored=10, hash=f"{number:016x}", snapshot=pointer,
    )  # fmt: skip
    value, headers = seal(batch, id=str(number), source="/a")
    return Record(number, 0, None, value, headers)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A thousand ledger records that name a snapshot at 5000, later one at 9900."""
    found = Watched([record(n, 9_900 if n > 990 else 5_000 if n > 500 else None) for n in range(1_000)])
    monkeypatch.setattr(ledger, "_reader", lambda broker: found)
    return found


async def read(*refused: str) -> PartitionLedger:
    return (await read_ledgers(NOWHERE, "t.ledger", [0], {0: refused}))[0]


async def test_it_is_read_back_to_the_newest_snapshot_only(log: Watched) -> None:
    found = await read()
    assert log.sought == [984]
    assert ([pointer.offset for pointer in found.usable()], found.whole) == ([9_900], False)
    assert (found.records_since(9_900), found.hash_at(9_900)) == (100, 989)


async def test_where_that_one_is_bad_it_is_read_farther_back(log: Watched) -> None:
    found = await read("r9900")
    assert log.sought == [984, 744, 0]
    assert [pointer.offset for pointer in found.usable({"r9900"})] == [5_000]
    assert (found.records_since(5_000), found.whole) == (5_000, True)


async def test_without_any_that_is_good_it_is_read_whole(log: Watched) -> None:
    found = await read("r9900", "r5000")
    assert (found.whole, found.first, found.records, found.usable({"r9900", "r5000"})) == (True, 0, 10_000, [])


async def test_no_partitions_take_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_reader", lambda broker: pytest.fail("nothing is to be read"))
    assert await read_ledgers(NOWHERE, "t.ledger", []) == {}


async def test_the_oldest_offsets_are_asked_for_over_one_connection(log: Watched) -> None:
    ends = LogEnds(NOWHERE)
    await ends.stop()
    one, other = await asyncio.gather(ends.earliest("t", [0]), ends.earliest("t", [0]))
    assert one == other == {0: 0}
    await ends.stop()
    assert (log.started, log.stopped) == (1, 1)
