"""Data as Python programmers have it, turned into what a scorer takes: rows, or columns of readings.

========================================  =====================================================================
a path, ``-``, an open binary file        a CSV or JSON-lines table (see ``oddtide.adapters.files.tables``)
an array or list of numbers               values of one series, rows numbered in seconds
a two-dimensional array                   a feature a column, named ``f1``, ``f2`` … unless ``features`` names them
a mapping of columns, a data frame        columns found by name, as in a CSV
an iterable of mappings                   a reading each, fields found by name; lazily, in batches
an iterable of numbers or of sequences    a reading each, as the arrays above; lazily
========================================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import orjson

from oddtide.adapters.files.columns import ColumnKind, TableColumns, TableOptions, resolve
from oddtide.adapters.files.rows import ROW_EPOCH_NS, RawRow, RefusedRow, Row, RowMaker, TableRow
from oddtide.adapters.files.tables import open_table
from oddtide.config.facade.arrays import feature_names, frame_columns, plain_columns
from oddtide.domain.errors import UsageError
from oddtide.streams.codecs.decoded import Decoded

__all__ = ["Batch", "Input", "open_input"]

Batch: TypeAlias = list[Row] | Decoded
_READING = frozenset({"series", "time", "value", "features", "labels", "id"})
_SERIES = "input"


class Input(NamedTuple):
    """``features`` in order, ``batches`` in order (once), and notes for the person."""

    features: tuple[str, ...]
    batches: Iterator[Batch]
    notes: list[str]


def open_input(data: Any, options: TableOptions | None = None, *, batch: int = 4_096) -> Input:
    """Open ``data``. Raises ``UsageError`` for what is none of the kinds above, ``NotFoundError`` for no such file."""
    options = options or TableOptions()
    if isinstance(data, str | Path) or hasattr(data, "read"):
        return _table(data, options, batch)
    if isinstance(data, Mapping):
        return _one(frame_columns({str(k): v for k, v in data.items()}, options, _SERIES))
    if hasattr(data, "columns") and hasattr(data, "__getitem__"):
        return _one(frame_columns({str(k): data[k] for k in data.columns}, options, _SERIES))
    if isinstance(data, np.ndarray) or _is_numeric_list(data):
        return _one(plain_columns(np.asarray(data), options, _SERIES))
    if isinstance(data, Iterable):
        return _iterable(iter(data), options, batch)
    raise UsageError(
        f"{type(data).__name__} is no data.",
        remedy="Give a path, an array, columns by name or an iterable of readings.",
    )


def _one(found: tuple[tuple[str, ...], Decoded, list[str]]) -> Input:
    features, decoded, notes = found
    return Input(features, iter([decoded]), notes)


def _is_numeric_list(data: Any) -> bool:
    if not isinstance(data, list | tuple) or not data:
        return False
    first = data[0]
    return isinstance(first, int | float | np.number) or (isinstance(first, Sequence) and not isinstance(first, str))


def _table(data: Any, options: TableOptions, batch: int) -> Input:
    table = open_table(data, options)

    def batches() -> Iterator[Batch]:
        with table:
            yield from table.batches(batch)

    return Input(table.features, batches(), table.notes)


def _iterable(rows: Iterator[Any], options: TableOptions, batch: int) -> Input:
    first = next(rows, None)
    if first is None:
        return Input(("value",), iter(()), [])
    every = chain([first], rows)
    if isinstance(first, Mapping):
        features, made, notes = _mappings(first, every, options)
    else:
        features = feature_names(np.atleast_1d(np.asarray(first)).size, options.features)
        made, notes = _sequences(every, features, options.name or _SERIES), []
    return Input(features, _batched(made, batch), notes)


def _batched(rows: Iterator[Row], size: int) -> Iterator[Batch]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def _mappings(
    first: Mapping[str, Any], rows: Iterator[Mapping[str, Any]], options: TableOptions
) -> tuple[tuple[str, ...], Iterator[Row], list[str]]:
    if not options.names_columns and _READING.issuperset(first):
        nested = first.get("features")
        names = tuple(map(str, nested)) if isinstance(nested, Mapping) and nested else ("value",)
        return names, _readings(rows, options.name or _SERIES), []
    header = [str(key) for key in first]
    kinds: dict[str, ColumnKind] = {str(key): _kind(value) for key, value in first.items()}
    columns, notes = resolve(options, kinds)
    return tuple(columns.features), _made(rows, header, columns, options.name or _SERIES), notes


def _kind(value: object) -> ColumnKind:
    if value is None:
        return "empty"
    numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)
    return "number" if numeric else "text"


def _made(rows: Iterator[Any], header: list[str], columns: TableColumns, name: str) -> Iterator[Row]:
    maker = RowMaker(columns, header, name)
    for index, row in enumerate(rows):
        if isinstance(row, Mapping):
            yield maker.make(index, index, [row.get(key) for key in header])
        else:
            yield RefusedRow(index, "not_an_object", f"a {type(row).__name__} among mappings")


def _readings(rows: Iterator[Any], name: str) -> Iterator[Row]:
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            yield RefusedRow(index, "not_an_object", f"a {type(row).__name__} among mappings")
            continue
        stamped = {"time": _row_time(index), **row}
        try:
            raw = orjson.dumps(stamped, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC, default=str)
        except TypeError as error:
            yield RefusedRow(index, "not_json", str(error))
            continue
        yield RawRow(index, str(row.get("series") or name), raw)


def _sequences(rows: Iterator[Any], features: tuple[str, ...], name: str) -> Iterator[Row]:
    for index, row in enumerate(rows):
        try:
            cells = np.atleast_1d(np.asarray(row, dtype=np.float64))
        except (TypeError, ValueError):
            yield RefusedRow(index, "not_a_number", f"{str(row)[:40]!r} is not a number")
            continue
        if cells.shape != (len(features),):
            yield RefusedRow(index, "wrong_columns", f"{cells.size} numbers where the first row has {len(features)}")
        elif np.isinf(cells).any():
            yield RefusedRow(index, "not_finite", f"{row!r} is not finite")
        else:
            values = {n: v for n, v in zip(features, cells.tolist(), strict=True) if v == v}
            yield TableRow(index, name, _row_time(index), values)


def _row_time(index: int) -> int:
    return ROW_EPOCH_NS + index * 1_000_000_000
