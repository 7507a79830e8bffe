"""Options that say which column of a table means what, for the commands that read files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

__all__ = ["column_names", "column_options"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_OPTIONS = (
    ("--series", "series", "COLUMN", "Column of the series.  [default: series, if there]"),
    ("--time", "time_", "COLUMN", "Column of the time.  [default: timestamp, time …]"),
    ("--value", "value", "COLUMN", "Column of the value, where there is one feature."),
    ("--features", "features", "A,B,...", "Columns of the features, where there are several."),
)


def column_options(command: _Command) -> _Command:
    """``--series``, ``--time``, ``--value`` and ``--features``."""
    for option, name, metavar, text in reversed(_OPTIONS):
        command = click.option(option, name, default="", metavar=metavar, help=text)(command)
    return command


def column_names(text: str) -> tuple[str, ...]:
    """Names with commas between."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
