"""A few readings drawn with characters: as wide as the terminal, and in plain ASCII where it knows no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Point", "draw", "drawable", "legend", "sparkline"]

#: reading, reading that was an anomaly, the one in question, expected value, band
_FINE = "·x●─░"
_PLAIN = ".x@-:"
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-~=*#"
_MARGIN = 12


class Point(NamedTuple):
    """One reading; None where there is none, or the method has none."""

    value: float | None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    anomaly: bool = False


def draw(points: Sequence[Point], *, width: int, height: int = 9, plain: bool = False) -> list[str]:
    """Lines of at most ``width`` characters: as many of the last points as there is room for, a column each, the last
    one marked; scale at the left. Empty where there is nothing to draw."""
    shown = points[-max(width - _MARGIN, 8) :]
    numbers = [each for point in shown for each in point[:4] if each is not None]
    if not numbers:
        return []
    low, high = min(numbers), max(numbers)
    grid = [[" "] * len(shown) for _ in range(height)]
    marks = _PLAIN if plain else _FINE

    def row(value: float) -> int:
        share = 0.5 if high == low else (value / 2 - low / 2) / (high / 2 - low / 2)
        return height - 1 - round(min(max(share, 0.0), 1.0) * (height - 1))

    for column, point in enumerate(shown):
        _fill(grid, column, point, row, marks)
        if point.value is not None:
            last = column == len(shown) - 1
            grid[row(point.value)][column] = marks[2] if last else marks[1] if point.anomaly else marks[0]
    labels = {0: high, height - 1: low}
    side = "|" if plain else "│"
    return [
        f"{_label(labels[y]) if y in labels else '':>{_MARGIN - 2}} {side}{''.join(line).rstrip()}"
        for y, line in enumerate(grid)
    ]


def _fill(grid: list[list[str]], column: int, point: Point, place: Callable[[float], int], marks: str) -> None:
    if point.lower is not None and point.upper is not None:
        for y in range(place(point.upper), place(point.lower) + 1):
            grid[y][column] = marks[4]
    if point.expected is not None:
        grid[place(point.expected)][column] = marks[3]


def sparkline(values: Sequence[float], *, plain: bool = False) -> str:
    """One line: the height of each value between the least and the greatest."""
    bars = _PLAIN_BARS if plain else _BARS
    low, high = min(values), max(values)
    spread = (high / 2 - low / 2) or 1.0
    return "".join(bars[round((value / 2 - low / 2) / spread * (len(bars) - 1))] for value in values)


def legend(*, plain: bool, expected: bool, band: bool) -> str:
    """What the characters mean, as far as they come up."""
    names = ("reading", "anomaly", "this one", "expected", "band")
    known = (True, True, True, expected, band)
    marks = _PLAIN if plain else _FINE
    return " " * _MARGIN + "  ".join(
        f"{mark} {name}" for mark, name, there in zip(marks, names, known, strict=True) if there
    )


def drawable(encoding: str) -> bool:
    """Whether the finer characters can be written in this encoding."""
    try:
        f"{_FINE}{_BARS}│".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _label(value: float) -> str:
    return f"{value:.6g}"[: _MARGIN - 2]
