"""History in the fold: learnt like any reading, never a detection, and never learnt twice.

A source's records lie in each partition in the order of their numbers. So what a partition has of it is told by one
number, the largest: a record at or below it was loaded before (somebody loaded the file again, or went on after an
interruption), and is skipped and counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.events import HISTORY
from oddtide.domain.quality.events import ContractViolated
from oddtide.domain.quality.reasons import Reason
from oddtide.domain.readings import Readings
from oddtide.domain.slots import SlotState
from oddtide.streams.codecs.decoded import Decoded, HistoryMarks
from oddtide.streams.pipeline.planned_work import Suppressed

__all__ = ["Warming", "loud", "with_history"]

BoolArray = NDArray[np.bool_]


class Warming:
    """What a partition has of each source of history: 16 bytes a source."""

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}

    def sift(self, decoded: Decoded) -> tuple[Readings, BoolArray | None, list[tuple[int, str]]]:
        """The readings without those loaded before; (n,) which of them are history, None where none is; a reason for
        each that was left out."""
        readings, marks = decoded.readings, decoded.history
        if marks is None:
            return readings, None, []
        rows, before = self._remember(marks, readings)
        count = int(before.sum())
        if not count:
            return readings, rows, []
        return readings.take(~before), rows[~before], [(0, Reason.LOADED_BEFORE.value)] * count

    def _remember(self, marks: HistoryMarks, readings: Readings) -> tuple[BoolArray, BoolArray]:
        """Which of the readings are history, and which of those were known."""
        before = np.zeros(len(marks.offsets), dtype=np.bool_)
        for place, (source, number) in enumerate(zip(marks.sources, marks.numbers, strict=True)):
            if number <= self._newest.get(source, -1):
                before[place] = True
            else:
                self._newest[source] = number
        places = np.searchsorted(marks.offsets, readings.offsets)
        places[places == len(marks.offsets)] = 0
        rows = marks.offsets[places] == readings.offsets
        return rows, rows & before[places]

    def save(self) -> SlotState:
        """A copy of what there is."""
        sources = sorted(self._newest)
        numbers = [self._newest[source] for source in sources]
        return {"sources": np.array(sources, dtype=np.uint64), "numbers": np.array(numbers, dtype=np.int64)}

    def load(self, state: SlotState) -> None:
        """Take it up; a state that has nothing of the kind knows no history."""
        sources, numbers = (np.asarray(state.get(name, ())).tolist() for name in ("sources", "numbers"))
        self._newest = dict(zip(sources, numbers, strict=True))


def with_history(past: BoolArray | None, work: Suppressed | None) -> Suppressed | None:
    """What keeps readings from being detections: planned ``work``, or being history (``past``, (n,))."""
    if past is None or not past.any():
        return work
    ids = work.ids if work is not None else ()
    which = work.which.copy() if work is not None else np.full(len(past), -1, dtype=np.int64)
    which[past & (which < 0)] = len(ids)
    return Suppressed(which, (*ids, HISTORY))


def loud(violations: Sequence[ContractViolated], marks: HistoryMarks | None) -> list[ContractViolated]:
    """The violations that somebody is to hear of: none of history's, which is refused all the same."""
    if marks is None or not violations:
        return list(violations)
    quiet = set(marks.offsets.tolist())
    return [violation for violation in violations if violation.offset not in quiet]
