"""What comes out of a table: rows as plain values, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from oddtide.adapters.files.cells import CellError, number, time_ns
from oddtide.adapters.files.columns import TableColumns
from oddtide.domain.quality.reasons import Reason

__all__ = ["RawRow", "RefusedRow", "Row", "RowMaker", "TableRow"]

_SECOND = 1_000_000_000
#: 2000-01-01T00:00:00Z: rows without a time count from here, since a reading of 1970 is taken for a mistake.
ROW_EPOCH_NS = 946_684_800 * _SECOND


class TableRow(NamedTuple):
    """One reading: ``line`` of the file (from 1), ``time`` in ns since 1970; a missing feature is left out."""

    line: int
    series: str
    time: int
    values: Mapping[str, float]
    labels: Mapping[str, str] | None = None


class RawRow(NamedTuple):
    """A line that is a JSON reading already, to be judged by the pipeline as it stands; ``series`` is its key."""

    line: int
    series: str
    raw: bytes


class RefusedRow(NamedTuple):
    """A line that did not become a reading. ``reason`` is one of the pipeline's, ``wrong_columns`` or ``not_csv``."""

    line: int
    reason: str
    detail: str


Row: TypeAlias = TableRow | RawRow | RefusedRow


class RowMaker:
    """Makes readings of rows of cells. A cell is text (CSV) or a JSON value; None and blank text are missing."""

    def __init__(self, columns: TableColumns, header: Sequence[str], name: str, *, comma: bool = False) -> None:
        place = {column: i for i, column in enumerate(header)}
        self._time = place.get(columns.time, -1) if columns.time else -1
        self._series = place.get(columns.series, -1) if columns.series else -1
        self._features = [(feature, place[column]) for feature, column in columns.features.items()]
        self._labels = [(column, place[column]) for column in columns.labels]
        self._name = name
        self._comma = comma
        self._header = header

    def make(self, line: int, index: int, cells: Sequence[object]) -> Row:
        """The reading in row ``index`` (from 0), found on ``line``."""
        try:
            return TableRow(line, self._key(cells), self._when(index, cells), self._numbers(cells), self._marks(cells))
        except CellError as error:
            return RefusedRow(line, error.reason, error.detail)

    def _key(self, cells: Sequence[object]) -> str:
        if self._series < 0:
            return self._name
        key = _text(cells[self._series])
        if not key:
            raise CellError(Reason.MISSING_SERIES, f"the column {self._header[self._series]!r} is empty")
        return key

    def _when(self, index: int, cells: Sequence[object]) -> int:
        if self._time < 0:
            return ROW_EPOCH_NS + index * _SECOND
        cell = cells[self._time]
        if _missing(cell):
            raise CellError(Reason.MISSING_TIME, f"the column {self._header[self._time]!r} is empty")
        try:
            return time_ns(cell if isinstance(cell, str) else str(cell))
        except CellError as error:
            raise CellError(error.reason, f"{self._header[self._time]}: {error.detail}") from None

    def _numbers(self, cells: Sequence[object]) -> dict[str, float]:
        values = {}
        for feature, place in self._features:
            cell = cells[place]
            if _missing(cell):
                continue
            try:
                values[feature] = self._number(cell)
            except CellError as error:
                raise CellError(error.reason, f"{self._header[place]}: {error.detail}") from None
        if not values:
            names = ", ".join(self._header[place] for _, place in self._features)
            raise CellError(Reason.MISSING_FEATURE, f"nothing in {names}")
        return values

    def _number(self, cell: object) -> float:
        if isinstance(cell, str):
            return number(cell, comma=self._comma)
        return number(str(cell))

    def _marks(self, cells: Sequence[object]) -> dict[str, str] | None:
        if not self._labels:
            return None
        return {column: _text(cells[place]) for column, place in self._labels if not _missing(cells[place])}


def _missing(cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and (not cell or cell.isspace()))


def _text(cell: object) -> str:
    text = "" if cell is None else str(cell).strip()
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode()[:60]
        raise CellError(Reason.WRONG_ENCODING, f"{shown!r} is not UTF-8") from None
    return text
