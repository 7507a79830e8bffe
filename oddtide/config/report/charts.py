"""Drawings of the report, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from oddtide.domain.readings import parse_rfc3339, rfc3339

__all__ = ["share_bar", "timeline_chart"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 1040, 220, 44, 12, 26


def timeline_chart(timeline: Mapping[str, Any]) -> str:
    """Detections over event time: above the line what the other configuration finds (kept, then what appears), below
    it what vanishes."""
    bars: Sequence[Mapping[str, Any]] = timeline["bars"]
    if not bars:
        return '<p class="soft">No detection on either side.</p>'
    width_ns = timeline["bar_s"] * 10**9
    first = parse_rfc3339(bars[0]["time"])
    count = (parse_rfc3339(bars[-1]["time"]) - first) // width_ns + 1
    high, low = max([1, *(bar["other"] for bar in bars)]), max(bar["vanished"] for bar in bars)
    unit = (_HEIGHT - _TOP - _BOTTOM) / (high + low)
    zero, step = _TOP + high * unit, (_WIDTH - _LEFT) / count
    drawn = []
    for bar in bars:
        left = _LEFT + (parse_rfc3339(bar["time"]) - first) // width_ns * step
        drawn.append(_bar(bar, left, max(step * 0.86, 1.0), zero, unit))
    ticks = "".join(
        f'<text x="{x:.0f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{_moment(first + at * width_ns)}</text>'
        for x, at, anchor in ((_LEFT, 0, "start"), ((_LEFT + _WIDTH) / 2, count // 2, "middle"), (_WIDTH, count, "end"))
    )
    scale = f'<text x="{_LEFT - 6}" y="{_TOP + 9}" text-anchor="end">{high}</text>'
    if low:
        scale += f'<text x="{_LEFT - 6}" y="{zero + low * unit:.1f}" text-anchor="end">{low}</text>'
    label = (
        f"Detections over time, in bars of {_span(timeline['bar_s'])}: at most {high} a bar with the other settings, "
        f"at most {low} vanish in a bar. The numbers are in the table below."
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(drawn)}'
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH}" y1="{zero:.1f}" y2="{zero:.1f}"/>{scale}{ticks}</svg>'
        f'<p class="soft">One bar is {_span(timeline["bar_s"])} of event time (UTC).</p>'
    )


def _bar(bar: Mapping[str, Any], left: float, width: float, zero: float, unit: float) -> str:
    kept = bar["other"] - bar["appeared"]
    parts, at = [], zero
    for kind, amount in (("kept", kept), ("appeared", bar["appeared"])):
        at -= amount * unit
        parts.append(_rect(kind, left, at, width, amount * unit))
    parts.append(_rect("vanished", left, zero, width, bar["vanished"] * unit))
    title = f"{bar['time']}: live {bar['live']}, other {bar['other']}, +{bar['appeared']}, -{bar['vanished']}"
    return f"<g><title>{escape(title)}</title>{''.join(parts)}</g>"


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    if height <= 0:
        return ""
    return f'<rect class="f-{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def share_bar(counts: Mapping[str, Any], most: int) -> str:
    """One series' detections as a bar: kept, appeared, vanished. The table's cells say the same."""
    kept = counts["other"] - counts["appeared"]
    at, parts = 0.0, []
    for kind, amount in (("kept", kept), ("appeared", counts["appeared"]), ("vanished", counts["vanished"])):
        width = 140 * amount / max(most, 1)
        parts.append(_rect(kind, at, 0, width, 10))
        at += width
    return f'<svg class="bar" viewBox="0 0 140 10" aria-hidden="true">{"".join(parts)}</svg>'


def _moment(time: int) -> str:
    return rfc3339(time)[:16].replace("T", " ")


def _span(seconds: int) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}{'s' if seconds != size else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"
