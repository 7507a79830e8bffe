"""What decoding yields: columns of readings, and what was refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from oddtide.domain.readings import IntArray, Readings

__all__ = ["WHOLE_RECORD", "Decoded", "HistoryMarks", "Record", "RecordLike", "Refusal"]

#: ``Refusal.row`` where the record as a whole was refused.
WHOLE_RECORD = -1


class RecordLike(Protocol):
    """A Kafka record, whichever client fetched it. ``timestamp`` in milliseconds; a null value is a tombstone."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Record(NamedTuple):
    """A record of our own making: for files, the facade and tests."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Refusal(NamedTuple):
    """One reading refused. ``row`` is :data:`WHOLE_RECORD` where nothing of the record became a reading."""

    offset: int
    row: int
    reason: str
    detail: str
    series: str = ""


class HistoryMarks(NamedTuple):
    """The records of a batch that are history: (m,) offsets, ascending; of which source and which of it."""

    offsets: IntArray
    sources: list[int]
    numbers: list[int]


@dataclass(slots=True)
class Decoded:
    """The outcome of decoding records ``first .. next-1``: every reading is in exactly one of the two.

    ``records`` is how many records there were, ``first`` and ``next`` the offsets they span (holes included);
    ``history`` says which of them are to be learnt and to wake nobody.
    """

    readings: Readings
    refusals: list[Refusal]
    records: int
    first: int
    next: int
    history: HistoryMarks | None = None
