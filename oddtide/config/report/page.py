"""The report of a comparison as one HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from oddtide.config.report.charts import share_bar, timeline_chart
from oddtide.config.report.parts import NONE, Html, document, legend, note, number, section, table

if TYPE_CHECKING:
    from oddtide.config.contests import Contested
    from oddtide.streams.replay.differences import Change, Side

__all__ = ["report_page"]

_SERIES_SHOWN = 100
_SIGNS = {"appeared": "+ appears", "vanished": "\u2212 vanishes", "changed": "~ changes"}


def report_page(found: Contested) -> str:
    """A whole document; everything from the data is escaped."""
    summary = found.summary()
    parts = [
        _head(summary), *_warnings(summary), _cards(summary),
        section("When", timeline_chart(summary["timeline"]) + _legend() + _bars_table(summary["timeline"])),
        section("Which series", _series(summary["series"])),
        section("The strangest differences", _differences(found)),
        section("What differs in the settings", _settings(summary["configuration"])),
        section("How this was computed", _method(summary)),
    ]  # fmt: skip
    return document(f"{found.stream}: {found.files[1]} tried on history", parts)


def _head(summary: Mapping[str, Any]) -> str:
    found, alarms = summary["detections"], summary["alarms_per_day"]
    sentence = (
        f"With <code>{escape(summary['other']['settings'])}</code> this history gives {number(found['other'])} "
        f"detections instead of {number(found['live'])}: {number(found['appeared'])} appear, "
        f"{number(found['vanished'])} vanish, "
        f"{number(found['changed'])} are found by both but look different, {number(found['same'])} are the same."
    )
    if alarms["live"] is not None:
        sentence += f" That is {number(alarms['other'])} alarms a day instead of {number(alarms['live'])}."
    return (
        f"<h1>{escape(summary['stream'])}: other settings tried on history</h1>"
        f'<p class="soft">{number(summary["readings"])} readings of <code>{escape(summary["topic"])}</code>, '
        f'{number(summary["days"])} days with readings</p><p class="lead">{sentence}</p>'
    )


def _warnings(summary: Mapping[str, Any]) -> Iterable[str]:
    if not summary["configuration"]:
        yield note("Both settings have the same pipeline: whatever differs comes from elsewhere.")
    for each in summary["verification"]:
        where = f"Partition {each['partition']}"
        if each["status"] == "different":
            yield note(f"{where}: the live side does not equal what was published ({each['detail']}).")
        elif each["status"] == "not_verifiable":
            yield note(
                f"{where}: the live side is computed anew, but not verifiable here: {'; '.join(each['reasons'])}."
            )


def _cards(summary: Mapping[str, Any]) -> str:
    found = summary["detections"]
    cards = [
        ("detections", found["live"], found["other"]),
        ("alarms a day", summary["alarms_per_day"]["live"], summary["alarms_per_day"]["other"]),
        ("readings scored", summary["scored"]["live"], summary["scored"]["other"]),
        ("readings a second and core", *(summary["readings_per_second"][side] for side in ("live", "other"))),
    ]
    items = "".join(
        f'<li class="card"><b>{number(a)} → {number(b)}</b><span>{name}</span></li>' for name, a, b in cards
    )
    return f'<ul class="cards" aria-label="Live settings and the other, side by side">{items}</ul>'


def _legend() -> str:
    names = (("kept", "found by both"), ("appeared", "appears (above)"), ("vanished", "vanishes (below the line)"))
    return legend((f'<rect class="f-{kind}" width="12" height="12"/>', name) for kind, name in names)


def _bars_table(timeline: Mapping[str, Any]) -> str:
    names = ("time", "live", "other", "appeared", "vanished")
    rows = [[bar[name] for name in names] for bar in timeline["bars"]]
    shown = table(["from", "live", "other", "appear", "vanish"], rows, "Detections over event time")
    return f"<details><summary>The bars as a table</summary>{shown}</details>"


def _series(series: Sequence[Mapping[str, Any]]) -> str:
    most = max((row["other"] + row["vanished"] for row in series), default=1)
    names = ("series", "live", "other", "appeared", "vanished", "changed")
    rows: list[list[Any]] = [
        [*(row[name] for name in names), Html(share_bar(row, most))] for row in series[:_SERIES_SHOWN]
    ]
    heads = ["series", "live", "other", "appear", "vanish", "change", ""]
    more = len(series) - len(rows)
    rest = f" The {number(more)} others are in the machine-readable output." if more > 0 else ""
    return table(heads, rows, f"Detections by series, those that differ most first.{rest}")


def _differences(found: Contested) -> str:
    rows = [_change(change) for change in found.strongest]
    heads = ["", "time", "series", "value", "expected", "score", "p-value", "why", "reading"]
    more = found.differences - len(rows)
    rest = f" {number(more)} more are in the machine-readable output (--output jsonl)." if more > 0 else ""
    return table(heads, rows, f"Live → other; a dash: not scored there, or not known.{rest}")


def _change(change: Change) -> list[Any]:
    live, other = change.live, change.other
    badge = Html(f'<span class="kind {change.kind}">{_SIGNS[change.kind]}</span>')
    shown = other if other is not None and other.reason else live
    return [
        badge, change.time, change.series, change.value, _pair(_band(live), _band(other)),
        _pair(*(number(side.score) if side else NONE for side in (live, other))),
        _pair(*(number(side.p_value) if side else NONE for side in (live, other))),
        shown.reason if shown is not None else "",
        f"{change.partition}:{change.offset}" + (f" row {change.row}" if change.row else ""),
    ]  # fmt: skip


def _band(side: Side | None) -> str:
    if side is None or side.lower is None or side.upper is None:
        return NONE
    return f"{number(side.lower)} to {number(side.upper)}"


def _pair(live: str, other: str) -> str:
    return live if live == other else f"{live} → {other}"


def _settings(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [[row["setting"], _plain(row["live"]), _plain(row["other"])] for row in rows]
    return table(["setting", "live", "other"], cells, "Everything that decides a verdict and is not the same")


def _plain(value: Any) -> str:
    return NONE if value is None else str(value)


def _method(summary: Mapping[str, Any]) -> str:
    verified = summary["verification"]
    if verified:
        equal, compared = (sum(each[name] for each in verified) for name in ("equal", "compared"))
        text = (
            "The live side was computed anew from the log, with every promoted model and published pipeline at its "
            f"offset; its running hash equals the ledger's at {number(equal)} of {number(compared)} batches."
        )
    else:
        text = "The live side was read from the detections topic."
    return (
        f"<p>{text} The other side folded the same readings from the same offset on, beside it. Nothing was written "
        "but this report.</p><p>An alarm is a series' detections with less than the quiet time of the alerts between "
        "them. Days are counted in hours of event time that have readings. Readings a second: one core, "
        f'folding alone.</p><p class="soft">Pipelines: live <code>{escape(summary["live"]["pipeline"])}</code>, '
        f"other <code>{escape(summary['other']['pipeline'])}</code>.</p>"
    )
