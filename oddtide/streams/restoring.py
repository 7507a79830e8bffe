"""Rebuilding the state of a partition: what is published already is folded again, in silence, and proven equal.

A restoration begins where the state is and ends at the ledger's position. Each control takes effect at its offset. At
the end the running hash must equal the ledger's, or nothing may be published from the state.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from oddtide.domain.errors import StateMismatchError
from oddtide.domain.observability.controls import ControlApplied
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.folding import FoldRunner
from oddtide.streams.ledger import PartitionLedger
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.running_hash import hash_text

__all__ = ["Apply", "Restoration"]

#: Puts a control in force.
Apply = Callable[[ControlApplied], Awaitable[None]]

_log = structlog.get_logger(__name__)


class Restoration:
    """The silent fold of one ownership. ``start`` is the oldest offset that the log still has."""

    def __init__(
        self, processor: PartitionProcessor, runner: FoldRunner, ledger: PartitionLedger, start: int, build: str
    ) -> None:
        self._processor = processor
        self._runner = runner
        self._ledger = ledger
        self._controls = deque(ledger.controls)
        self._records = 0
        self._verifiable = start <= ledger.first and (ledger.last is None or ledger.last.build == build)

    async def fold(self, records: RecordBlock, apply: Apply) -> None:
        """Fold what is published already, each control at its offset, and say nothing."""
        while self._controls and self._controls[0].offset <= records.last:
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
            await self._runner.fold(records)
            await asyncio.sleep(0)
            self._records += len(records)

    def finish(self) -> None:
        """The state has reached the ledger's position: prove it, or say why it cannot be proven.

        Raises ``StateMismatchError`` where it should be the same and is not."""
        last = self._ledger.last
        assert last is not None
        processor, got = self._processor, hash_text(self._processor.hash)
        where = {"stream": last.stream, "topic": last.topic, "partition": last.partition, "position": last.to_offset}
        if got == last.hash:
            _log.info("state rebuilt, hash equal to the ledger's", **where, records=self._records)
        elif self._verifiable and self._complete(last):
            raise StateMismatchError(
                f"{last.topic}/{last.partition}: the state rebuilt up to {last.to_offset} has hash {got}, its "
                f"ledger says {last.hash}.",
                remedy="The log or the code has changed under it; nothing more is published from this state.",
            )
        else:
            _log.warning(
                "state rebuilt, not verifiable: history, configuration or build differ", **where,
                records=self._records, records_in_ledger=self._ledger.records,
                pipeline=processor.plan.version, pipeline_in_ledger=last.pipeline_version,
            )  # fmt: skip
        processor.start_at(last.to_offset, int(last.hash, 16))
        processor.forget_controls()

    def _complete(self, last: BatchCompleted) -> bool:
        """Whether what was folded is all that the ledger accounts for, under the pipeline that it names."""
        return self._records == self._ledger.records and self._processor.plan.version == last.pipeline_version
