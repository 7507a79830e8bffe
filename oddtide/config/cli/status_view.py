"""What ``oddtide status`` shows people: headlines, workers, partitions."""

from __future__ import annotations

from typing import Any

from oddtide.config.cli.output import Row, grid

__all__ = ["PARTITIONS", "WORKERS", "headlines", "partition_rows", "screen", "worker_rows"]

WORKERS = ("worker", "state", "roles", "heartbeat_age_s", "readings_per_s", "memory_mib", "series", "asleep")
PARTITIONS = ("topic", "partition", "owner", "state", "position", "end", "lag")

_GONE = ("stopped", "lost")
_NOTHING_MORE = dict.fromkeys(("readings_per_s", "memory_mib", "series", "asleep"))
#: Workers that ended are shown for so long (seconds).
_REMEMBERED_S = 3600.0


def headlines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each line above the tables."""
    cluster, topics, rates = found["cluster"], found["topics"], found.get("rates", {})
    counts = ", ".join(f"{value:,} {name}{_rate(rates.get(name))}" for name, value in found["counts"].items())
    alerts = "unknown" if found["alerts"] is None else found["alerts"]
    return [
        ("Kafka", f"{cluster['bootstrap']}  {cluster['brokers']} broker(s)  {cluster['kind']}"),
        ("Topics", f"{topics['declared']} declared, {topics['missing']} missing, {topics['different']} different"),
        ("Lag", f"{found['lag']:,} records to go{_lag(found, rates)}"),
        ("Readings", counts),
        ("Alerts", f"{alerts} open"),
    ]


def _rate(rate: float | None) -> str:
    return "" if rate is None else f" ({rate:,.0f}/s)"


def _lag(found: dict[str, Any], rates: dict[str, float]) -> str:
    """How the lag moves: for how long yet, or that it grows."""
    change = rates.get("lag")
    if change is None or not found["lag"]:
        return ""
    if change < 0:
        return f", gone in about {duration(found['lag'] / -change)}"
    return f", growing by {change:,.0f}/s" if change > 0 else ""


def worker_rows(found: dict[str, Any]) -> list[Row]:
    """The workers that run, and those that ended lately; what those last did and held is no more."""
    return [
        {**each, **_NOTHING_MORE} if each["state"] in _GONE else each
        for each in found["workers"]
        if each["state"] not in _GONE or (each["heartbeat_age_s"] or 0.0) < _REMEMBERED_S
    ]


def partition_rows(found: dict[str, Any]) -> list[Row]:
    """The partitions, with how far a restoration is."""
    return [{**each, "state": _state(each)} for each in found["partitions"]]


def _state(row: Row) -> str:
    if row["state"] != "restoring":
        return str(row["state"])
    eta = f", {duration(row['eta_s'])} to go" if row["eta_s"] >= 0 else ""
    return f"restoring {row['restored']:.0%}{eta}"


def duration(seconds: float) -> str:
    """A duration as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def screen(found: dict[str, Any]) -> Any:
    """All of it as one thing to draw on a terminal."""
    from rich.console import Group
    from rich.text import Text

    lines = [Text.assemble((f"{name:<9}", "bold"), text) for name, text in headlines(found)]
    problems = [Text(problem, style="bold red") for problem in found["problems"]]
    return Group(
        *lines, *problems, Text(), grid(worker_rows(found), WORKERS), Text(), grid(partition_rows(found), PARTITIONS)
    )
