"""Tables of readings as people have them: CSV and JSON lines, plain or gzipped, from a file or standard input.

Read as a stream: memory does not grow with the file, and what stands in a live pipe is handed on at once. A row that
cannot be used never stops the run; it comes out as a :class:`RefusedRow` with its line and the reason.

CSV: commas, semicolons, tabs or bars, told by the header line, which must be there; quotes as RFC 4180; a decimal
comma is understood where semicolons separate. JSON lines: an object a line. Objects of nothing but ``series``,
``time``, ``value``, ``features`` and ``labels`` are readings already and pass through untouched when no column was
named; of any other the columns are found as in a CSV.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import orjson

from oddtide.adapters.files.cells import is_number
from oddtide.adapters.files.columns import ColumnKind, TableColumns, TableOptions, resolve
from oddtide.adapters.files.rows import RawRow, RefusedRow, Row, RowMaker, TableRow
from oddtide.adapters.files.sources import LineSource, open_lines
from oddtide.domain.errors import UsageError
from oddtide.domain.quality.reasons import Reason

__all__ = ["RawRow", "RefusedRow", "Row", "Table", "TableColumns", "TableOptions", "TableRow", "open_table"]

_LOOK_AHEAD = 100
_BATCH = 4_096
_READING = frozenset({"series", "time", "value", "features", "labels", "id"})
_DELIMITERS = ",;\t|"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Table:
    """An open table: ``columns`` in use (None for readings that pass through), ``notes`` for the person at the
    screen, and the rows, once, through :meth:`batches` or iteration. Close it, or use it in a ``with``."""

    def __init__(
        self,
        lines: LineSource,
        rows: Iterator[Row],
        columns: TableColumns | None,
        notes: list[str],
        features: list[str],
    ) -> None:
        self.name = lines.name
        self.columns = columns
        self.notes = notes
        self.features = tuple(features)
        self._lines = lines
        self._rows = rows

    def batches(self, size: int = _BATCH) -> Iterator[list[Row]]:
        """Rows in order, in lists of at most ``size``; sooner where the next row is not there yet."""
        batch: list[Row] = []
        for row in self._rows:
            batch.append(row)
            if len(batch) >= size or not self._lines.pending:
                yield batch
                batch = []
        if batch:
            yield batch

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_table(source: str | Path | BinaryIO, options: TableOptions | None = None) -> Table:
    """Open a table and find its columns, looking no further ahead than it takes to tell numbers from text.

    Raises ``UsageError`` for what is no table or lacks a named column, and what :func:`open_lines` raises.
    """
    options = options or TableOptions()
    lines = open_lines(source)
    try:
        return _open(lines, options)
    except BaseException:
        lines.close()
        raise


def _open(lines: LineSource, options: TableOptions) -> Table:
    first, skipped = _first_line(lines)
    form = options.format or ("jsonl" if first.lstrip()[:1] == b"{" else "csv")
    name = options.name or _series_name(lines.name)
    if form == "jsonl":
        return _open_json(lines, skipped, options, name)
    return _open_csv(lines, first, skipped, options, name)


def _first_line(lines: LineSource) -> tuple[bytes, int]:
    for skipped, line in enumerate(lines):
        line = line.removeprefix(_BYTE_ORDER_MARK)
        if line.strip():
            lines.push_back([line])
            return line, skipped
    raise UsageError(f"{lines.name} is empty.", remedy="It needs a header line and rows, or a JSON object a line.")


def _series_name(name: str) -> str:
    stem = Path(name).name
    for suffix in (".gz", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt"):
        stem = stem.removesuffix(suffix)
    return "stdin" if name == "standard input" else stem.encode("utf-8", "replace").decode() or "input"


# ---------------------------------------------------------------------------------------------------- CSV


def _open_csv(lines: LineSource, first: bytes, skipped: int, options: TableOptions, name: str) -> Table:
    _check_text(lines.name, first)
    delimiter = max(_DELIMITERS, key=lambda mark: len(next(csv.reader([_decode(first)], delimiter=mark))))
    reader = csv.reader((_decode(line) for line in lines), delimiter=delimiter)
    header = [cell.strip() for cell in next(reader)]
    comma = delimiter == ";"
    _check_header(lines.name, header, comma)
    ahead = _Ahead(reader, skipped)
    columns, notes = resolve(options, ahead.kinds(header, comma))
    maker = RowMaker(columns, header, name, comma=comma)
    return Table(lines, _csv_rows(ahead, maker, len(header)), columns, notes, list(columns.features))


def _check_text(name: str, first: bytes) -> None:
    try:
        readable = first.decode().replace("\t", "").strip().isprintable()
    except UnicodeDecodeError:
        readable = False
    if not readable:
        raise UsageError(
            f"{name} does not begin with a line of UTF-8 text but with {first[:16]!r}.",
            remedy="It needs a header line and rows, or a JSON object a line; convert other encodings to UTF-8.",
        )


def _check_header(name: str, header: list[str], comma: bool) -> None:
    if any(is_number(cell, comma=comma) for cell in header):
        raise UsageError(
            f"{name} begins with {','.join(header)[:60]!r}, which looks like data, not column names.",
            remedy="Put a header line such as timestamp,value on top.",
        )
    doubled = sorted({cell for cell in header if cell and header.count(cell) > 1})
    if doubled:
        raise UsageError(f"{name} has two columns named {doubled[0]!r}.", remedy="Rename one.")


class _Ahead:
    """A csv reader that can look ahead. Yields (line, cells), or (line, message) for what is no CSV."""

    def __init__(self, reader: Iterator[list[str]], skipped: int) -> None:
        self._reader = reader
        self._skipped = skipped
        self._line = skipped + 2
        self._seen: list[tuple[int, list[str] | str]] = []

    def kinds(self, header: list[str], comma: bool) -> dict[str, ColumnKind]:
        """What each column holds, by its first cell that is not blank."""
        kinds: dict[str, ColumnKind] = dict.fromkeys(header, "empty")
        for _ in range(_LOOK_AHEAD):
            row = self._next()
            if row is None:
                break
            self._seen.append(row)
            cells = row[1] if isinstance(row[1], list) else []
            for column, cell in zip(header, cells, strict=False):
                if kinds[column] == "empty" and cell.strip():
                    kinds[column] = "number" if is_number(cell, comma=comma) else "text"
            if "empty" not in kinds.values():
                break
        return kinds

    def __iter__(self) -> Iterator[tuple[int, list[str] | str]]:
        yield from self._seen
        self._seen = []
        while (row := self._next()) is not None:
            yield row

    def _next(self) -> tuple[int, list[str] | str] | None:
        line = self._line
        try:
            cells: list[str] | str = next(self._reader)
        except StopIteration:
            return None
        except csv.Error as error:
            cells = str(error)
        self._line = self._skipped + self._reader.line_num + 1  # type: ignore[attr-defined]  # csv.reader has it, Iterator does not
        return line, cells


def _csv_rows(ahead: _Ahead, maker: RowMaker, width: int) -> Iterator[Row]:
    index = 0
    for line, cells in ahead:
        if not cells:
            continue
        if isinstance(cells, str):
            yield RefusedRow(line, "not_csv", cells)
        elif len(cells) != width:
            yield RefusedRow(line, "wrong_columns", f"{len(cells)} cells where the header has {width}")
        else:
            yield maker.make(line, index, cells)
        index += 1


def _decode(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


# --------------------------------------------------------------------------------------------- JSON lines


def _open_json(lines: LineSource, skipped: int, options: TableOptions, name: str) -> Table:
    sample, kinds = _look_at_json(lines)
    lines.push_back(sample)
    if not options.names_columns and _READING.issuperset(kinds):
        return Table(lines, _raw_rows(lines, skipped, name), None, [], _features_of(sample))
    columns, notes = resolve(options, kinds)
    maker = RowMaker(columns, list(kinds), name)
    return Table(lines, _json_rows(lines, skipped, maker, list(kinds)), columns, notes, list(columns.features))


def _look_at_json(lines: LineSource) -> tuple[list[bytes], dict[str, ColumnKind]]:
    sample: list[bytes] = []
    kinds: dict[str, ColumnKind] = {}
    for line in islice(lines, _LOOK_AHEAD):
        sample.append(line)
        for name, value in (_object(line) or {}).items():
            if kinds.get(name, "empty") == "empty":
                kinds[name] = _kind(value)
        if not lines.pending:
            break
    return sample, kinds


def _kind(value: object) -> ColumnKind:
    if value is None or value == "":
        return "empty"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else "text"


def _object(line: bytes) -> dict[str, object] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _features_of(sample: list[bytes]) -> list[str]:
    names: dict[str, None] = {}
    for line in sample:
        features = (_object(line) or {}).get("features")
        names |= dict.fromkeys(features if isinstance(features, dict) else ())
    return list(names) or ["value"]


def _raw_rows(lines: LineSource, skipped: int, name: str) -> Iterator[Row]:
    for line, raw in enumerate(lines, skipped + 1):
        if raw.strip():
            series = (_object(raw) or {}).get("series")
            yield RawRow(line, series if isinstance(series, str) and series else name, raw.rstrip(b"\r\n"))


def _json_rows(lines: LineSource, skipped: int, maker: RowMaker, names: list[str]) -> Iterator[Row]:
    index = 0
    for line, raw in enumerate(lines, skipped + 1):
        if not raw.strip():
            continue
        found = _object(raw)
        if found is None:
            yield RefusedRow(line, Reason.NOT_JSON, f"{raw[:60]!r} is not a JSON object")
        else:
            yield maker.make(line, index, [found.get(name) for name in names])
        index += 1
