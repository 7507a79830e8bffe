"""Where a replay can begin: at a place where a partition's state is known.

- *the log's start*, where the ledger begins no earlier: an empty state;
- *a snapshot* that the ledger names, at or before where judging begins: its state, if its signature, position and hash
  are what the ledger says;
- *an epoch*: where the ledger says that history was lost and the state began anew; it is folded in silence up to there.

The log's start is preferred where everything is to be judged, the newest snapshot where only later readings are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from oddtide.domain.errors import OddtideError, StateMismatchError
from oddtide.domain.observability.ledger import SnapshotPointer
from oddtide.streams.controls import ControlSource
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.running_hash import hash_text
from oddtide.streams.pipeline.snapshot import decode_snapshot, restore
from oddtide.streams.replay.history import History
from oddtide.streams.replay.reading import LedgerEntry

__all__ = ["Start", "Survey"]

#: Snapshots remembered on the way through the ledger. The store keeps fewer.
_REMEMBERED = 32

_Pointers: TypeAlias = deque[SnapshotPointer]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """Where folding begins, with which state. Comparing begins at ``loud_from``; ``controls_from`` is the first offset
    whose controls the state does not have yet. ``known`` is False where the state is not the one that was."""

    processor: PartitionProcessor
    offset: int
    loud_from: int
    told: str
    controls_from: int = 0
    known: bool = True


@dataclass(slots=True)
class Survey:
    """One look through a ledger: where it begins, what it names. ``oldest`` is the log's first offset."""

    history: History
    source: ControlSource
    oldest: int
    begins: int | None = None
    first_pipeline: str = ""
    epoch: tuple[int, int] | None = None
    pointers: _Pointers = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    hashes: dict[int, str] = field(default_factory=dict)

    def take(self, entry: LedgerEntry) -> bool:
        """The next entry; returns whether more are needed."""
        batch, limit = entry.batch, self.history.start
        if self.begins is None:
            self.begins = batch.from_offset
            controls = (control.pipeline for control in batch.controls if control.kind == "pipeline")
            self.first_pipeline = next(controls, "")
        whole = self.begins >= self.oldest
        if (limit is None and whole) or (limit is not None and batch.from_offset > limit):
            return False
        opened, pointer = batch.opened, batch.snapshot
        if opened is not None and opened.state_from >= self.oldest:
            self.epoch = (opened.state_from, batch.to_offset)
        if pointer is not None and pointer not in self.pointers:
            self.pointers.append(pointer)
        self.hashes[batch.to_offset] = batch.hash
        if len(self.hashes) > 100_000:  # old ones belong to snapshots that are long deleted
            self.hashes = dict(list(self.hashes.items())[50_000:])
        return True

    @property
    def cut(self) -> bool:
        """Whether the log no longer has what the ledger begins with."""
        return self.begins is not None and self.begins < self.oldest

    def start(self) -> Start:
        """The best place."""
        found = self._from_snapshot() if self.cut or self.history.start is not None else None
        if found is not None:
            return found
        if self.epoch is not None:
            offset, loud_from = self.epoch
            return Start(self._empty(offset), offset, loud_from, f"the epoch that began at {loud_from}")
        return Start(self._empty(self.oldest), self.oldest, self.oldest, "the log's start", known=not self.cut)

    def _empty(self, offset: int) -> PartitionProcessor:
        """An empty state under the pipeline that the ledger begins with; else the settings' own is tried."""
        name, first = self.history.plan.name, self.first_pipeline
        processor = self.history.processor(self.source.plan(name, first) if first else None)
        processor.start_at(offset)
        return processor

    def _from_snapshot(self) -> Start | None:
        """Where everything is wanted the oldest snapshot, else the newest."""
        usable = [each for each in self.pointers if each.offset >= self.oldest]
        for pointer in usable if self.history.start is None else reversed(usable):
            if self.history.start is None or pointer.offset <= self.history.start:
                try:
                    processor = self._load(pointer)
                except OddtideError as error:
                    _log.debug("snapshot not used", reference=pointer.reference, reason=str(error))
                else:
                    at = pointer.offset
                    return Start(processor, at, at, f"the snapshot at {at}", controls_from=at)
        return None

    def _load(self, pointer: SnapshotPointer) -> PartitionProcessor:
        """Raises an ``OddtideError`` for one that is gone, damaged, or of something else."""
        if self.history.snapshots is None:
            raise StateMismatchError("There is no store of snapshots.")
        snapshot = decode_snapshot(self.history.snapshots.get(pointer.reference, pointer.digest))
        about = snapshot.about
        if about.position != pointer.offset or about.hash != self.hashes.get(pointer.offset) or about.parts:
            raise StateMismatchError(f"The snapshot {pointer.reference} is not what the ledger says, or has sleepers.")
        pipeline = about.in_force.pipeline
        processor = self.history.processor(self.source.plan(about.stream, pipeline) if pipeline else None)
        self.source.resume(processor, about.in_force)
        restore(snapshot, processor)
        if hash_text(processor.hash) != about.hash:
            raise StateMismatchError(f"The snapshot {pointer.reference} has another hash than it says.")
        return processor
