"""Adding a partition's ledger up: within itself, against the log's own offsets and against what was published.

Pure counting; :mod:`.counting` brings the records. Every ledger record costs 64 bytes here, whatever it holds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import numpy as np

from oddtide.domain.observability.ledger import BatchCompleted, check_batch, check_succession
from oddtide.domain.readings import IntArray
from oddtide.streams.pipeline.frames import FramePlaces
from oddtide.streams.pipeline.running_hash import EMPTY_HASH, hash_text
from oddtide.streams.replay.reading import Bounds, LedgerEntry

__all__ = ["LedgerAdded", "PartitionAudit", "Problem"]

Kind = Literal["gap", "repeat", "sum", "hash", "log", "end", "detections", "dead_letters", "verdicts", "twice"]
#: Problems listed of each partition; the rest is counted.
MAX_LISTED = 1_000
_COLUMNS = ("start", "stop", "records", "scored", "rejected", "detections", "logged", "before")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that does not add up at ``[from, to)`` of a partition of a readings topic."""

    kind: Kind
    topic: str
    partition: int
    from_offset: int = msgspec.field(name="from")
    to_offset: int = msgspec.field(name="to")
    detail: str


class LedgerAdded(msgspec.Struct, kw_only=True):
    """What adding one partition's ledger up gave.

    ``batches`` ledger records span ``from .. to`` and account for ``records`` and ``readings``; ``lost`` offsets were
    cut away by retention before anybody processed them. ``log``, ``results``
    say how many of them could still be held against the log and against the result topics (retention). ``problems``
    counts all, ``listed`` names the first. ``pending`` records lie beyond the ledger: not processed yet.
    """

    stream: str
    topic: str
    partition: int
    batches: int = 0
    from_offset: int | None = msgspec.field(name="from", default=None)
    to_offset: int | None = msgspec.field(name="to", default=None)
    records: int = 0
    holes: int = 0
    lost: int = 0
    readings: int = 0
    scored: int = 0
    rejected: int = 0
    skipped: int = 0
    detections: int = 0
    log: int = 0
    results: int = 0
    pending: int = 0
    problems: int = 0
    listed: list[Problem] = []


class Tally:
    """How many results were published about each ledger record, and that none was twice.

    Results of a partition are published in the order of its readings; whatever falls behind is there twice, or where
    it must not be.
    """

    def __init__(self, what: Kind) -> None:
        self.what = what
        self.counts: IntArray = np.zeros(0, dtype=np.int64)
        self._last = (-1, -1)
        self.behind: list[tuple[int, str]] = []

    def take(self, index: int, place: tuple[int, int], count: int, name: str) -> None:
        """Count a result about ``place`` (offset, row), which belongs to the ledger record ``index`` (-1: to none)."""
        if place <= self._last:
            self.behind.append((place[0], name))
            return
        self._last = place
        if index >= 0:
            self.counts[index] += count

    def take_rows(self, indices: IntArray, offsets: IntArray, rows: IntArray, name: str) -> None:
        """The same for the rows of one frame, which are all taken or all behind."""
        first, last = (int(offsets[0]), int(rows[0])), (int(offsets[-1]), int(rows[-1]))
        steps, within = np.diff(offsets), np.diff(rows)
        if first <= self._last or not bool(((steps > 0) | ((steps == 0) & (within > 0))).all()):
            self.behind.append((first[0], name))
            return
        self._last = last
        _add_counts(self.counts, indices)


class PartitionAudit:
    """Adds up one partition's ledger. First every entry in order (:meth:`take`), then :meth:`settle`, then the log's
    offsets and the results in any order, then :meth:`conclude`."""

    def __init__(self, stream: str, topic: str, partition: int) -> None:
        self.result = LedgerAdded(stream=stream, topic=topic, partition=partition)
        self._cells = {name: array("q") for name in _COLUMNS}
        self._columns: dict[str, IntArray] = {}
        self._previous: BatchCompleted | None = None
        self._logged = 0
        self.detections = Tally("detections")
        self.letters = Tally("dead_letters")
        self.verdicts = Tally("verdicts")
        self._in_log: IntArray = np.zeros(0, dtype=np.int64)

    def take(self, entry: LedgerEntry) -> None:
        """The next ledger record: what does not add up within it or with the one before it."""
        batch, previous = entry.batch, self._previous
        problems: list[tuple[Kind, str]] = [("sum", text) for text in check_batch(batch)]
        problems += [
            ("gap" if text.startswith("gap") else "repeat", text) for text in check_succession(previous, batch)
        ]
        before = previous.hash if previous is not None else hash_text(EMPTY_HASH)
        if previous is not None and not batch.scored and batch.hash != before:
            problems.append(("hash", f"nothing was scored, but the hash went from {before} to {batch.hash}"))
        for kind, text in problems:
            start = batch.from_offset
            if kind == "gap" and previous is not None:
                self.add(kind, previous.to_offset, start, text)
            else:
                self.add(kind, start, batch.to_offset, text)
        self._note(batch, entry.logged)
        self._previous, self._logged = batch, entry.logged

    def _note(self, batch: BatchCompleted, logged: int) -> None:
        result = self.result
        rejected, skipped = sum(batch.rejected.values()), sum(batch.skipped.values())
        values = (
            batch.from_offset, batch.to_offset, batch.records, batch.scored, rejected, batch.detections, logged,
            self._logged,
        )  # fmt: skip
        for name, value in zip(_COLUMNS, values, strict=True):
            self._cells[name].append(value)
        result.batches += 1
        result.from_offset = batch.from_offset if result.from_offset is None else result.from_offset
        result.to_offset = batch.to_offset
        result.rejected += rejected
        result.skipped += skipped
        for name in ("records", "holes", "lost", "readings", "scored", "detections"):
            setattr(result, name, getattr(result, name) + getattr(batch, name))

    def settle(self) -> None:
        """No more ledger records will come."""
        self._columns = {name: np.array(cells, dtype=np.int64) for name, cells in self._cells.items()}
        order = np.argsort(self._columns["start"], kind="stable")
        self._columns = {name: column[order] for name, column in self._columns.items()}
        self._cells.clear()
        count = len(order)
        self._in_log = np.zeros(count, dtype=np.int64)
        for tally in (self.detections, self.letters, self.verdicts):
            tally.counts = np.zeros(count, dtype=np.int64)

    def index(self, offset: int) -> int:
        """Which ledger record accounts for an offset; -1 for none."""
        return int(self._indices(np.array([offset], dtype=np.int64))[0])

    def _indices(self, offsets: IntArray) -> IntArray:
        starts, stops = self._columns["start"], self._columns["stop"]
        if not len(starts):
            return np.full(len(offsets), -1, dtype=np.int64)
        found = np.searchsorted(starts, offsets, side="right") - 1
        inside = (found >= 0) & (offsets < stops[np.maximum(found, 0)])
        return np.where(inside, found, -1)

    def count_log(self, offsets: IntArray) -> None:
        """Records that the log holds."""
        _add_counts(self._in_log, self._indices(offsets))

    def beyond(self, offset: int) -> bool:
        """Whether an offset lies beyond the ledger: a reading that was processed since it was read."""
        return self.result.to_offset is None or offset >= self.result.to_offset

    def count(self, tally: Tally, place: tuple[int, int], count: int, name: str) -> None:
        """A published result about ``place``; what is beyond the ledger came after it was read."""
        if not self.beyond(place[0]):
            index = self.index(place[0])
            if index < 0:
                self.add(tally.what, place[0], place[0] + 1, f"{name} is about an offset that the ledger has not")
            tally.take(index, place, count, name)

    def count_frame(self, places: FramePlaces, name: str) -> None:
        """A published frame of verdicts."""
        known = places.offsets < (self.result.to_offset or 0)
        offsets, rows = places.offsets[known], places.rows[known]
        if len(offsets):
            self.verdicts.take_rows(self._indices(offsets), offsets, rows, name)

    def check_log(self, bounds: Bounds, *, compacted: bool) -> None:
        """Hold the records against the log's, from where it still has them. In a compacted topic records vanish."""
        result, columns = self.result, self._columns
        if result.to_offset is None:
            result.pending = bounds.end - bounds.begin
            return
        result.pending = max(0, bounds.end - result.to_offset)
        if result.to_offset > bounds.end:
            text = f"the ledger ends at {result.to_offset}, the log already at {bounds.end}: the log has lost its end"
            self.add("end", bounds.end, result.to_offset, text)
        kept = columns["start"] >= bounds.begin
        result.log = int(kept.sum())
        expected, found = columns["records"], self._in_log
        wrong = found > expected if compacted else found != expected
        for i in np.flatnonzero(kept & wrong).tolist():
            self._wrong("log", i, f"{expected[i]} records in the ledger, the log holds {found[i]}")

    def check_results(self, oldest: dict[Kind, int], *, publishes_all: bool) -> None:
        """Hold the results against the ledger's counts. ``oldest`` is the timestamp (ms) of the oldest record that the
        result topic still has, by kind; 0: nothing was ever removed from it."""
        kept = [self._check_tally(tally, name, oldest[tally.what]) for tally, name in self._tallies()]
        self.result.results = min(kept, default=0)
        if publishes_all:
            published = np.flatnonzero(self.verdicts.counts)
            first = int(published[0]) if len(published) else len(self.verdicts.counts)
            self._check_tally(self.verdicts, "scored", oldest["verdicts"], first)

    def _tallies(self) -> Iterator[tuple[Tally, str]]:
        yield self.detections, "detections"
        yield self.letters, "rejected"

    def _check_tally(self, tally: Tally, column: str, oldest: int, first: int = 0) -> int:
        expected, found = self._columns[column], tally.counts
        kept = (self._columns["before"] > oldest) | (oldest == 0)
        kept &= np.arange(len(kept)) >= first
        what = {"detections": "detections", "dead_letters": "rejected readings", "verdicts": "verdicts"}[tally.what]
        for i in np.flatnonzero(kept & (found != expected)).tolist():
            self._wrong(tally.what, i, f"{expected[i]} {what} in the ledger, {found[i]} published")
        for offset, name in tally.behind:
            self.add("twice", offset, offset + 1, f"{name} was published twice, or out of order")
        return int(kept.sum())

    def _wrong(self, kind: Kind, index: int, text: str) -> None:
        self.add(kind, int(self._columns["start"][index]), int(self._columns["stop"][index]), text)

    def add(self, kind: Kind, start: int, stop: int, detail: str) -> None:
        """Note a problem."""
        result = self.result
        result.problems += 1
        if len(result.listed) < MAX_LISTED:
            place: dict[str, Any] = {"topic": result.topic, "partition": result.partition}
            result.listed.append(Problem(kind=kind, **place, from_offset=start, to_offset=stop, detail=detail))


def _add_counts(counts: IntArray, indices: IntArray) -> None:
    """Add one for each index; -1 is none."""
    known = indices[indices >= 0]
    if len(known):
        low = int(known.min())
        found = np.bincount(known - low)
        counts[low : low + len(found)] += found
