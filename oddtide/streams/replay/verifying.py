"""Comparing a recomputed history with the ledger: the running hash, and the counts, at every ledger record.

A hash that is equal proves its record, whoever wrote it. One that differs is a *difference* only where this build has
computed the same history from the same records; otherwise it is *not verifiable here*, with the reason:

- ``build``: the ledger names another build, processor or library; equal bits are promised on equal ones only;
- ``configuration``: it names a pipeline that was not put in force through it;
- ``history``: the log no longer holds every record that the ledger accounts for.

After something that could not be verified the ledger's hash is taken over, so that what follows can be compared again;
but the state may differ from then on, so a later difference is not verifiable either.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import msgspec

from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.pipeline.running_hash import advance_hash, hash_text
from oddtide.streams.pipeline.verdicts import VerdictColumns
from oddtide.streams.replay.folding import Folded
from oddtide.streams.replay.reading import LedgerEntry

__all__ = ["Difference", "HashCheck", "Verification", "build_differences"]

Status = Literal["equal", "different", "not_verifiable", "nothing"]


class Verification(msgspec.Struct, kw_only=True):
    """What comparing one partition with its ledger gave.

    ``status`` is ``equal``, ``different``, ``not_verifiable`` or ``nothing`` (no ledger record in the range).
    ``compared`` ledger records were compared, ``equal`` of them agree, ``unverifiable`` could not be judged here;
    ``reasons`` says why, with counts. ``from``, ``to`` are the offsets that the compared records span. Of a difference:
    ``offset`` and ``row`` of the first differing verdict as far as it could be narrowed down (else the first offset of
    the batch), the ``batch`` it lies in, what the ledger says and what was computed.
    """

    stream: str
    topic: str
    partition: int
    status: Status = "nothing"
    from_offset: int | None = msgspec.field(name="from", default=None)
    to_offset: int | None = msgspec.field(name="to", default=None)
    compared: int = 0
    equal: int = 0
    unverifiable: int = 0
    reasons: dict[str, int] = {}
    started: str = ""
    notes: list[str] = []
    records: int = 0
    readings: int = 0
    seconds: float = 0.0
    batch: list[int] | None = None
    offset: int | None = None
    row: int | None = None
    ledger_hash: str = ""
    computed_hash: str = ""
    detail: str = ""

    @property
    def readings_per_second(self) -> float:
        """How fast it went."""
        return self.readings / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """The first ledger record that differs. ``verdicts`` are the computed ones from its first offset on (a few before
    and after it may be among them); ``previous`` is when the record before was logged (ms)."""

    entry: LedgerEntry
    computed: str
    verdicts: tuple[VerdictColumns, ...]
    previous: int
    detail: str = ""


class _Counts:
    """What came out of some records, as both sides count it."""

    _NAMES = ("records", "readings", "scored", "detections")

    def __init__(self) -> None:
        self.since = -1
        self.simple: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def add(self, batch: BatchCompleted) -> None:
        self.since = batch.from_offset if self.since < 0 else self.since
        self.simple.update({name: getattr(batch, name) for name in self._NAMES})
        for name in ("rejected", "skipped"):
            self.reasons.update({f"{name} {why}": count for why, count in getattr(batch, name).items()})

    def differing(self, other: _Counts) -> str:
        mine, theirs = self.simple + self.reasons, other.simple + other.reasons
        wrong = sorted(name for name in mine.keys() | theirs.keys() if mine[name] != theirs[name])
        return ", ".join(f"{name}: {theirs[name]} in the ledger, {mine[name]} computed" for name in wrong)


class HashCheck:
    """Holds folded records against ledger entries, in order; stops at the first difference."""

    def __init__(self, build: str, result: Verification, start: int = 0) -> None:
        self._build = build
        self._version = ""
        self._start = start
        self.result = result
        self.difference: Difference | None = None
        self._entries: deque[LedgerEntry] = deque()
        self._known = -1
        self._over = False
        self._recent: deque[VerdictColumns] = deque()
        self._tainted = ""
        self._logged = 0
        self._replayed, self._ledgered = _Counts(), _Counts()
        self._records = 0
        self._silence = ""

    def wants(self, offset: int) -> bool:
        """Whether a further entry is needed before the record at ``offset`` is folded."""
        return not self._over and self._known <= offset

    def accounts_for(self, offset: int) -> bool:
        """Whether the entries so far reach over the record at ``offset``."""
        return self._known > offset

    def distrust(self, reason: str) -> None:
        """The state that folding begins with is not the one that was: a difference proves nothing."""
        self._tainted = reason

    def expect(self, entry: LedgerEntry) -> None:
        """The next ledger entry."""
        self._known = entry.batch.to_offset
        if self.difference is None:
            self._entries.append(entry)

    def end(self) -> None:
        """No further entry will come."""
        self._over = True

    def take(self, folded: Folded) -> int:
        """Compare what was folded; returns the hash to go on with (the ledger's, where it was taken over)."""
        completed, verdicts = folded.outcome.completed, folded.outcome.verdicts
        self._silence = completed.silence
        self._version = completed.pipeline_version
        if self.difference is None:
            self._recent.append(verdicts)
        self._replayed.add(completed)
        self.result.records += completed.records
        self.result.readings += completed.readings
        value = self._compare_through(folded, completed.to_offset)
        self._forget_old()
        return value

    def _compare_through(self, folded: Folded, position: int) -> int:
        """Walk over the entries that end within what was folded, advancing the hash row by row from one to the next."""
        due = []
        while self._entries and self._entries[0].batch.to_offset <= position and self.difference is None:
            due.append(self._entries.popleft())
        final = int(folded.outcome.completed.hash, 16)
        if not due:
            self._records += len(folded.records)
            return final
        if len(due) == 1 and due[0].batch.to_offset == position:
            return self._compare(due[0], final, len(folded.records), aligned=True)
        return self._compare_many(due, folded, position)

    def _compare_many(self, due: list[LedgerEntry], folded: Folded, position: int) -> int:
        rows, ends = folded.outcome.verdicts.digests(), [entry.batch.to_offset for entry in due]
        row_cuts = [0, *folded.outcome.verdicts.readings.offsets.searchsorted(ends).tolist()]
        record_cuts = [0, *folded.records.offsets.searchsorted(ends).tolist()]
        value = folded.before
        parts = zip(due, pairwise(row_cuts), pairwise(record_cuts), strict=True)
        for entry, (start, stop), (first, last) in parts:
            value = advance_hash(value, rows[start:stop])
            value = self._compare(entry, value, last - first, aligned=entry.batch.to_offset == position)
            if self.difference is not None:
                return value
        self._records += len(folded.records) - record_cuts[-1]
        return advance_hash(value, rows[row_cuts[-1] :])

    def _compare(self, entry: LedgerEntry, value: int, records: int, *, aligned: bool) -> int:
        batch, result = entry.batch, self.result
        self._ledgered.add(batch)
        records, self._records = records + self._records, 0
        judged = batch.to_offset > self._start
        if judged:
            result.compared += 1
            result.from_offset = batch.from_offset if result.from_offset is None else result.from_offset
            result.to_offset = batch.to_offset
        self._note_epoch(batch)
        reason = self._foreign(batch, records) or self._tainted
        if hash_text(value) == batch.hash:
            result.equal += judged
            if aligned:
                self._compare_counts(entry, value)
                self._compare_silence(entry, self._silence)
        elif reason:
            self._tainted = reason
            result.unverifiable += judged
            result.reasons[reason] = result.reasons.get(reason, 0) + judged
            value = int(batch.hash, 16)
            self._replayed, self._ledgered = _Counts(), _Counts()
        else:
            self._differs(entry, value)
        self._logged = entry.logged
        self._settle()
        return value

    def _note_epoch(self, batch: BatchCompleted) -> None:
        """A new epoch on the way: live, the state went on without something that this one was folded with."""
        opened = batch.opened
        if opened is not None and (opened.state_from >= 0 or opened.from_offset != batch.from_offset):
            self._tainted = f"history: a new epoch begins at {batch.to_offset}"

    def _foreign(self, batch: BatchCompleted, records: int) -> str:
        """Why a difference at this record would prove nothing; empty where it would."""
        if batch.build != self._build:
            return f"build: {build_differences(batch.build, self._build)}"
        if batch.pipeline_version != self._version:
            return f"configuration: the ledger names pipeline {batch.pipeline_version}, this is {self._version}"
        return "history: the log no longer holds every record" if records < batch.records else ""

    def _compare_counts(self, entry: LedgerEntry, value: int) -> None:
        wrong = self._replayed.differing(self._ledgered)
        if wrong and not self._tainted:
            self._differs(entry, value, detail=f"counts from {self._ledgered.since} on: {wrong}")
        self._replayed, self._ledgered = _Counts(), _Counts()

    def _compare_silence(self, entry: LedgerEntry, silence: str) -> None:
        """The hash of absences runs on over all of them: it is compared where folding stops, not at every record.
        What a record that covers nothing brought is not in force yet then, and in what comes next."""
        batch = entry.batch
        if batch.to_offset > batch.from_offset and silence != batch.silence and not self._tainted:
            self._silence_differs(entry, silence)

    def close(self, entry: LedgerEntry, silence: str) -> None:
        """``entry`` is the last; it covers nothing, and was let take effect. ``silence`` is what came of that."""
        if self.difference is None and not self._tainted and silence != entry.batch.silence:
            self._silence_differs(entry, silence)
            self._settle()

    def _silence_differs(self, entry: LedgerEntry, silence: str) -> None:
        if self.difference is None:
            detail = f"absences: hash {entry.batch.silence or 'none'} in the ledger, {silence or 'none'} computed"
            self._differs(entry, int(entry.batch.hash, 16), detail)

    def _differs(self, entry: LedgerEntry, value: int, detail: str = "") -> None:
        self.difference = Difference(entry, hash_text(value), tuple(self._recent), self._logged, detail)

    def _settle(self) -> None:
        if self.difference is not None:
            self.result.status = "different"
        elif self.result.compared:
            self.result.status = "not_verifiable" if self.result.unverifiable else "equal"

    def _forget_old(self) -> None:
        """Keep the verdicts from the first entry on that is not compared yet."""
        start = self._entries[0].batch.from_offset if self._entries else self._known
        done = self.difference is not None or (self._over and not self._entries)
        while self._recent and (done or not _reaches(self._recent[0], start)):
            self._recent.popleft()


def _reaches(verdicts: VerdictColumns, offset: int) -> bool:
    offsets = verdicts.readings.offsets
    return len(offsets) > 0 and int(offsets[-1]) >= offset


def build_differences(ledger: str, here: str) -> str:
    """In what two build names differ: ``numpy-2.4.6 in the ledger, numpy-2.5.0 here``."""
    theirs, ours = ledger.split("/"), here.split("/")
    if len(theirs) != len(ours):
        return f"{ledger or 'none'} in the ledger, {here} here"
    pairs = [(a, b) for a, b in zip(theirs, ours, strict=True) if a != b]
    return f"{', '.join(a for a, _ in pairs)} in the ledger, {', '.join(b for _, b in pairs)} here"
