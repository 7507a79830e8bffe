"""History among the readings: records that are to be learnt and to wake nobody.

Whoever loads history to warm a stream (``oddtide warm``) pushes it like any other readings, with the header
``oddtide-history: <source>:<number>``: which source it is of (16 hex digits), and the how manieth of it. A record's
marks are its own, so they are the same for every worker and every replay.
"""

from __future__ import annotations

import numpy as np

from oddtide.streams.codecs.decoded import HistoryMarks
from oddtide.streams.codecs.record_block import RecordBlock

__all__ = ["HISTORY_HEADER", "history_header", "history_marks"]

HISTORY_HEADER = "oddtide-history"
_NAME = HISTORY_HEADER.encode()


def history_header(source: int, number: int) -> tuple[str, bytes]:
    """The header of one record."""
    return HISTORY_HEADER, b"%016x:%d" % (source, number)


def history_marks(records: RecordBlock) -> HistoryMarks | None:
    """Which of ``records`` are history; None where none is. A header that says nothing of the kind is none. Costs next
    to nothing where no record has headers, and a search through bytes where some have others."""
    if not _mentioned(records):
        return None
    offsets, sources, numbers = list[int](), list[int](), list[int]()
    for place in np.flatnonzero(records.headers).tolist():
        record = records[place]
        mark = _mark(dict(record.headers).get(HISTORY_HEADER) or b"")
        if mark is not None:
            offsets.append(record.offset)
            sources.append(mark[0])
            numbers.append(mark[1])
    return HistoryMarks(np.array(offsets, dtype=np.int64), sources, numbers) if offsets else None


def _mentioned(records: RecordBlock) -> bool:
    """Whether the header's name is anywhere among the headers: a search through bytes, but for the last record's."""
    having = np.flatnonzero(records.headers)
    if not len(having):
        return False
    at = records.header_at[having]
    last = records[int(having[at.argmax()])]
    return HISTORY_HEADER in dict(last.headers) or _NAME in records.data[int(at.min()) : int(at.max())].tobytes()


def _mark(raw: bytes) -> tuple[int, int] | None:
    source, colon, number = raw.partition(b":")
    if not colon or len(source) != 16 or not number.isdigit() or len(number) > 18:
        return None
    try:
        return int(source, 16), int(number)
    except ValueError:
        return None
