"""Pieces of a page: sections, tables, numbers. Whatever comes from data is escaped here, unless it is :class:`Html`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from oddtide.config.report.style import STYLE

__all__ = ["NONE", "Html", "document", "legend", "note", "number", "section", "table"]

NONE = "\u2013"


class Html(str):
    """HTML of our own, not to be escaped."""

    __slots__ = ()


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page of ``parts``, which are HTML; the title is text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def section(title: str, body: str) -> str:
    """A part of a page under a heading of ours."""
    return f"<section><h2>{title}</h2>{body}</section>"


def note(text: str) -> str:
    """Something to know before reading on."""
    return f'<p class="note" role="note">{escape(text)}</p>'


def legend(items: Iterable[tuple[str, str]]) -> str:
    """(mark in a 12 by 12 picture, what it means): both of ours."""
    shown = (f'<li><svg viewBox="0 0 12 12" aria-hidden="true">{mark}</svg>{escape(text)}</li>' for mark, text in items)
    return f'<ul class="legend">{"".join(shown)}</ul>'


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], caption: str, empty: str = "kind") -> str:
    """A table; columns of nothing but numbers are aligned to the right. ``empty`` is read out for a blank head."""
    numeric = [bool(rows) and all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(heads))]
    head = "".join(
        f'<th scope="col"{_class(right)}>{escape(name) or f"<span hidden>{empty}</span>"}</th>'
        for name, right in zip(heads, numeric, strict=True)
    )
    lines = (
        "".join(f"<td{_class(right)}>{_html(cell)}</td>" for cell, right in zip(row, numeric, strict=True))
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def number(value: float | None) -> str:
    """Four digits, or all of a whole number; a dash for none."""
    if value is None or math.isnan(value):
        return NONE
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _class(numeric: bool) -> str:
    return ' class="n"' if numeric else ""


def _html(cell: Any) -> str:
    return cell if isinstance(cell, Html) else escape(cell if isinstance(cell, str) else number(cell))
