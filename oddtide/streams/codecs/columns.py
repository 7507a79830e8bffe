"""Batches: many readings in one record, as columns.

``{"series": "pump-1" | [...], "time": [...], "value": [...]}``, or ``"features": {"a": [...], "b": [...]}``; ``series``
and ``labels`` may be one for all rows or a list, and what is absent falls back as for a single reading. All lists must
have one length, else the record is refused as a whole; beyond that each row stands for itself: it means exactly what
a single reading of its fields would mean, and a bad row is refused alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.errors import DecodeError
from oddtide.domain.quality.reasons import Reason
from oddtide.domain.readings import FloatArray, IntArray, LabelsColumn, SeriesColumn
from oddtide.streams.codecs.blocks import Block, RowRefusal
from oddtide.streams.codecs.json_reading import (
    Origin,
    Rules,
    check_fields,
    given_features,
    plain_names,
    read_labels,
    read_one,
    read_series,
)
from oddtide.streams.codecs.refusing import refusal, show
from oddtide.streams.codecs.times import Nanoseconds, nanoseconds

__all__ = ["MAX_ROWS", "Columns", "check_rows", "is_batch", "read_batch", "read_columns"]

#: Most readings in one record.
MAX_ROWS: Final = 50_000

_NUMBERS = frozenset({float, int})
_SHOWN_SERIES = 100
BoolArray = NDArray[np.bool_]


@dataclass(slots=True)
class Columns:
    """A batch opened. ``times`` as an array is in nanoseconds. Where a feature is an array, ``absent`` masks what is
    missing in it; a NaN beside that is one that the producer sent."""

    rows: int
    series: object
    times: Sequence[object] | IntArray
    features: Mapping[str, Sequence[object] | FloatArray]
    labels: object
    absent: Mapping[str, BoolArray]


def is_batch(document: object, rules: Rules) -> bool:
    """Whether a JSON document is meant as columns: its time, its value or a declared feature is a list."""
    if not isinstance(document, dict):
        return False
    features = document.get("features")
    cells = [features.get(name) for name in rules.names] if isinstance(features, dict) else []
    if rules.value in rules.names:
        cells.append(document.get("value"))
    return any(isinstance(cell, list) for cell in (document.get("time"), *cells))


def read_batch(document: object, origin: Origin, rules: Rules, position: int) -> tuple[Block, list[RowRefusal]]:
    """A batch in JSON columns. Raises ``DecodeError`` where the record as a whole is refused."""
    fields = check_fields(document, rules)
    features = _features(given_features(fields.get("value"), fields.get("features"), rules), rules)
    series, times, labels = fields.get("series"), fields.get("time"), fields.get("labels")
    if times is not None and not isinstance(times, list):
        raise refusal(Reason.UNEQUAL_COLUMNS, f"time is {show(times)}, not a list")
    named = {f"feature {show(name)}": column for name, column in features.items()}
    rows = _length({"series": series, "time": times, "labels": labels, **named})
    columns = Columns(
        rows=rows,
        series=series,
        times=[None] * rows if times is None else times,
        features=features,
        labels=labels,
        absent={},
    )
    return read_columns(columns, origin, rules, position)


def _features(given: Mapping[str, object], rules: Rules) -> dict[str, list[object]]:
    """The declared features' columns; null is an absent column."""
    features = {}
    for name in rules.names:
        column = given.get(name)
        if isinstance(column, list):
            features[name] = column
        elif column is not None:
            raise refusal(Reason.UNEQUAL_COLUMNS, f"feature {show(name)} is {show(column)}, not a list")
    return features


def _length(columns: Mapping[str, object]) -> int:
    """The one length of all lists. Raises ``DecodeError``."""
    lengths = {name: len(column) for name, column in columns.items() if isinstance(column, list)}
    if len(set(lengths.values())) > 1:
        pairs = ", ".join(f"{name} {length}" for name, length in list(lengths.items())[:5])
        raise refusal(Reason.UNEQUAL_COLUMNS, f"columns of unequal length: {pairs}")
    rows = next(iter(lengths.values()))
    check_rows(rows)
    return rows


def check_rows(rows: int) -> None:
    """Refuse a batch of no rows or of too many."""
    if rows == 0:
        raise refusal(Reason.EMPTY, "the batch has no rows")
    if rows > MAX_ROWS:
        raise refusal(Reason.TOO_LARGE, f"{rows} readings in one record; at most {MAX_ROWS} are taken")


def read_columns(columns: Columns, origin: Origin, rules: Rules, position: int) -> tuple[Block, list[RowRefusal]]:
    """The clean rows in a few array passes; each other row by the rules for a single reading."""
    series, clean = _series(columns, origin, rules)
    times, ok = _times(columns)
    clean &= ok
    values = np.full((columns.rows, len(rules.names)), np.nan)
    for place, (name, required) in enumerate(zip(rules.names, rules.required, strict=True)):
        values[:, place], ok = _numbers(columns, name, required)
        clean &= ok
    clean &= ~np.isnan(values).all(axis=1)
    labels, ok = _labels(columns, rules)
    clean &= ok
    refused: list[RowRefusal] = []
    for row in np.flatnonzero(~clean).tolist():
        document = _row(columns, row)
        try:
            single = read_one(document, origin, rules)
        except DecodeError as error:
            refused.append((row, error.reason, error.detail, _shown(document["series"], series[row])))
        else:
            series[row], times[row], values[row] = single.series, single.time, single.values
            labels[row] = single.labels
            clean[row] = True
    return _block(position, series, times, values, labels, clean), refused


def _series(columns: Columns, origin: Origin, rules: Rules) -> tuple[list[str], BoolArray]:
    given = columns.series if isinstance(columns.series, list) else [columns.series]
    if isinstance(columns.series, list) and plain_names(given, rules):
        return list(given), np.ones(len(given), dtype=np.bool_)
    known: dict[object, str] = {}
    for name in {name for name in given if name is None or isinstance(name, str)}:
        try:
            known[name] = read_series(name, origin, rules)
        except DecodeError:
            continue
    names = [known.get(name, "") if name is None or isinstance(name, str) else "" for name in given]
    if not isinstance(columns.series, list):
        names = names * columns.rows
    return names, np.array([bool(name) for name in names], dtype=np.bool_)


def _times(columns: Columns) -> tuple[IntArray, BoolArray]:
    if isinstance(columns.times, np.ndarray):
        return columns.times.copy(), np.ones(columns.rows, dtype=np.bool_)
    return nanoseconds(columns.times)


def _numbers(columns: Columns, name: str, required: bool) -> tuple[FloatArray, BoolArray]:
    missing = np.full(columns.rows, np.nan), np.full(columns.rows, not required, dtype=np.bool_)
    column = columns.features.get(name)
    if column is None:
        return missing
    absent = columns.absent.get(name)
    if not isinstance(column, np.ndarray):
        if not set(map(type, column)) <= _NUMBERS:
            return np.full(columns.rows, np.nan), np.zeros(columns.rows, dtype=np.bool_)
        column = np.array(column, dtype=np.float64)
    ok = np.isfinite(column)
    if absent is not None and not required:
        ok |= absent
    return np.where(np.isfinite(column), column, np.nan), ok


def _labels(columns: Columns, rules: Rules) -> tuple[list[Mapping[str, str] | None], BoolArray]:
    found: list[Mapping[str, str] | None] = [None] * columns.rows
    ok = np.ones(columns.rows, dtype=np.bool_)
    if columns.labels is None:
        return found, ok
    if not isinstance(columns.labels, list):
        try:
            return [read_labels(columns.labels, rules)] * columns.rows, ok
        except DecodeError:
            return found, np.zeros(columns.rows, dtype=np.bool_)
    for row, labels in enumerate(columns.labels):
        try:
            found[row] = read_labels(labels, rules)
        except DecodeError:
            ok[row] = False
    return found, ok


def _row(columns: Columns, row: int) -> dict[str, object]:
    """The row as the single reading it stands for."""
    document: dict[str, object] = {
        "series": columns.series[row] if isinstance(columns.series, list) else columns.series,
        "time": Nanoseconds(columns.times[row]) if isinstance(columns.times, np.ndarray) else columns.times[row],
        "labels": columns.labels[row] if isinstance(columns.labels, list) else columns.labels,
        "features": {name: _cell(columns, name, row) for name in columns.features},
    }
    return document


def _cell(columns: Columns, name: str, row: int) -> object:
    absent = columns.absent.get(name)
    if absent is not None and absent[row]:
        return None
    cell = columns.features[name][row]
    return float(cell) if isinstance(cell, np.floating) else cell


def _shown(given: object, known: str) -> str:
    name = known or given
    return name[:_SHOWN_SERIES] if isinstance(name, str) else ""


def _block(
    position: int,
    series: list[str],
    times: IntArray,
    values: FloatArray,
    labels: list[Mapping[str, str] | None],
    clean: BoolArray,
) -> Block:
    rows = np.flatnonzero(clean)
    if len(rows) < len(series):
        picks = rows.tolist()
        series, labels = [series[i] for i in picks], [labels[i] for i in picks]
        times, values = times[rows], values[rows]
    return Block(
        records=np.full(len(rows), position, dtype=np.int64),
        rows=rows.astype(np.int64),
        series=SeriesColumn.of(series),
        times=times,
        values=values,
        labels=LabelsColumn.of(labels),
    )
