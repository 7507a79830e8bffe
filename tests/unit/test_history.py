"""Where a state begins when the log has been cut, and what is said to be lost."""

from __future__ import annotations

import msgspec
import pytest

from oddtide.domain.observability.ledger import BatchCompleted, EpochOpened
from oddtide.streams.history import Loss, begin_at
from oddtide.streams.ledger import PartitionLedger


def batch(start: int, stop: int, opened: EpochOpened | None = None) -> BatchCompleted:
    count = stop - start
    return BatchCompleted(
        stream="s", topic="t", partition=0, from_offset=start, to_offset=stop, records=count, holes=0, readings=count,
        scored=count, hash="00000000000000aa", opened=opened, epoch=int(opened is not None),
    )  # fmt: skip


def ledger(*batches: BatchCompleted) -> PartitionLedger:
    found = PartitionLedger()
    for each in batches:
        found.take(each)
    return found


def opened(start: int, stop: int, state_from: int) -> EpochOpened:
    return EpochOpened(from_offset=start, to_offset=stop, state_from=state_from, reason="")


PLAIN = ledger(batch(5, 10), batch(10, 20))
#: A second epoch that began empty at 12, and one whose state was whole.
EMPTY = ledger(batch(5, 10), batch(10, 10, opened(5, 8, 8)), batch(10, 20))
WHOLE = ledger(batch(5, 10), batch(10, 15, opened(10, 15, -1)), batch(15, 20))


def whats(loss: Loss | None) -> tuple[int, int, int, int] | None:
    return (loss.from_offset, loss.to_offset, loss.unread, loss.state_from) if loss else None


@pytest.mark.parametrize(
    ("subject", "earliest", "state_at", "start", "loss"),
    [
        (PartitionLedger(), 7, None, 7, None),  # nobody was here before: what was cut earlier is nobody's loss
        (PLAIN, 0, None, 5, None),
        (PLAIN, 5, None, 5, None),
        (PLAIN, 6, None, 6, (5, 6, 0, 6)),
        (PLAIN, 20, None, 20, (5, 20, 0, 20)),
        (PLAIN, 23, None, 23, (5, 23, 3, 23)),
        (PLAIN, 0, 10, 10, None),
        (PLAIN, 10, 10, 10, None),
        (PLAIN, 12, 10, 10, (10, 12, 0, -1)),
        (PLAIN, 23, 10, 10, (10, 23, 3, -1)),
        (PLAIN, 20, 20, 20, None),
        (PLAIN, 23, 20, 20, (20, 23, 3, -1)),
        (EMPTY, 8, None, 8, None),
        (EMPTY, 9, None, 9, (8, 9, 0, 9)),
        (EMPTY, 8, 10, 10, None),
        (WHOLE, 15, None, 15, (10, 15, 0, 15)),
        (WHOLE, 22, None, 22, (10, 22, 2, 22)),
        (WHOLE, 15, 20, 20, None),
    ],
)
def test_where_folding_begins_and_what_is_lost(
    subject: PartitionLedger, earliest: int, state_at: int | None, start: int, loss: tuple[int, int, int, int] | None
) -> None:
    found, lost = begin_at(subject, earliest, state_at)
    assert (found, whats(lost)) == (start, loss)
    assert lost is None or lost.reason


def test_a_ledger_knows_its_hashes_and_counts_at_the_ends_of_records() -> None:
    assert (PLAIN.hash_at(10), PLAIN.hash_at(20), PLAIN.hash_at(15), PLAIN.hash_at(5)) == (0xAA, 0xAA, None, None)
    assert (PLAIN.records_since(10), PLAIN.records_since(20), PLAIN.records_since(5)) == (10, 0, 15)


def test_snapshots_of_an_earlier_epoch_or_farther_back_than_was_read_are_not_usable() -> None:
    from oddtide.domain.observability.ledger import SnapshotPointer

    def naming(offset: int, base: BatchCompleted) -> BatchCompleted:
        pointer = SnapshotPointer(offset=offset, reference=f"r{offset}", digest="")
        return msgspec.structs.replace(base, snapshot=pointer)

    found = ledger(
        naming(3, batch(5, 10)), naming(3, batch(10, 12)), naming(10, batch(12, 14)), naming(14, batch(14, 20))
    )
    assert [pointer.offset for pointer in found.pointers] == [3, 10, 14]
    assert [pointer.offset for pointer in found.usable()] == [14, 10]
    assert [pointer.offset for pointer in found.usable({"r14"})] == [10]
    cut = ledger(naming(10, batch(5, 10)), naming(10, batch(10, 12, opened(10, 12, -1))), naming(12, batch(12, 20)))
    assert [pointer.offset for pointer in cut.usable()] == [12]
