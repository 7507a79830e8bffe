"""Drawings of a comparison of detectors, as inline SVG: told apart by shape, dashes and names, not by colour alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from oddtide.config.report.parts import number
from oddtide.domain.readings import FloatArray

__all__ = ["Curve", "Lane", "curves", "dots", "scatter", "timeline"]

_WIDTH = 1040
_DASHES = ("", "6 3", "2 3", "9 3 2 3", "4 2", "1 2", "12 4", "6 2 1 2")
_COLOURS = 8
#: A curve: its name, x and y in 0 .. 1, and where on it the detections are made, where known.
Curve = tuple[str, FloatArray, FloatArray, "tuple[float, float] | None"]
#: Marks below a timeline: a name and where its marks lie (0 .. 1).
Lane = tuple[str, Sequence[float]]


def colour(place: int) -> str:
    """The colour of the contender at ``place``."""
    return f"var(--c{place % _COLOURS})"


def _svg(height: float, label: str, body: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">{"".join(body)}</svg>'


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _turned(x: float, y: float, text: str) -> str:
    """Along an axis that goes up."""
    place = f'transform="translate({x:.0f} {y:.0f}) rotate(-90)" text-anchor="middle"'
    return f"<text {place}>{escape(text)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def mark(shape: int, x: float, y: float, fill: str, size: float = 5.0) -> str:
    """A circle, a square or a triangle."""
    if shape == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}" fill="{fill}"/>'
    if shape == 1:
        corner, side = f'x="{x - size:.1f}" y="{y - size:.1f}"', f"{2 * size:.1f}"
        return f'<rect {corner} width="{side}" height="{side}" fill="{fill}"/>'
    points = f"{x:.1f},{y - size:.1f} {x - size:.1f},{y + size:.1f} {x + size:.1f},{y + size:.1f}"
    return f'<polygon points="{points}" fill="{fill}"/>'


def dots(names: Sequence[str], measures: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Up to three measures between 0 and 1 of each contender, one line a contender; NaN is left out."""
    left, step, top = 250.0, 26.0, 10.0
    bottom = top + step * len(names)
    span = _WIDTH - left - 20
    body = [_line(left + span * at / 10, top, left + span * at / 10, bottom) for at in range(11)]
    body += [_text(left + span * at / 10, bottom + 16, f"{at / 10:g}", "middle") for at in range(0, 11, 2)]
    for place, name in enumerate(names):
        y = top + step * (place + 0.5)
        shown = [f"{title} {number(values[place])}" for title, values in measures]
        body.append(f"<g><title>{escape(name)}: {', '.join(shown)}</title>")
        body.append(_text(left - 12, y + 4, _short(name), "end", "name"))
        for shape, (_, values) in enumerate(measures):
            if not math.isnan(values[place]):
                body.append(mark(shape, left + span * values[place], y, colour(shape)))
        body.append("</g>")
    label = f"{', '.join(title for title, _ in measures)} of each detector, from 0 to 1. The table has the numbers."
    return _svg(bottom + 24, label, body)


def curves(drawn: Sequence[Curve], x_name: str, y_name: str) -> str:
    """Curves in the unit square, each named where it ends in the list at the right; a ring shows its threshold."""
    left, top, side = 60.0, 10.0, 420.0
    bottom = top + side
    body = [_line(left, top + side * at / 5, left + side, top + side * at / 5) for at in range(6)]
    body += [_line(left + side * at / 5, top, left + side * at / 5, bottom) for at in range(6)]
    for at in range(6):
        body.append(_text(left - 8, bottom - side * at / 5 + 4, f"{at / 5:g}", "end"))
        body.append(_text(left + side * at / 5, bottom + 16, f"{at / 5:g}", "middle"))
    body += [_text(left + side / 2, bottom + 32, x_name, "middle"), _turned(18, (top + bottom) / 2, y_name)]
    for place, (name, x, y, threshold) in enumerate(drawn):
        dash = _DASHES[(place // _COLOURS + place) % len(_DASHES)]
        style = f'stroke="{colour(place)}" stroke-dasharray="{dash}"'
        keep = np.unique(np.linspace(0, max(len(x) - 1, 0), 300).astype(np.int64)) if len(x) else np.zeros(0, np.int64)
        points = " ".join(
            f"{left + side * a:.1f},{bottom - side * b:.1f}" for a, b in zip(x[keep], y[keep], strict=True)
        )
        body.append(f'<g><title>{escape(name)}</title><polyline class="line" {style} points="{points}"/></g>')
        if threshold is not None:
            cx, cy = left + side * threshold[0], bottom - side * threshold[1]
            body.append(f'<circle class="line" {style} cx="{cx:.1f}" cy="{cy:.1f}" r="6"/>')
        row = top + 18 * (place + 1)
        body.append(f'<line class="line" {style} x1="520" x2="560" y1="{row - 4:.1f}" y2="{row - 4:.1f}"/>')
        body.append(_text(568, row, _short(name, 60), "start", "name"))
    height = max(bottom + 40, top + 18 * (len(drawn) + 1))
    return _svg(height, f"{y_name} over {x_name}, a curve for each detector.", body)


def scatter(points: Sequence[tuple[str, float, float]], x_name: str, y_name: str) -> str:
    """Named points: x on a logarithmic scale, y from 0 to 1."""
    known = [(name, x, y) for name, x, y in points if x > 0 and not math.isnan(y)]
    if not known:
        return ""
    left, top, bottom, right = 60.0, 10.0, 330.0, _WIDTH - 190.0
    low = math.floor(math.log10(min(x for _, x, _ in known)))
    high = max(math.ceil(math.log10(max(x for _, x, _ in known))), low + 1)
    body = []
    for power in range(low, high + 1):
        x = left + (right - left) * (power - low) / (high - low)
        body += [_line(x, top, x, bottom), _text(x, bottom + 16, f"{10.0**power:,.10g}", "middle")]
    for at in range(6):
        y = bottom - (bottom - top) * at / 5
        body += [_line(left, y, right, y), _text(left - 8, y + 4, f"{at / 5:g}", "end")]
    placed: list[tuple[float, float]] = []
    for place, (name, x, y) in enumerate(known):
        cx = left + (right - left) * (math.log10(x) - low) / (high - low)
        cy = bottom - (bottom - top) * y
        tip = f"<title>{escape(name)}: {number(round(x))} {escape(x_name)}, {escape(y_name)} {number(y)}</title>"
        beside = cy + 4
        while any(abs(cx - a) < 150 and abs(beside - b) < 12 for a, b in placed):
            beside += 4  # names that would overlap go below each other
        placed.append((cx, beside))
        named = _text(cx + 9, beside, _short(name, 28), kind="name")
        body.append(f"<g>{tip}{mark(place % 3, cx, cy, colour(place))}{named}</g>")
    body += [_text((left + right) / 2, bottom + 34, x_name, "middle"), _turned(18, (top + bottom) / 2, y_name)]
    return _svg(bottom + 44, f"{y_name} over {x_name}, a point for each detector.", body)


def timeline(
    values: FloatArray, truth: Sequence[tuple[float, float]], lanes: Sequence[Lane], ends: tuple[str, str]
) -> str:
    """A series as a line, stretches of labelled anomalies behind it, and a lane of marks for each detector below it.
    ``values`` (n,) are spread evenly over the width: of each place at most the least and the greatest are drawn."""
    left, top, height, lane = 190.0, 8.0, 130.0, 16.0
    span, bottom = _WIDTH - left - 10, 8.0 + 130.0
    end = bottom + 10 + lane * len(lanes)
    body = [
        f'<rect class="f-truth" x="{left + span * a:.1f}" y="{top:.1f}" width="{max(span * (b - a), 2):.1f}" '
        f'height="{end - top:.1f}"/>'
        for a, b in truth
    ]
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    body += [_text(left - 8, top + 10, number(high), "end"), _text(left - 8, bottom, number(low), "end")]
    width = (high / 2 - low / 2) * 2 or 1.0
    points = " ".join(
        f"{left + span * x:.1f},{bottom - height * min(max((y - low) / width, 0.0), 1.0):.1f}"
        for x, y in thinned(values)
    )
    body.append(f'<polyline class="values" points="{points}"/>')
    for place, (name, marks) in enumerate(lanes):
        y = bottom + 10 + lane * place
        ticks = "".join(
            f'<rect x="{left + span * x - 1:.1f}" y="{y + 2:.1f}" width="2" height="12" fill="{colour(place)}"/>'
            for x in sorted({round(at, 3) for at in marks})
        )
        body.append(
            f"{_line(left, y + lane / 2, left + span, y + lane / 2)}<g><title>{escape(name)}: {len(marks)} detections"
        )
        body.append(f"</title>{_text(left - 8, y + 12, _short(name, 26), 'end', 'name')}{ticks}</g>")
    body += [_text(left, end + 16, ends[0]), _text(left + span, end + 16, ends[1], "end")]
    counts = ", ".join(f"{name} {len(marks)}" for name, marks in lanes)
    label = f"{len(values)} readings from {number(low)} to {number(high)}, {len(truth)} labelled stretches"
    return _svg(end + 24, f"{label}; detections: {counts}.", body)


def thinned(values: FloatArray, most: int = 500) -> list[tuple[float, float]]:
    """(place in 0 .. 1, value) of at most ``2 * most`` values: of each stretch its least and its greatest, in order."""
    found = []
    last = max(len(values) - 1, 1)
    for rows in np.array_split(np.arange(len(values)), min(most, max(len(values), 1))):
        rows = rows[np.isfinite(values[rows])]
        if len(rows):
            chosen = {int(rows[values[rows].argmin()]), int(rows[values[rows].argmax()])}
            found += [(row / last, float(values[row])) for row in sorted(chosen)]
    return found
