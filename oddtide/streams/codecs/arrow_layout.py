"""Where things lie in a producer's Arrow batches, remembered: pyarrow is asked once, not for every record.

A record's schema and the header of its batch say at which byte each column lies. Producers mostly send the same headers
again and again, byte for byte, so a layout learnt from a record that was ordinary holds for every other of the same
headers and length. What the headers do not say is looked at each time: text offsets, characters, times, numbers. What
is not plainly in order is left to the exact path (None), so that the two cannot disagree.
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


@dataclass(frozen=True, slots=True)
class _Layout:
    """Byte positions in the record: of text offsets and texts, ticks (``scale`` nanoseconds each), and numbers."""

    rows: int
    ends: int
    texts: int
    texts_size: int
    ticks: int
    scale: int
    numbers: tuple[int, ...]


class Layouts:
    """The layouts of one stream's records. Which are remembered alters no outcome, only what it costs."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: dict[tuple[bytes, int], _Layout] = {}

    def read(self, raw: bytes, position: int) -> Block | None:
        """The readings of a record whose layout is known, or None where it is not, or is not plainly in order."""
        headers = _headers(raw)
        layout = self._known.get((headers, len(raw))) if headers else None
        if layout is None or not raw.endswith(_END):
            return None
        n = layout.rows
        data = np.frombuffer(raw, dtype=np.uint8)
        ends = np.frombuffer(raw, dtype=np.int32, count=n + 1, offset=layout.ends)
        ticks = np.frombuffer(raw, dtype=np.int64, count=n, offset=layout.ticks)
        at, size, times = np.empty((3, n), dtype=np.int64)
        texts = layout.texts, layout.texts_size, self._rules.max_series_bytes
        if not _take(data, ends, ticks, texts, (layout.scale, EARLIEST, LATEST), at, size, times):
            return None
        values = np.empty((n, len(layout.numbers)))
        for place, offset in enumerate(layout.numbers):
            values[:, place] = np.frombuffer(raw, dtype=np.float64, count=n, offset=offset)
        if not np.isfinite(values).all():
            return None
        series = SeriesColumn(data, at, size)
        return Block(np.full(n, position, dtype=np.int64), np.arange(n), series, times, values, LabelsColumn.none())

    def learn(self, raw: bytes, batch: pa.RecordBatch, features: Mapping[str, str], scale: int) -> None:
        """Remember the layout of a record that was ordinary, where it is one stream of one batch of plain columns."""
        headers = _headers(raw)
        if not headers or len(headers) > _LONGEST or not _is_schema_and_batch(raw):
            return
        layout = _layout(raw, batch, [features[name] for name in self._rules.names], scale)
        if layout is not None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[headers, len(raw)] = layout


def _headers(raw: bytes) -> bytes:
    """The record up to its batch's contents; nothing where it does not begin like a stream."""
    place = 0
    for _ in range(2):
        if raw[place : place + 4] != _MARK:
            return b""
        place += 8 + int.from_bytes(raw[place + 4 : place + 8], "little", signed=False)
    return raw[:place] if place <= len(raw) else b""


def _is_schema_and_batch(raw: bytes) -> bool:
    """Whether a stream has nothing before its batch but the schema. Else the second header is a dictionary's (of a
    column that means nothing here, say), and does not tell where things lie in the batch behind it."""
    import pyarrow as pa

    kinds = [message.type for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(raw))]
    return kinds == ["schema", "record batch"]


def _layout(raw: bytes, batch: pa.RecordBatch, columns: list[str], scale: int) -> _Layout | None:
    import pyarrow as pa

    series: Any = batch.column("series")
    time: Any = batch.column("time")
    numbers: list[Any] = [batch.column(name) for name in columns]
    fits = series.type == pa.string() and all(column.type == pa.float64() for column in numbers)
    if not fits or any(column.buffers()[0] is not None or column.offset for column in (series, time, *numbers)):
        return None
    whole: Any = pa.py_buffer(raw)

    def place(column: Any, buffer: int) -> int:
        return int(column.buffers()[buffer].address - whole.address)

    layout = _Layout(
        rows=batch.num_rows,
        ends=place(series, 1),
        texts=place(series, 2),
        texts_size=series.buffers()[2].size,
        ticks=place(time, 1),
        scale=scale,
        numbers=tuple(place(column, 1) for column in numbers),
    )
    last = {layout.ends + 4, layout.texts + layout.texts_size - 8 * layout.rows, layout.ticks, *layout.numbers}
    inside = all(0 <= start <= len(raw) - 8 * layout.rows for start in last)
    return layout if inside and min(layout.ends, layout.texts) >= len(_headers(raw)) else None


@bare_kernel
def _take(
    data: ByteArray, ends: NDArray[np.int32], ticks: IntArray, texts: tuple[int, int, int],
    times_in: tuple[int, int, int], at: IntArray, size: IntArray, times: IntArray,
) -> bool:  # fmt: skip
    """Texts (``texts``: where, how many bytes, the longest key) and times (``times_in``: scale, earliest, latest) of
    every row; whether all are ordinary: offsets that ascend within the texts, keys of plain ASCII, times in range."""
    start, room, limit = texts
    scale, earliest, latest = times_in
    lowest, highest = -(-earliest // scale), latest // scale
    if ends[0] < 0:
        return False
    for i in range(len(at)):
        first, last = np.int64(ends[i]), np.int64(ends[i + 1])
        if not first < last <= room or last - first > limit or not lowest <= ticks[i] <= highest:
            return False
        for place in range(start + first, start + last):
            if data[place] < 0x20 or data[place] >= 0x7F:
                return False
        at[i], size[i], times[i] = start + first, last - first, ticks[i] * scale
    return True
