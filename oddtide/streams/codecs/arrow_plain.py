"""The ordinary Arrow batch, fast: one record batch of text keys, timestamps and finite numbers, nothing missing.

Columns are taken over as they lie in the record: no Python object a row. It refuses nothing: whatever is not plainly in
order is left to the exact path (None), so that the two cannot disagree on what a reading means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from oddtide.domain.readings import ByteArray, IntArray, LabelsColumn, SeriesColumn
from oddtide.domain.statistics.kernels import kernel
from oddtide.streams.codecs.blocks import Block
from oddtide.streams.codecs.json_reading import Rules
from oddtide.streams.codecs.times import EARLIEST, LATEST

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["plain_block"]

_NO_LABELS = LabelsColumn.none()


def plain_block(
    batches: Sequence[pa.RecordBatch], features: Mapping[str, str], scale: int, rules: Rules, position: int
) -> Block | None:
    """The readings of a validated record, or None where it has anything but the ordinary. ``features`` maps a feature
    to its column, ``scale`` is how many nanoseconds a tick of its timestamps has."""
    batch = batches[0]
    names = batch.schema.names
    if len(batches) > 1 or "labels" in names or "series" not in names or len(features) < len(rules.names):
        return None
    times = _times(batch.column("time"), scale)
    series = _series(batch.column("series"), rules.max_series_bytes)
    values = np.empty((batch.num_rows, len(rules.names)))
    for place, name in enumerate(rules.names):
        column = batch.column(features[name])
        if column.null_count or times is None or series is None:
            return None
        values[:, place] = _numbers(column)
    if times is None or series is None or not np.isfinite(values).all():
        return None
    count = len(series)
    return Block(np.full(count, position, dtype=np.int64), np.arange(count), series, times, values, _NO_LABELS)


def _times(column: Any, scale: int) -> IntArray | None:
    if column.null_count:
        return None
    ticks = np.frombuffer(column.buffers()[1], dtype=np.int64, count=len(column), offset=column.offset * 8)
    if int(ticks.min()) * scale < EARLIEST or int(ticks.max()) * scale > LATEST:
        return None
    return ticks * np.int64(scale)


def _numbers(column: Any) -> Any:
    import pyarrow as pa

    if column.type != pa.float64():
        column = column.cast(pa.float64(), safe=False)
    return column.to_numpy(zero_copy_only=False)


def _series(column: Any, limit: int) -> SeriesColumn | None:
    import pyarrow as pa

    texts, picks = column, None
    if isinstance(column, pa.DictionaryArray):
        texts, picks = column.dictionary, column.indices
    if texts.type != pa.string() or texts.null_count or column.null_count or not len(texts):
        return None
    data = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    ends = np.frombuffer(texts.buffers()[1], dtype=np.int32, count=len(texts) + 1, offset=texts.offset * 4)
    at, size = ends[:-1].astype(np.int64), np.diff(ends).astype(np.int64)
    if not _plain(data, at, size, limit):
        return None
    names = SeriesColumn(data, at, size)
    return names if picks is None else names.take(picks.to_numpy().astype(np.int64))


@kernel
def _plain(data: ByteArray, at: IntArray, size: IntArray, limit: int) -> bool:
    """Whether all keys are ASCII without control characters, and neither empty nor too long."""
    for i in range(len(at)):
        if size[i] < 1 or size[i] > limit:
            return False
        for byte in data[at[i] : at[i] + size[i]]:
            if byte < 0x20 or byte >= 0x7F:
                return False
    return True
