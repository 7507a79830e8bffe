"""Folding a partition's history as its owners did: every control at the offset that the ledger names."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from oddtide.domain.observability.controls import ControlApplied
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.controls import ControlSource
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.processor import PartitionProcessor

__all__ = ["Folded", "HistoryFold"]


class Folded(NamedTuple):
    """Some records and what came of them; ``before`` is the running hash before them."""

    records: RecordBlock
    before: int
    outcome: Outcome


class HistoryFold:
    """One processor on its way through a partition's history; ``seconds`` is the processor time that folding took.

    Not guaranteed: a control whose content is gone (an artifact, a published version) raises; folding on without it
    would compute another history.
    """

    def __init__(self, processor: PartitionProcessor, source: ControlSource) -> None:
        self.processor = processor
        self.seconds = 0.0
        self._source = source
        self._due: deque[ControlApplied] = deque()

    def expect(self, controls: Iterable[ControlApplied]) -> None:
        """Controls that took effect, in order of offset, before records that reach them are folded."""
        self._due.extend(controls)

    def fold(self, records: RecordBlock) -> Iterator[Folded]:
        """Fold ``records``, in parts where a control takes effect between them."""
        while records:
            self._apply_due(records.first)
            part = records.before(self._due[0].offset) if self._due else records
            before, began = self.processor.hash, time.thread_time()
            outcome = self.processor.fold(part)
            self.seconds += time.thread_time() - began
            yield Folded(part, before, outcome)
            records = records[len(part) :]

    def finish(self) -> None:
        """Put in force what takes effect behind the last record: time that passed where nothing arrived."""
        self._apply_due(self.processor.position)

    def _apply_due(self, offset: int) -> None:
        """Put in force what is due; of a detector's models the newest alone: the others saw no record, and their
        artifacts may be gone."""
        due: list[ControlApplied] = []
        while self._due and self._due[0].offset <= offset:
            due.append(self._due.popleft())
        newest = {control.detector: control for control in due if control.kind == "model"}
        for control in due:
            if control.kind != "model" or newest[control.detector] is control:
                self._source.apply(self.processor, control)
