"""Printing what a command found: a table for people, JSON or JSON lines for programs. Always to stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import rich_click as click

__all__ = ["Row", "console", "emit", "emit_line", "emit_one", "grid", "note", "plain", "to_json"]

Row = Mapping[str, Any]

_WIDE = 10_000


def plain(value: Any) -> Any:
    """``value`` as JSON knows it: structs as objects, NaN and infinities as null."""
    import orjson

    return orjson.loads(orjson.dumps(msgspec.to_builtins(value, enc_hook=str), option=orjson.OPT_NON_STR_KEYS))


def to_json(value: Any, *, indent: bool = False) -> str:
    """``value`` as JSON text."""
    import orjson

    option = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(msgspec.to_builtins(value, enc_hook=str), option=option).decode()


def emit(rows: Iterable[Row], *, output: str, columns: Sequence[str] = (), empty: str = "nothing to show") -> None:
    """Print ``rows``. ``columns`` picks and orders what the table shows (default: all); JSON always has every key.

    With ``jsonl`` rows are printed as they come; the others wait for the last.
    """
    if output == "jsonl":
        for row in rows:
            emit_line(row)
        return
    every = list(rows)
    if output == "json":
        click.echo(to_json(every, indent=True))
    elif not every:
        note(empty)
    else:
        _table(every, columns or list(every[0]))


def emit_one(row: Row, *, output: str) -> None:
    """Print one thing: its fields below one another, or as one JSON object."""
    if output != "table":
        click.echo(to_json(row, indent=output == "json"))
        return
    _print_grid([(str(name), _cell(value)) for name, value in row.items()])


def emit_line(value: Any) -> None:
    """One JSON object on one line."""
    click.echo(to_json(value))


def note(text: str) -> None:
    """A remark for the person: to stderr, so that it never mixes with data."""
    click.echo(text, err=True)


def console(*, stderr: bool = False) -> Any:
    """A rich console; where the stream is no terminal it never cuts or wraps a line."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, soft_wrap=False, highlight=False)


def _table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    if sys.stdout.isatty():
        console().print(grid(rows, columns))
        return
    _print_aligned([_heads(columns), *_cells(rows, columns)], _numeric(rows, columns))


def grid(rows: Sequence[Row], columns: Sequence[str]) -> Any:
    """``rows`` as a table for a terminal."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head, right in zip(_heads(columns), _numeric(rows, columns), strict=True):
        table.add_column(head, justify="right" if right else "left", overflow="fold")
    for line in _cells(rows, columns):
        table.add_row(*map(escape, line))
    return table


def _heads(columns: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in columns]


def _cells(rows: Sequence[Row], columns: Sequence[str]) -> list[list[str]]:
    return [[_cell(row.get(name)) for name in columns] for row in rows]


def _numeric(rows: Sequence[Row], columns: Sequence[str]) -> list[bool]:
    return [_is_numeric([row.get(name) for row in rows]) for name in columns]


def _is_numeric(values: Sequence[Any]) -> bool:
    numbers = [value for value in values if value is not None]
    return bool(numbers) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in numbers)


def _print_grid(pairs: Sequence[tuple[str, str]]) -> None:
    lines = [[name.replace("_", " "), value] for name, value in pairs]
    if not sys.stdout.isatty():
        _print_aligned(lines, [False, False])
        return
    from rich.markup import escape
    from rich.table import Table

    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row(*map(escape, line))
    console().print(grid)


def _print_aligned(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    """Columns by blanks, no line cut or wrapped: for pipes and files."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(right))]
    for line in lines:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple, set)) and all(isinstance(item, (str, int)) for item in value):
        return ", ".join(str(item) for item in value) or "-"
    return str(value) if isinstance(value, int) else to_json(value)
