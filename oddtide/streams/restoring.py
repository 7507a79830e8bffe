"""Rebuilding the state of a partition: what is published already is folded again, in silence, and proven equal.

A restoration begins where the state is (a snapshot's, or an empty one) and ends at the ledger's position. Each control
takes effect at its offset. At the end the running hash must equal the ledger's, or nothing may be published from the
state.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from oddtide.domain.errors import StateMismatchError
from oddtide.domain.observability.controls import ControlApplied
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.history import Loss
from oddtide.streams.ledger import PartitionLedger
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.running_hash import hash_text

__all__ = ["Apply", "Beginning", "Fold", "Restoration", "SnapshotRefusedError"]

#: Puts a control in force.
Apply = Callable[[ControlApplied], Awaitable[None]]
Fold = Callable[[RecordBlock], Awaitable[Outcome]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an ownership begins from: the state in ``memory``, a ``snapshot`` (``reference``), or an empty state and the
    ``log``; and what of its history is lost."""

    source: Literal["memory", "snapshot", "log"] = "log"
    reference: str = ""
    loss: Loss | None = None


class SnapshotRefusedError(StateMismatchError):
    """The state rebuilt from a snapshot is not the ledger's: it must be rebuilt from an older one."""

    def __init__(self, reference: str, problem: str, *, remedy: str = "") -> None:
        super().__init__(problem, remedy=remedy)
        self.reference = reference


class Restoration:
    """The silent fold of one ownership, from the processor's position to the ledger's."""

    def __init__(
        self, processor: PartitionProcessor, ledger: PartitionLedger, beginning: Beginning, build: str, fold: Fold
    ) -> None:
        self._processor = processor
        self._ledger = ledger
        self._beginning = beginning
        self._fold = fold
        start = processor.position
        # What was in force at a snapshot came with it; an empty state gets all that ever was.
        since = 0 if beginning.source == "log" else start
        self._controls = deque(control for control in ledger.controls if control.offset >= since)
        self._build = build
        self._records = 0
        #: Whether the state is known to be the one that the published verdicts came from, once finished.
        self.proven = True
        # An epoch that was opened in between goes on with the ledger's hash: what came before cannot be proven.
        opening = ledger.opening
        self._reset = opening if opening is not None and start <= opening.to_offset else None
        self._expected = ledger.records_since(max(start, ledger.base))

    @property
    def trailing(self) -> bool:
        """Whether the ledger lets time pass at or after the position that the state is at."""
        return any(control.kind == "time_advanced" for control in self._controls)

    async def fold(self, records: RecordBlock, apply: Apply) -> None:
        """Fold what is published already, each control at its offset, and say nothing."""
        if self._reset is not None and records.last >= self._reset.to_offset:
            before = records.before(self._reset.to_offset)
            await self._fold_with_controls(before, apply)
            records = records[len(before) :]
            self._begin_epoch()
        await self._fold_with_controls(records, apply)

    def _begin_epoch(self) -> None:
        if self._reset is not None:
            self._processor.start_at(
                self._reset.to_offset, int(self._reset.hash or "0", 16), silence=self._reset.silence
            )
            self._records, self._reset = 0, None

    async def _fold_with_controls(self, records: RecordBlock, apply: Apply) -> None:
        while records and self._controls and self._controls[0].offset <= records.last:
            control = self._controls.popleft()
            before = records.before(control.offset)
            await self._fold_silent(before)
            records = records[len(before) :]
            if self._is_newest(control, records.first):
                await apply(control)
        await self._fold_silent(records)

    def _is_newest(self, control: ControlApplied, offset: int) -> bool:
        """Whether no other control takes its place before anything is folded (of a history that was cut off)."""
        later = (c for c in self._controls if c.offset <= offset)
        return control.kind != "model" or not any(c.kind == "model" and c.detector == control.detector for c in later)

    async def _fold_silent(self, records: RecordBlock) -> None:
        if records:
            await self._fold(records)
            await asyncio.sleep(0)
            self._records += len(records)

    def finish(self) -> None:
        """The state has reached the ledger's position: prove it, or say why it cannot be proven.

        Raises ``StateMismatchError`` where it should be the same and is not (``SnapshotRefusedError`` where it was
        rebuilt from a snapshot)."""
        last = self._ledger.last
        if last is None:
            return
        self._begin_epoch()
        self._let_time_pass()
        processor, got = self._processor, hash_text(self._processor.hash)
        where = {
            "stream": last.stream, "topic": last.topic, "partition": last.partition, "position": last.to_offset,
            "begun_from": self._beginning.source, "records": self._records,
        }  # fmt: skip
        if self._beginning.loss is not None:
            loss, self.proven = self._beginning.loss, False
            _log.error(
                "history lost", **where, lost_from=loss.from_offset, lost_to=loss.to_offset, unread=loss.unread,
                reason=loss.reason,
            )  # fmt: skip
        elif (got, processor.silence) == (last.hash, last.silence):
            _log.info("state rebuilt, hash equal to the ledger's", **where)
        elif self._complete(last):
            self._refuse(last, got)
        else:
            self.proven = False
            _log.warning(
                "state rebuilt, not verifiable: history, configuration or build differ", **where,
                records_in_ledger=self._expected, pipeline=processor.plan.version,
                pipeline_in_ledger=last.pipeline_version, build_in_ledger=last.build,
            )  # fmt: skip
        processor.start_at(last.to_offset, int(last.hash or "0", 16), silence=last.silence)
        processor.forget_controls()

    def _let_time_pass(self) -> None:
        """As it has passed behind the last record: no record brings these controls into force."""
        while self._controls:
            control = self._controls.popleft()
            if control.kind == "time_advanced":
                self._processor.apply(control)

    def _complete(self, last: BatchCompleted) -> bool:
        """Whether what was folded is all that the ledger accounts for, by the same code under the same pipeline."""
        same = self._processor.plan.version == last.pipeline_version and last.build == self._build
        return same and self._records == self._expected

    def _refuse(self, last: BatchCompleted, got: str) -> None:
        problem = (
            f"{last.topic}/{last.partition}: the state rebuilt up to {last.to_offset} has hash {got} "
            f"(of absences: {self._processor.silence or 'none'}), its "
            f"ledger says {last.hash} ({last.silence or 'none'})."
        )
        if self._beginning.source == "snapshot":
            raise SnapshotRefusedError(self._beginning.reference, problem, remedy="An older snapshot is tried.")
        raise StateMismatchError(
            problem, remedy="The log or the code has changed under it; nothing more is published from this state."
        )
