"""Verdicts on stdout, batch by batch: memory does not grow with them, except for one JSON document."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
import rich_click as click

from oddtide.config.cli.output import note
from oddtide.config.facade.detections import COLUMNS, columns_of, pick
from oddtide.streams.pipeline.verdicts import VerdictColumns

__all__ = ["VerdictWriter"]

_ENCODER = msgspec.json.Encoder()
#: What a table shows: (column, width). The last one may be as wide as it likes.
_FOUND = (("time", 30), ("series", 20), ("value", 12), ("score", 9), ("p_value", 9), ("reason", 0))
_EVERY = (
    ("time", 30), ("series", 20), ("value", 12), ("expected", 12), ("lower", 12), ("upper", 12), ("score", 9),
    ("p_value", 9), ("maturity", 8), ("is_anomaly", 10), ("id", 0),
)  # fmt: skip


class VerdictWriter:
    """Prints verdicts as ``output`` says: all of them, or the anomalies alone."""

    def __init__(self, output: str, *, everything: bool) -> None:
        self._everything = everything
        self._written = 0
        self._least = 1.0
        self._mature = False
        self._output = output
        self._shape = _EVERY if everything else _FOUND
        writers: dict[str, Callable[[VerdictColumns], str]] = {
            "table": self._table, "json": self._json, "jsonl": self._jsonl, "csv": self._csv,
        }  # fmt: skip
        self._text = writers[output]

    def write(self, verdicts: VerdictColumns) -> None:
        """Print what there is to print of one batch."""
        self._least = float(np.min(verdicts.scores.p_value, initial=self._least))
        self._mature = self._mature or bool(np.any(verdicts.scores.seen >= verdicts.needed))
        chosen = verdicts if self._everything else pick(verdicts, verdicts.anomalies)
        if len(chosen):
            click.echo(self._text(chosen), nl=False)
            self._written += len(chosen)

    def end(self) -> None:
        """Close the document; say so where a person would see nothing."""
        if self._output == "json":
            click.echo("\n]" if self._written else "[]")
        elif self._output == "csv" and not self._written:
            click.echo(_csv_text([(*COLUMNS, "reason")]), nl=False)
        elif self._output == "table" and not self._written:
            note(f"no anomalies{self._hint()}")

    def _hint(self) -> str:
        if self._least < 1.0:
            return f"; the least p-value is {self._least:.2g} (--p-value sets the limit)"
        return "" if self._mature else ": no reading was judged yet, the detectors were warming up to the end"

    def _jsonl(self, verdicts: VerdictColumns) -> str:
        return "".join(f"{_ENCODER.encode(verdict).decode()}\n" for verdict in verdicts)

    def _json(self, verdicts: VerdictColumns) -> str:
        lead = ",\n" if self._written else "[\n"
        return lead + ",\n".join(_ENCODER.encode(verdict).decode() for verdict in verdicts)

    def _csv(self, verdicts: VerdictColumns) -> str:
        columns = columns_of(verdicts)
        cells = [[_plain(cell) for cell in _column(columns[name])] for name in COLUMNS]
        head = [] if self._written else [(*COLUMNS, "reason")]
        return _csv_text([*head, *zip(*cells, _reasons(verdicts), strict=True)])

    def _table(self, verdicts: VerdictColumns) -> str:
        columns = columns_of(verdicts)
        columns["reason"] = [] if self._everything else _reasons(verdicts)
        shown = [[_cell(cell) for cell in _column(columns[name])] for name, _ in self._shape]
        lines = [] if self._written else [_line((name.replace("_", " "), width) for name, width in self._shape)]
        widths = [width for _, width in self._shape]
        lines += [_line(zip(row, widths, strict=True)) for row in zip(*shown, strict=True)]
        return "".join(f"{line}\n" for line in lines)


def _reasons(verdicts: VerdictColumns) -> list[str]:
    hits = set(verdicts.anomalies.tolist())
    return [verdicts.verdict(i).reason if i in hits else "" for i in range(len(verdicts))]


def _column(values: Any) -> Iterable[Any]:
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return [_moment(text) for text in np.datetime_as_string(values)]
    return list(values.tolist() if isinstance(values, np.ndarray) else values)


def _moment(text: Any) -> str:
    stem, _, fraction = str(text).partition(".")
    rest = fraction.rstrip("0")
    return f"{stem}.{rest}Z" if rest else f"{stem}Z"


def _plain(cell: Any) -> Any:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return "" if isinstance(cell, float) and math.isnan(cell) else cell


def _cell(cell: Any) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return "-" if math.isnan(cell) else f"{cell:.6g}"
    return str(cell)


def _line(cells: Iterable[tuple[str, int]]) -> str:
    return "  ".join(text.ljust(width) for text, width in cells).rstrip()


def _csv_text(rows: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
