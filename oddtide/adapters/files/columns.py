"""Which column of a table means what: as told, or inferred from names and first values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from oddtide.domain.errors import UsageError

__all__ = ["LABEL_NAMES", "TIME_NAMES", "ColumnKind", "TableColumns", "TableOptions", "resolve"]

#: Names by which a time column is known, in this order, whatever their case.
TIME_NAMES = ("timestamp", "time", "ts", "date", "datetime")
#: Names of columns that hold the truth about anomalies: never taken for features unless asked for by name.
LABEL_NAMES = frozenset({"label", "labels", "anomaly", "is_anomaly", "changepoint", "class"})
_SERIES, _VALUE = "series", "value"

ColumnKind = Literal["number", "text", "empty"]


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What a person says about a table; everything may stay empty.

    ``time``, ``series``, ``value``  names of columns
    ``features``                     numeric columns that make up one reading (instead of ``value``)
    ``labels``                       columns carried along as the reading's labels
    ``name``                         the series' name where no column holds one (default: the file's name)
    ``format``                       ``csv`` or ``jsonl`` (default: by the first character)
    """

    time: str = ""
    series: str = ""
    value: str = ""
    features: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    name: str = ""
    format: Literal["", "csv", "jsonl"] = ""

    @property
    def names_columns(self) -> bool:
        """Whether any column was named."""
        return bool(self.time or self.series or self.value or self.features or self.labels)


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns in use. ``features`` maps a feature's name to its column; one plain ``value`` column is the feature
    ``value``. An empty ``time`` means that rows are numbered, an empty ``series`` that all rows are one series."""

    time: str
    series: str
    features: Mapping[str, str]
    labels: tuple[str, ...] = ()


def resolve(options: TableOptions, kinds: Mapping[str, ColumnKind]) -> tuple[TableColumns, list[str]]:
    """The columns to use, and what a person should know about the choice.

    Inference: the first of :data:`TIME_NAMES` is the time, ``series`` the series, ``value`` the value; without a
    column ``value`` every other numeric column but :data:`LABEL_NAMES` is a feature, and a single one is the value.

    Raises ``UsageError`` for a named column that is not there or where no number is to be found.
    """
    _check_named(options, list(kinds))
    lower = {name.lower(): name for name in reversed(list(kinds))}
    time = options.time or next((lower[name] for name in TIME_NAMES if name in lower), "")
    series = options.series or lower.get(_SERIES, "")
    taken = {time, series, *options.labels}
    features, left = _features(options, kinds, taken, lower)
    return TableColumns(time, series, features, options.labels), _notes(time, left)


def _features(
    options: TableOptions, kinds: Mapping[str, ColumnKind], taken: set[str], lower: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    numeric = [name for name, kind in kinds.items() if kind == "number" and name and name not in taken]
    plain = [name for name in numeric if name.lower() not in LABEL_NAMES]
    if options.features:
        return {name: name for name in options.features}, []
    value = options.value or (lower.get(_VALUE, "") if lower.get(_VALUE) in kinds else "")
    if value and value not in taken:
        return {_VALUE: value}, [name for name in plain if name != value]
    if not plain:
        raise UsageError(
            f"There is no column of numbers among {_listed(list(kinds))}.",
            remedy="Name one with --value, or several with --features.",
        )
    if len(plain) == 1:
        return {_VALUE: plain[0]}, []
    return {name: name for name in plain}, []


def _check_named(options: TableOptions, names: Sequence[str]) -> None:
    if options.value and options.features:
        raise UsageError("Both a value column and features are named.", remedy="Give --value or --features.")
    for name in (options.time, options.series, options.value, *options.features, *options.labels):
        if name and name not in names:
            near = get_close_matches(name, names, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else "Check the spelling."
            raise UsageError(f"There is no column {name!r}; there are {_listed(names)}.", remedy=remedy)


def _notes(time: str, left: list[str]) -> list[str]:
    notes = []
    if not time:
        notes.append("no time column: row n counts as n seconds after 2000-01-01T00:00:00Z (name one with --time)")
    if left:
        notes.append(f"only the column 'value' is used; left out: {_listed(left)} (name several with --features)")
    return notes


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
