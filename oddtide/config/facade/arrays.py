"""Arrays and columns by name as readings: no text in between, every number as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.adapters.files.columns import ColumnKind, TableOptions, resolve
from oddtide.adapters.files.rows import ROW_EPOCH_NS
from oddtide.domain.errors import UsageError
from oddtide.domain.readings import FloatArray, IntArray, LabelsColumn, Readings, SeriesColumn
from oddtide.streams.codecs.decoded import Decoded, Refusal
from oddtide.streams.codecs.times import nanoseconds

__all__ = ["feature_names", "frame_columns", "plain_columns"]

_SECOND = 1_000_000_000
Found = tuple[tuple[str, ...], Decoded, list[str]]


def feature_names(count: int, named: Sequence[str]) -> tuple[str, ...]:
    """Names of ``count`` features: as named, ``value`` for one, ``f1`` … for several."""
    if named and len(named) != count:
        raise UsageError(f"There are {count} columns, but {len(named)} features are named.", remedy="Name each.")
    if named:
        return tuple(named)
    return ("value",) if count == 1 else tuple(f"f{i}" for i in range(1, count + 1))


def plain_columns(values: NDArray[Any], options: TableOptions, name: str) -> Found:
    """An array of (n,) values or (n, d) features of one series."""
    if values.ndim not in {1, 2} or values.dtype.kind not in "biuf":
        raise UsageError(
            f"An array of {values.dtype} with {values.ndim} dimensions is no data.",
            remedy="Give numbers in one dimension (values) or two (rows of features).",
        )
    block = values.reshape(len(values), -1).astype(np.float64)
    features = feature_names(block.shape[1], options.features)
    times = ROW_EPOCH_NS + np.arange(len(block), dtype=np.int64) * _SECOND
    series = SeriesColumn.repeated(options.name or name, len(block))
    return features, _decoded(series, times, np.ones(len(block), np.bool_), block, LabelsColumn.none()), []


def frame_columns(frame: Mapping[str, Any], options: TableOptions, name: str) -> Found:
    """Columns by name, found as in a CSV."""
    arrays = {key: np.asarray(column) for key, column in frame.items()}
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) != 1:
        raise UsageError(f"The columns have {sorted(lengths)} rows.", remedy="Give columns of one length.")
    rows = lengths.pop()
    columns, notes = resolve(options, {key: _kind(array) for key, array in arrays.items()})
    times, known = _times(arrays[columns.time]) if columns.time else _numbered(rows)
    series = (
        SeriesColumn.of(str(key) for key in arrays[columns.series])
        if columns.series
        else SeriesColumn.repeated(options.name or name, rows)
    )
    block = np.column_stack([_numbers(arrays[column], column) for column in columns.features.values()])
    labels = LabelsColumn.of(
        {key: str(arrays[key][i]) for key in columns.labels} for i in range(rows)
    ) if columns.labels else LabelsColumn.none()  # fmt: skip
    return tuple(columns.features), _decoded(series, times, known, block, labels), notes


def _kind(array: NDArray[Any]) -> ColumnKind:
    return "number" if array.dtype.kind in "iuf" else "text"


def _numbers(array: NDArray[Any], column: str) -> FloatArray:
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The column {column!r} holds more than numbers: {error}.", remedy="Clean it first.") from None


def _numbered(rows: int) -> tuple[IntArray, NDArray[np.bool_]]:
    return ROW_EPOCH_NS + np.arange(rows, dtype=np.int64) * _SECOND, np.ones(rows, np.bool_)


def _times(column: NDArray[Any]) -> tuple[IntArray, NDArray[np.bool_]]:
    if column.dtype.kind == "M":
        known = ~np.isnat(column)
        return np.where(known, column.astype("datetime64[ns]").astype(np.int64), 0), known
    if column.dtype.kind in "iufU":
        return nanoseconds(column.tolist())
    return nanoseconds([cell if isinstance(cell, str | int | float) else str(cell) for cell in column])


def _decoded(
    series: SeriesColumn,
    times: IntArray,
    known: NDArray[np.bool_],
    block: FloatArray,
    labels: LabelsColumn,
) -> Decoded:
    """Readings, with refusals for rows whose time is unreadable or where a number is infinite."""
    rows = len(series)
    offsets = np.arange(rows, dtype=np.int64)
    infinite = np.isinf(block).any(axis=1)
    refusals = [
        Refusal(i, 0, "invalid_time", "the time cannot be read", series[i]) for i in np.flatnonzero(~known).tolist()
    ]
    refusals += [
        Refusal(i, 0, "not_finite", "a number is infinite", series[i])
        for i in np.flatnonzero(infinite & known).tolist()
    ]
    zeros = np.zeros(rows, dtype=np.int64)
    readings = Readings(series, times, block, offsets, zeros, times, labels)
    keep = known & ~infinite
    if not keep.all():
        readings = readings.take(keep)
    return Decoded(readings, refusals, rows, 0, rows)
