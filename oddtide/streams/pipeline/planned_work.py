"""Planned work in the fold: which readings fall into a window, and scoring them without learning from them.

Somebody who works on a machine makes it behave as it never does. Those readings must wake nobody, and they must not
teach a detector that this is what the machine does. They are scored all the same: the verdict says how strange they
were, and under which planned work (``suppressed_by``).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.events import HISTORY
from oddtide.domain.detection.ports import Detector, Rows, Scores
from oddtide.domain.observability.controls import PlannedWindow
from oddtide.domain.readings import IntArray, Readings, parse_rfc3339

__all__ = ["PlannedWork", "Suppressed", "advance", "scattered"]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Suppressed:
    """``which`` (n,) is the position in ``ids`` of the planned work that a row falls under, or of :data:`HISTORY`; -1
    for none."""

    which: IntArray
    ids: tuple[str, ...]

    @property
    def rows(self) -> BoolArray:
        """(n,) mask of the rows that are no detections."""
        return self.which >= 0

    @property
    def history(self) -> BoolArray:
        """(n,) mask of those among them that are history."""
        place = self.ids.index(HISTORY) if HISTORY in self.ids else -2
        mask: BoolArray = self.which == place
        return mask

    @property
    def untaught(self) -> BoolArray:
        """(n,) mask of those among them that are not learnt."""
        return self.rows & ~self.history

    def by(self, row: int) -> str:
        """The id of the planned work of a row, empty for none."""
        return self.ids[self.which[row]] if self.which[row] >= 0 else ""


class PlannedWork:
    """The windows in force in a partition. A reading under several belongs to the one that took effect first."""

    def __init__(self, windows: Sequence[PlannedWindow]) -> None:
        self._ids = tuple(window.id for window in windows)
        self._spans = [(parse_rfc3339(window.from_time), parse_rfc3339(window.to_time)) for window in windows]
        self._names = [_matching(window.series) for window in windows]

    def suppressed(self, readings: Readings, slots: IntArray) -> Suppressed | None:
        """Which of the readings (of series ``slots``) are under planned work; None where none is. Costs next to
        nothing where no window overlaps the times of the batch."""
        if not self._ids or not len(readings):
            return None
        oldest, newest = int(readings.times.min()), int(readings.times.max())
        which = np.full(len(readings), -1, dtype=np.int64)
        for place, (begin, end) in enumerate(self._spans):
            if begin <= newest and oldest < end:
                inside = np.flatnonzero((readings.times >= begin) & (readings.times < end) & (which < 0))
                which[inside[self._named(place, readings, slots, inside)]] = place
        return Suppressed(which, self._ids) if (which >= 0).any() else None

    def until(self, series: str, time: int) -> int | None:
        """When the planned work that a series is under at ``time`` ends, the latest where it is under several; None
        where it is under none."""
        ends = [
            end
            for (begin, end), names in zip(self._spans, self._names, strict=True)
            if begin <= time < end and (names is None or names.match(series) is not None)
        ]
        return max(ends, default=None)

    def _named(self, place: int, readings: Readings, slots: IntArray, rows: IntArray) -> BoolArray:
        """Which of ``rows`` are of a series that the window names; each series is looked at once."""
        names = self._names[place]
        if names is None:
            return np.ones(len(rows), dtype=np.bool_)
        _, first, series = np.unique(slots[rows], return_index=True, return_inverse=True)
        named = [names.match(readings.series[int(row)]) is not None for row in rows[first]]
        return np.array(named, dtype=np.bool_)[series]


def _matching(patterns: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)) if patterns else None


def advance(detector: Detector, rows: Rows, suppressed: BoolArray | None) -> Scores:
    """Score each row, then learn it unless it is suppressed: equal to doing so row by row.

    A row's score depends on the rows of its own series before it and on no others. So rows are taken in rounds: in
    each, the next stretch of every series that is all learnt or all not. Ordinarily that is one to three rounds."""
    if suppressed is None or not suppressed.any():
        return detector.advance(rows)
    rounds = _rounds(rows.slots, suppressed)
    parts: list[tuple[IntArray, Scores]] = []
    for number in range(int(rounds.max()) + 1):
        for taught in (True, False):
            picked = np.flatnonzero((rounds == number) & (suppressed != taught))
            if len(picked):
                some = rows.take(picked)
                parts.append((picked, detector.advance(some) if taught else detector.score(some)))
    return scattered(parts, len(rows))


def _rounds(slots: IntArray, suppressed: BoolArray) -> IntArray:
    """(n,) how often, up to each row, its series went from learnt to not learnt or back."""
    order = np.argsort(slots, kind="stable")
    series, marks = slots[order], suppressed[order]
    same = np.concatenate([[False], series[1:] == series[:-1]])
    turns = np.cumsum(np.concatenate([[False], marks[1:] != marks[:-1]]) & same)
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(slots))))
    rounds = np.empty(len(slots), dtype=np.int64)
    rounds[order] = turns - turns[starts]
    return rounds


def scattered(parts: Sequence[tuple[IntArray, Scores]], count: int) -> Scores:
    """The scores of ``count`` rows out of parts that hold those at the given positions; later parts win."""
    columns = {}
    for column in fields(Scores):
        pieces = [(where, getattr(part, column.name)) for where, part in parts]
        first = pieces[0][1]
        if first is not None:
            whole = np.empty((count, *first.shape[1:]), dtype=first.dtype)
            for where, piece in pieces:
                whole[where] = piece
            columns[column.name] = whole
    return Scores(**columns)
