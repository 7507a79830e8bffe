"""Where things lie in a producer's Arrow batches, remembered: pyarrow is asked once, not for every record.

A record's schema and the headers of its batch, and of the dictionary before it if there is one, say at which byte each
column lies. Producers mostly send the same headers again and again, byte for byte, so a layout learnt from a record
that was ordinary holds for every other of the same headers and length. What the headers do not say is looked at each
time: text offsets, characters, places in the dictionary, times, numbers. What is not plainly in order is left to the
exact path (None), so that the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from oddtide.domain.readings import ByteArray, IntArray, LabelsColumn, SeriesColumn
from oddtide.domain.statistics.kernels import bare_kernel
from oddtide.streams.codecs.blocks import Block
from oddtide.streams.codecs.json_reading import Rules
from oddtide.streams.codecs.times import EARLIEST, LATEST

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Layouts"]

_MARK: Final = b"\xff\xff\xff\xff"
_END: Final = _MARK + bytes(4)
#: Headers longer than that are not remembered, nor more layouts than that at once.
_LONGEST, _MOST = 4_096, 64
#: The messages of a stream whose layout can be remembered. A dictionary is the series', or of a column without meaning.
_WITHOUT_DICTIONARY: Final = ["schema", "record batch"]
_WITH_DICTIONARY: Final = ["schema", "dictionary", "record batch"]
_USUAL: Final = (_WITHOUT_DICTIONARY, _WITH_DICTIONARY)
_NO_PICKS: Final = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Byte positions in the record: of text offsets and texts (``names`` of them), of the rows' places among those
    texts (of type ``picks_type``; "" where each row has its own), ticks (``scale`` nanoseconds each), and numbers."""

    rows: int
    names: int
    ends: int
    texts: int
    texts_size: int
    picks: int
    picks_type: str
    ticks: int
    scale: int
    numbers: tuple[int, ...]

    @property
    def extents(self) -> list[tuple[int, int]]:
        """Where what is read begins, and how many bytes that is."""
        picks = (self.picks, self.rows * np.dtype(self.picks_type).itemsize) if self.picks_type else (self.ends, 0)
        return [
            (self.ends, 4 * (self.names + 1)), (self.texts, self.texts_size), picks,
            *((start, 8 * self.rows) for start in (self.ticks, *self.numbers)),
        ]  # fmt: skip


class Layouts:
    """The layouts of one stream's records. Which are remembered alters no outcome, only what it costs."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: dict[tuple[bytes, int], _Layout] = {}
        self._places: dict[bytes, int] = {}

    def read(self, raw: bytes, position: int) -> Block | None:
        """The readings of a record whose layout is known, or None where it is not, or is not plainly in order."""
        headers = self._headers(raw)
        layout = self._known.get((headers, len(raw))) if headers else None
        if layout is None or not raw.endswith(_END):
            return None
        data = np.frombuffer(raw, dtype=np.uint8)
        ends = np.frombuffer(raw, dtype=np.int32, count=layout.names + 1, offset=layout.ends)
        ticks = np.frombuffer(raw, dtype=np.int64, count=layout.rows, offset=layout.ticks)
        picks = _NO_PICKS
        if layout.picks_type:
            kind = np.dtype(layout.picks_type)
            picks = np.frombuffer(raw, kind, count=layout.rows, offset=layout.picks).astype(np.int64)
        at, size, times = np.empty((3, layout.rows), dtype=np.int64)
        texts = layout.texts, layout.texts_size, self._rules.max_series_bytes
        if not _take(data, ends, picks, ticks, texts, (layout.scale, EARLIEST, LATEST), at, size, times):
            return None
        values = np.empty((layout.rows, len(layout.numbers)))
        for place, offset in enumerate(layout.numbers):
            values[:, place] = np.frombuffer(raw, dtype=np.float64, count=layout.rows, offset=offset)
        if not np.isfinite(values).all():
            return None
        records, rows = np.full(layout.rows, position, dtype=np.int64), np.arange(layout.rows)
        return Block(records, rows, SeriesColumn(data, at, size), times, values, LabelsColumn.none())

    def learn(self, raw: bytes, batch: pa.RecordBatch, features: Mapping[str, str], scale: int) -> None:
        """Remember the layout of a record that was ordinary, where it is one stream of one batch of plain columns."""
        first = _first_headers(raw)
        kinds = _kinds(raw) if first and len(first) <= _LONGEST else []
        if [kind for kind, _ in kinds] not in _USUAL:
            return
        if max(len(self._known), len(self._places)) >= _MOST:
            self._known.clear()
            self._places.clear()
        if len(kinds) == len(_WITH_DICTIONARY):
            self._places[first] = len(first) + kinds[1][1]
        headers = self._headers(raw)
        layout = _layout(raw, batch, [features[name] for name in self._rules.names], scale)
        if layout is not None and headers and len(headers) <= _LONGEST:
            self._known[headers, len(raw)] = layout

    def _headers(self, raw: bytes) -> bytes:
        """All headers of a record, as far as is known where they lie; nothing where it does not begin like a stream."""
        first = _first_headers(raw)
        place = self._places.get(first)
        if place is None:
            return first
        stop = _past_header(raw, place)
        return first + raw[place:stop] if place < stop <= len(raw) else b""


def _first_headers(raw: bytes) -> bytes:
    """The record up to what follows its second header: its batch's or its dictionary's contents."""
    place = _past_header(raw, _past_header(raw, 0))
    return raw[:place] if place <= len(raw) else b""


def _past_header(raw: bytes, place: int) -> int:
    """Where the header that begins at ``place`` ends; 0 where none does."""
    if raw[place : place + 4] != _MARK:
        return 0
    return place + 8 + int.from_bytes(raw[place + 4 : place + 8], "little", signed=False)


def _kinds(raw: bytes) -> list[tuple[str, int]]:
    """What a stream's messages are, and how long the contents of each are."""
    import pyarrow as pa

    messages = pa.ipc.MessageReader.open_stream(pa.py_buffer(raw))
    return [(message.type, message.body.size if message.body is not None else 0) for message in messages]


def _layout(raw: bytes, batch: pa.RecordBatch, columns: list[str], scale: int) -> _Layout | None:
    import pyarrow as pa

    series: Any = batch.column("series")
    time: Any = batch.column("time")
    numbers: list[Any] = [batch.column(name) for name in columns]
    picks = series.indices if isinstance(series, pa.DictionaryArray) else None
    texts = series if picks is None else series.dictionary
    read = [texts, time, *numbers] + ([] if picks is None else [picks])
    fits = texts.type == pa.string() and all(column.type == pa.float64() for column in numbers)
    if not fits or any(column.buffers()[0] is not None or column.offset for column in read):
        return None
    whole: Any = pa.py_buffer(raw)

    def place(column: Any, buffer: int) -> int:
        return int(column.buffers()[buffer].address - whole.address)

    layout = _Layout(
        rows=batch.num_rows,
        names=len(texts),
        ends=place(texts, 1),
        texts=place(texts, 2),
        texts_size=texts.buffers()[2].size,
        picks=place(picks, 1) if picks is not None else 0,
        picks_type=str(picks.type) if picks is not None else "",
        ticks=place(time, 1),
        scale=scale,
        numbers=tuple(place(column, 1) for column in numbers),
    )
    inside = all(0 <= start <= len(raw) - size for start, size in layout.extents)
    return layout if inside else None


@bare_kernel
def _take(
    data: ByteArray, ends: NDArray[np.int32], picks: IntArray, ticks: IntArray, texts: tuple[int, int, int],
    times_in: tuple[int, int, int], at: IntArray, size: IntArray, times: IntArray,
) -> bool:  # fmt: skip
    """Texts (``texts``: where, how many bytes, the longest key) and times (``times_in``: scale, earliest, latest) of
    every row; whether all are ordinary: offsets that ascend within the texts, keys of plain ASCII, times in range,
    ``picks`` (none: each row has its own text) among the texts."""
    start, room, limit = texts
    scale, earliest, latest = times_in
    lowest, highest = -(-earliest // scale), latest // scale
    names, rows = len(ends) - 1, len(ticks)
    if ends[0] < 0 or (len(picks) == 0 and names != rows):
        return False
    for i in range(names):
        first, last = np.int64(ends[i]), np.int64(ends[i + 1])
        if not first < last <= room or last - first > limit:
            return False
        for place in range(start + first, start + last):
            if data[place] < 0x20 or data[place] >= 0x7F:
                return False
    for i in range(rows):
        pick = picks[i] if len(picks) > 0 else np.int64(i)
        if not 0 <= pick < names or not lowest <= ticks[i] <= highest:
            return False
        first, last = np.int64(ends[pick]), np.int64(ends[pick + 1])
        at[i], size[i], times[i] = start + first, last - first, ticks[i] * scale
    return True
