"""The laws of an inbox: everything handed over is folded once, in order, never twice at a time, and acknowledged."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.committing import Acknowledge
from oddtide.streams.inbox import Inbox


def block(start: int, count: int, *, size: int | None = 0) -> RecordBlock:
    """Records of ``size`` bytes at least; None makes tombstones."""
    values = [None if size is None else (b"%d" % (start + i)).ljust(size, b"\0") for i in range(count)]
    return RecordBlock.of([Record(start + i, 0, None, value, ()) for i, value in enumerate(values)])


@dataclass
class Folder:
    """Folds and commits; a batch is committed when ``commit`` is called."""

    most: int = 100
    enough: int = 10
    pace: float = 0.0
    folded: list[list[int]] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    waiting: list[Acknowledge] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    failure: BaseException | None = None
    busy: bool = False

    def inbox(self) -> Inbox:
        return Inbox(
            self.fold, rest=self.rest, most=lambda: self.most, failed=self.errors.append, enough=self.enough
        )  # fmt: skip

    def rest(self) -> float | None:
        return None if self.waiting else self.pace

    async def fold(self, records: RecordBlock, acknowledge: Acknowledge) -> None:
        assert not self.busy
        self.busy = True
        await asyncio.sleep(0)
        self.busy = False
        if self.failure is not None:
            raise self.failure
        assert all((record.value or b"").strip(b"\0") in (b"", b"%d" % record.offset) for record in records)
        self.folded.append([int(offset) for offset in records.offsets])
        self.waiting.append(acknowledge)

    def commit(self, inbox: Inbox) -> None:
        done, self.waiting = self.waiting, []
        for acknowledge in done:
            acknowledge()
        inbox.look()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


SIZES = st.lists(st.integers(1, 30), max_size=25)


@given(SIZES, st.integers(1, 40), st.integers(1, 40), st.data())
def test_everything_is_folded_once_in_order_and_acknowledged_when_committed(
    sizes: list[int], most: int, enough: int, data: st.DataObject
) -> None:
    folder = Folder(most=most, enough=enough)

    async def scenario() -> None:
        inbox, offset = folder.inbox(), 0
        for number, size in enumerate(sizes):
            put = asyncio.ensure_future(
                inbox.put(block(offset, size), lambda number=number: folder.acknowledged.append(number))  # type: ignore[misc]  # mypy cannot infer a lambda's default
            )
            offset += size
            if data.draw(st.booleans()):
                await turns()
                folder.commit(inbox)
            await put
        while not inbox.empty:
            await turns()
            folder.commit(inbox)
        await inbox.emptied()
        folder.commit(inbox)
        inbox.close()

    asyncio.run(scenario())
    assert [offset for batch in folder.folded for offset in batch] == list(range(sum(sizes)))
    assert folder.acknowledged == list(range(len(sizes)))
    assert all(len(batch) <= most for batch in folder.folded)
    assert folder.errors == []


async def test_what_arrives_while_a_batch_is_committed_is_folded_as_one() -> None:
    folder = Folder()
    inbox = folder.inbox()
    for number in range(4):
        await inbox.put(block(2 * number, 2), lambda: None)
        await turns()
    assert folder.folded == [[0, 1]]
    folder.commit(inbox)
    await inbox.emptied()
    assert folder.folded == [[0, 1], [2, 3, 4, 5, 6, 7]]
    inbox.close()


async def test_enough_does_not_wait_for_the_commit() -> None:
    folder = Folder()
    inbox = folder.inbox()
    await inbox.put(block(0, 2), lambda: None)
    await turns()
    await inbox.put(block(2, 4), lambda: None)
    await inbox.put(block(6, 10), lambda: None)
    assert [len(batch) for batch in folder.folded] == [2, 4, 10]  # not joined: together they would be too much
    inbox.close()


async def test_records_that_hold_many_readings_count_as_many() -> None:
    folder = Folder(enough=100)
    inbox = folder.inbox()
    for start in range(3):
        await inbox.put(RecordBlock.of([Record(start, 0, None, bytes(2_000), ())]), lambda: None)
        await turns()
    while not inbox.empty:
        folder.commit(inbox)
        await turns()
    assert folder.folded == [[0], [1], [2]]  # 83 readings each, as far as can be told
    inbox.close()


@pytest.mark.parametrize("other", [60, None])
async def test_how_much_waits_stays_true_however_uneven_the_records_are(other: int | None) -> None:
    """What is joined weighs something else than its parts do. Were that taken off again instead of their sum, an inbox
    would hold ever more, or join nothing any more."""
    folder = Folder(enough=100)
    inbox, offset = folder.inbox(), 0

    async def scenario() -> None:
        nonlocal offset
        for _ in range(50):
            for count, size in ((1, 600), (20, other)):
                await inbox.put(block(offset, count, size=size), lambda: None)
                offset += count
            await turns()
            folder.commit(inbox)

    await asyncio.wait_for(scenario(), 10)
    await turns()
    assert inbox.empty
    assert {len(batch) for batch in folder.folded} == {21}
    waiting = asyncio.ensure_future(inbox.put(block(offset, 100, size=50), lambda: None))
    await asyncio.sleep(0)
    assert not waiting.done()  # it is full
    await asyncio.wait_for(waiting, 10)  # and then it is not
    inbox.close()


async def test_small_batches_keep_the_pace() -> None:
    folder = Folder(pace=3600.0)
    inbox = folder.inbox()
    await inbox.put(block(0, 2), lambda: None)
    await turns()
    assert folder.folded == []
    folder.pace = 0.0
    inbox.look()
    await inbox.emptied()
    folder.commit(inbox)
    folder.pace = 0.001
    await inbox.put(block(2, 2), lambda: None)
    folder.pace = 0.0
    await asyncio.wait_for(inbox.emptied(), 10)  # it looks again by itself
    assert folder.folded == [[0, 1], [2, 3]]
    inbox.close()


async def test_what_was_fetched_after_a_seek_is_not_joined() -> None:
    folder = Folder()
    inbox = folder.inbox()
    await inbox.put(block(0, 1), lambda: None)
    await turns()
    for start in (5, 7, 1, 3):
        await inbox.put(block(start, 2), lambda: None)
    while not inbox.empty:
        folder.commit(inbox)
        await turns()
    assert folder.folded == [[0], [5, 6, 7, 8], [1, 2, 3, 4]]
    inbox.close()


async def test_putting_waits_while_there_is_enough_and_closing_lets_nobody_wait() -> None:
    folder = Folder()
    inbox = folder.inbox()
    gate = asyncio.Event()

    async def slow(records: RecordBlock, acknowledge: Acknowledge) -> None:
        await gate.wait()

    inbox._fold = slow
    waiting = asyncio.ensure_future(inbox.put(block(0, 10), lambda: None))
    await turns()
    assert not waiting.done()
    inbox.close()
    await waiting
    await inbox.emptied()
    await inbox.put(block(10, 10), lambda: None)
    gate.set()
    await turns()
    assert folder.folded == []
    assert inbox._task.done()


async def test_an_empty_block_is_acknowledged_at_once() -> None:
    folder = Folder()
    inbox = folder.inbox()
    await inbox.put(block(0, 0), lambda: folder.acknowledged.append(0))
    assert (folder.acknowledged, inbox.empty) == ([0], True)
    inbox.close()


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
async def test_the_first_error_ends_it(error: BaseException) -> None:
    folder = Folder(failure=error)
    inbox = folder.inbox()
    await inbox.put(block(0, 3), lambda: None)
    await turns()
    assert folder.errors == [error]
    await inbox.put(block(3, 30), lambda: None)
    await inbox.emptied()
    assert (folder.folded, folder.errors) == ([], [error])
