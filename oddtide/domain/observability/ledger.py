"""The ledger: per partition and batch, what became of every reading (promise 1).

A ledger adds up when each record begins where the last one ended, ``to - from == records + holes + lost`` and
``scored + rejected + skipped == readings``. Promise: it is written in the same transaction as the results.

A record may cover nothing (``from == to``): it then only says what changed, a newer snapshot or a new epoch. An *epoch*
is a stretch of the ledger that can be computed from what came before it. Where retention has cut away what a state was
made of, that is no longer so: the record that says it opens the next epoch.
"""

from __future__ import annotations

import msgspec

from oddtide.domain.events import Event
from oddtide.domain.observability.controls import ControlApplied

__all__ = ["BatchCompleted", "EpochOpened", "SnapshotPointer", "check_batch", "check_succession"]


class SnapshotPointer(msgspec.Struct, frozen=True, kw_only=True):
    """Where a snapshot of the partition's state at ``offset`` lies: ``reference`` in the snapshot store, ``digest`` of
    its content, ``size`` in bytes. Promise: it was durable before the record that names it was written, and ``offset``
    is at or before that record's ``to``."""

    offset: int
    reference: str
    digest: str
    size: int = 0


class EpochOpened(msgspec.Struct, frozen=True, kw_only=True):
    """Why a new epoch begins: the records ``from .. to-1`` were needed and the log no longer has them.

    ``state_from`` is the offset from which the state of the new epoch was folded (in silence, up to the ledger's
    position); -1 where the state was whole and only records that nobody had processed are gone. ``hash`` runs on.
    """

    from_offset: int = msgspec.field(name="from")
    to_offset: int = msgspec.field(name="to")
    state_from: int
    reason: str


class BatchCompleted(Event, frozen=True, kw_only=True):
    """The outcome of the records ``from .. to-1`` of one partition. ``to`` is where the partition resumes.

    ``records`` were there, ``holes`` were not (compacted away, transaction markers), ``lost`` had been cut away by
    retention before anybody processed them. ``readings`` came out of the records,
    an undecodable record counting as one. ``rejected`` and ``skipped`` count readings by reason; ``suppressed`` were
    scored under planned work, ``history`` were learnt as such. ``hash`` runs over the canonical rows of every verdict
    of the partition so far, as 16 hex digits. ``time`` is the last record's; ``build`` names the code, libraries and
    processor that computed them: on another, hashes need not agree. ``snapshot`` is the newest snapshot of the state.
    ``epoch`` counts from 0; ``opened`` is there in the record that begins a later one. ``absences`` series were found
    absent; ``silence`` is a running hash over every absence and return of the partition so far, empty where the
    stream does not look for them."""

    stream: str
    topic: str
    partition: int
    from_offset: int = msgspec.field(name="from")
    to_offset: int = msgspec.field(name="to")
    records: int
    holes: int
    readings: int
    scored: int
    rejected: dict[str, int] = {}
    skipped: dict[str, int] = {}
    detections: int = 0
    suppressed: int = 0
    history: int = 0
    absences: int = 0
    hash: str = ""
    silence: str = ""
    controls: list[ControlApplied] = []
    pipeline_version: str = ""
    build: str = ""
    worker: str = ""
    time: str = ""
    snapshot: SnapshotPointer | None = None
    lost: int = 0
    epoch: int = 0
    opened: EpochOpened | None = None


def check_batch(batch: BatchCompleted) -> list[str]:
    """What does not add up inside one ledger record; empty when all does."""
    problems = []
    span = batch.to_offset - batch.from_offset
    covered = batch.records + batch.holes + batch.lost
    if span != covered:
        problems.append(f"to - from is {span}, records + holes + lost is {covered}")
    outcomes = batch.scored + sum(batch.rejected.values()) + sum(batch.skipped.values())
    if outcomes != batch.readings:
        problems.append(f"{batch.readings} readings, but {outcomes} outcomes")
    return problems


def check_succession(previous: BatchCompleted | None, batch: BatchCompleted) -> list[str]:
    """What is wrong between a ledger record and the one before it: a gap or a repeat of offsets."""
    if previous is None or previous.to_offset == batch.from_offset:
        return []
    kind = "gap" if batch.from_offset > previous.to_offset else "repeat"
    return [f"{kind}: the record before ends at {previous.to_offset}, this one begins at {batch.from_offset}"]
