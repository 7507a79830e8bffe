"""Where a partition's state can begin, and what of its history is gone.

Retention cuts the log from its beginning. What it cut is no loss as long as a snapshot, or the state in memory, stands
at or after the cut. Otherwise the partition goes on all the same, and says in the ledger what it goes on without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from oddtide.domain.observability.events import HistoryLost
from oddtide.domain.observability.ledger import EpochOpened
from oddtide.streams.envelope import derive_id
from oddtide.streams.ledger import PartitionLedger
from oddtide.streams.pipeline.outcome import Outcome, Published
from oddtide.streams.pipeline.processor import PartitionProcessor

__all__ = ["Loss", "begin_at", "opening"]


@dataclass(frozen=True, slots=True)
class Loss:
    """The records ``from_offset .. to_offset-1`` are gone, ``unread`` of those offsets before anybody processed them.

    ``state_from`` is where the fold of an empty state begins; -1 where the state does not begin empty."""

    from_offset: int
    to_offset: int
    unread: int
    state_from: int
    reason: str


def begin_at(ledger: PartitionLedger, earliest: int, state_at: int | None = None) -> tuple[int, Loss | None]:
    """The offset at which folding begins, and what is lost.

    ``earliest`` is the oldest offset that the log still has, ``state_at`` where a proven state stands (a snapshot's or
    memory's), None where there is none. The ledger must have been read whole then.
    """
    if ledger.last is None:
        return earliest, None
    committed = ledger.last.to_offset
    unread = max(earliest - committed, 0)
    if state_at is not None:
        if earliest <= state_at:
            return state_at, None
        if state_at == committed:
            return state_at, Loss(committed, earliest, unread, -1, "The state is whole; what was to come is gone.")
        return state_at, Loss(state_at, earliest, unread, -1, "It goes on from a snapshot older than what is gone.")
    base, kept = _base(ledger)
    if kept and earliest <= base:
        return base, None
    reason = "It goes on from an empty state; no snapshot can be used."
    return earliest, Loss(min(base, earliest), earliest, unread, earliest, reason)


def _base(ledger: PartitionLedger) -> tuple[int, bool]:
    """Where the fold of an empty state begins, and whether there is such a place at all."""
    if ledger.opened is None:
        return ledger.first, True
    if ledger.opened.state_from < 0:
        return ledger.opened.from_offset, False
    return ledger.opened.state_from, True


def opening(processor: PartitionProcessor, loss: Loss, epoch: int) -> Outcome:
    """What says so: a ledger record that opens ``epoch``, and the event that people hear. ``processor`` stands at the
    ledger's position and moves on to the oldest record that there is."""
    outcome = processor.mark(max(processor.position, loss.to_offset) if loss.unread else None)
    opened = EpochOpened(
        from_offset=loss.from_offset, to_offset=loss.to_offset, state_from=loss.state_from, reason=loss.reason
    )
    completed = msgspec.structs.replace(outcome.completed, holes=0, lost=loss.unread, epoch=epoch, opened=opened)
    event = HistoryLost(
        stream=completed.stream, topic=completed.topic, partition=completed.partition, epoch=epoch,
        from_offset=loss.from_offset, to_offset=loss.to_offset, unread=loss.unread, reason=loss.reason,
        time=completed.time,
    )  # fmt: skip
    ident = derive_id("history", completed.stream, completed.topic, completed.partition, epoch, completed.from_offset)
    events = [*outcome.events, Published("health", f"{completed.topic}/{completed.partition}", ident, event)]
    return replace(outcome, completed=completed, events=events)
