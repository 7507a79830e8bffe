"""Taking a partition over: which state its new owner begins with.

The best is the state in memory, where it is exactly what the ledger speaks of; then the newest snapshot that the ledger
names and that proves to be good; then the one before; at last an empty state and the log from its start. What is wrong
with a snapshot is said aloud.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from oddtide.domain.errors import (
    DecodeError,
    NotFoundError,
    SchemaVersionError,
    StateMismatchError,
    StorageUnavailableError,
    UntrustedArtifactError,
)
from oddtide.domain.observability.ledger import SnapshotPointer
from oddtide.streams.controls import ControlSource
from oddtide.streams.history import Loss, begin_at
from oddtide.streams.ledger import PartitionLedger
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.running_hash import hash_text
from oddtide.streams.pipeline.snapshot import restore
from oddtide.streams.restoring import Beginning
from oddtide.streams.snapshotting import Snapshots, Snapshotter

__all__ = ["Found", "Takeover"]

#: States read back at the same time, at most: what bounds memory when many partitions come at once.
_AT_ONCE = 4
_TRIES = 3
_RETRY_S = 1.0
#: What is wrong with a snapshot for good.
_BAD = (NotFoundError, UntrustedArtifactError, DecodeError, SchemaVersionError, StateMismatchError)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What an ownership begins with. ``ledger`` reaches back as far as that needs."""

    processor: PartitionProcessor
    ledger: PartitionLedger
    beginning: Beginning
    snapshots: Snapshotter


@dataclass(slots=True)
class Takeover:
    """Finds states for one worker. ``first_plan`` is what a stream's state begins with, ``fresh`` makes an empty
    processor for a plan and a partition."""

    around: Snapshots
    source: ControlSource
    first_plan: Callable[[str], StreamPlan]
    fresh: Callable[[StreamPlan, int], PartitionProcessor]
    refused: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    _away: dict[tuple[str, int], dict[str, StorageUnavailableError]] = field(default_factory=dict)
    _lanes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    def refuse(self, topic: str, partition: int, reference: str, reason: str) -> None:
        """Never begin with this snapshot again."""
        self.refused.setdefault((topic, partition), set()).add(reference)
        _log.error("snapshot cannot be used", topic=topic, partition=partition, snapshot=reference, reason=reason)
        self.around.went(self.around.name(topic, partition), f"snapshot {reference} cannot be used: {reason}")

    def let_go(self, topic: str, partition: int) -> None:
        """The partition is somebody else's: so is the trouble with its snapshots."""
        self.around.went(self.around.name(topic, partition), "")

    def refusals(self, topic: str, partition: int) -> set[str]:
        """The references refused so far."""
        return self.refused.get((topic, partition), set())

    async def find(
        self,
        plan: StreamPlan,
        partition: int,
        ledger: PartitionLedger,
        earliest: int,
        kept: PartitionProcessor | None,
    ) -> Found | None:
        """The state to begin with; None where ``ledger`` was not read far enough back for that, and must be again.

        Raises ``StorageUnavailableError`` where history would be lost only because the store does not answer."""
        if kept is not None and _agrees(kept, ledger):
            return self._found(kept, ledger, Beginning("memory", loss=begin_at(ledger, earliest, kept.position)[1]))
        for pointer in ledger.usable(self.refusals(plan.topic, partition)):
            loss = begin_at(ledger, earliest, pointer.offset)[1]
            self._check_loss(plan.topic, partition, loss)
            processor = await self._from_snapshot(plan, partition, ledger, pointer)
            if processor is not None:
                return self._found(processor, ledger, Beginning("snapshot", pointer.reference, loss))
        if not ledger.whole:
            return None
        start, loss = begin_at(ledger, earliest)
        self._check_loss(plan.topic, partition, loss)
        processor = self.fresh(self.first_plan(plan.name), partition)
        processor.start_at(start)
        return self._found(processor, ledger, Beginning("log", loss=loss))

    def _check_loss(self, topic: str, partition: int, loss: Loss | None) -> None:
        """Lose no history for good because the store did not answer for a moment: raises what it said, and its
        snapshots are tried again."""
        away = self._away.pop((topic, partition), {}) if loss is not None else {}
        if away:
            self.refusals(topic, partition).difference_update(away)
            raise next(iter(away.values()))

    def _found(self, processor: PartitionProcessor, ledger: PartitionLedger, beginning: Beginning) -> Found:
        topic, partition = processor.plan.topic, processor.partition
        refused = self.refusals(topic, partition)
        good = deque(pointer for pointer in ledger.pointers if pointer.reference not in refused)
        snapshots = Snapshotter(processor, self.around, topic, partition, good, fresh=ledger.last is None)
        return Found(processor, ledger, beginning, snapshots)

    async def _from_snapshot(
        self, plan: StreamPlan, partition: int, ledger: PartitionLedger, pointer: SnapshotPointer
    ) -> PartitionProcessor | None:
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._lanes:
                    return await asyncio.to_thread(self.load, plan, partition, ledger, pointer)
            except _BAD as error:
                self.refuse(plan.topic, partition, pointer.reference, str(error))
                return None
            except StorageUnavailableError as error:
                _log.warning("snapshots cannot be read", topic=plan.topic, partition=partition, reason=str(error))
                if attempt == _TRIES:
                    self._away.setdefault((plan.topic, partition), {})[pointer.reference] = error
                    self.refuse(plan.topic, partition, pointer.reference, str(error))
                    return None
                await asyncio.sleep(_RETRY_S)
        return None

    def load(
        self, plan: StreamPlan, partition: int, ledger: PartitionLedger, pointer: SnapshotPointer
    ) -> PartitionProcessor:
        """A processor with the state of a snapshot. Runs in a thread.

        Raises what :meth:`Snapshots.load` does, and ``StateMismatchError`` for a state that is not the ledger's."""
        snapshot = self.around.load(pointer)
        about, wanted = snapshot.about, hash_text(ledger.hash_at(pointer.offset) or 0)
        if (about.position, about.hash) != (pointer.offset, wanted):
            raise StateMismatchError(
                f"The snapshot is of {about.position} with hash {about.hash}, the ledger says {pointer.offset} with "
                f"{wanted}.",
                remedy="An older snapshot is tried, or the log is folded from its start.",
            )
        pipeline = about.in_force.pipeline
        then = self.source.plan(plan.name, pipeline) if pipeline else self.first_plan(plan.name)
        processor = self.fresh(then, partition)
        try:
            self.source.resume(processor, about.in_force)
            with self.around.scratch.folder() as folder:
                self.around.load_parts(about.parts, folder)
                restore(snapshot, processor, folder)
        except BaseException:
            processor.close()
            raise
        self.around.stored[processor] = {(part.name, part.size): part for part in about.parts}
        return processor


def _agrees(processor: PartitionProcessor, ledger: PartitionLedger) -> bool:
    """Whether a state is exactly what the ledger speaks of."""
    last = ledger.last
    if last is None or processor.position != last.to_offset:
        return False
    return (hash_text(processor.hash), processor.silence) == (last.hash, last.silence)
