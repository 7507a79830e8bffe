"""``oddtide replay --diff``: what other settings would have found, as a table, JSON or one HTML file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from oddtide.config.cli.context import Cli
from oddtide.config.cli.output import emit, emit_line, emit_one, note, to_json
from oddtide.domain.errors import UsageError

if TYPE_CHECKING:
    from oddtide.config.contests import Contested
    from oddtide.config.histories import Wanted
    from oddtide.streams.replay.differences import Change

__all__ = ["check_writable", "diff"]

_SERIES_SHOWN = 20


def diff(cli: Cli, wanted: Wanted, config: Path | None, *, published: bool, html: Path | None, limit: int) -> None:
    """Compare, and print. JSON holds every difference, printed as it is found; a table the strangest."""
    from oddtide.config.contests import contest, shown_file
    from oddtide.config.histories import ranges, select, span
    from oddtide.config.settings import load

    if config is None:
        raise UsageError("--diff needs settings to try.", remedy="Name their file with --config FILE.")
    begin, end = span(wanted)
    if html is not None:
        check_writable(html)
    other = load(config)
    composition = cli.composition()
    with composition.admin() as admin:
        chosen = select(composition, admin, wanted.stream, wanted.partitions)
        for name in (composition.catalogue().ledger_of(chosen.topic), composition.catalogue().name("pipelines")):
            admin.describe(name)
    printer = _Printer(cli.output)
    found = contest(
        composition, other.settings, chosen, ranges(composition, chosen, begin, end),
        files=(shown_file(cli.loaded().file), shown_file(config)), published=published, jobs=wanted.jobs, limit=limit,
        show=printer.show,
    )  # fmt: skip
    printer.end(found)
    if html is not None:
        from oddtide.config.report.page import report_page

        html.write_text(report_page(found), encoding="utf-8")
        note(f"the report is in {html}")


def check_writable(html: Path) -> None:
    """Before anything is computed: that may take hours."""
    if html.is_dir() or not html.parent.is_dir():
        raise UsageError(f"The report cannot be written to {html}.", remedy="Name a file in a folder that there is.")
    if not os.access(html if html.exists() else html.parent, os.W_OK):
        raise UsageError(f"The report {html} cannot be written: no permission.", remedy="Name another file.")


class _Printer:
    """Prints differences as they come where a program reads them, and a summary at the end."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._written = 0
        self.show: Callable[[Change], None] = {
            "json": self._json, "jsonl": self._jsonl, "table": lambda change: None,
        }[output]  # fmt: skip

    def _json(self, change: Change) -> None:
        click.echo('{"differences": [\n' if not self._written else ",\n", nl=False)
        click.echo(to_json(change), nl=False)
        self._written += 1

    def _jsonl(self, change: Change) -> None:
        emit_line({"type": "difference", **msgspec.to_builtins(change)})

    def end(self, found: Contested) -> None:
        """The summary."""
        summary = found.summary()
        if self._output == "jsonl":
            emit_line({"type": "summary", **summary})
        elif self._output == "json":
            click.echo("\n],\n" if self._written else '{"differences": [],\n', nl=False)
            click.echo(to_json(summary)[1:])
        else:
            _table(found, summary)


def _table(found: Contested, summary: dict[str, Any]) -> None:
    def pair(name: str) -> str:
        return " -> ".join("-" if each is None else f"{each:,}" for each in summary[name].values())

    counts = summary["detections"]
    emit_one(
        {
            "settings": f"{found.files[0]} -> {found.files[1]}",
            "readings": f"{summary['readings']:,} in {summary['days']:,} days",
            "detections": f"{counts['live']:,} -> {counts['other']:,}",
            **{name: counts[name] for name in ("appeared", "vanished", "changed", "same")},
            "alarms_per_day": pair("alarms_per_day"),
            "readings_per_second": pair("readings_per_second"),
        },
        output="table",
    )
    for title, rows, columns in (
        ("settings that differ", summary["configuration"], "setting live other"),
        ("series that differ most", _differing(summary["series"]), "series live other appeared vanished changed"),
        ("strangest differences", [_row(change) for change in found.strongest],
         "kind time series value score p_value reading why"),
    ):  # fmt: skip
        if rows:
            click.echo(f"\n{title}")
            emit(rows, output="table", columns=columns.split())
    more = found.differences - len(found.strongest)
    if more:
        note(f"{more} more differences; --output jsonl prints all, --limit more of them")
    different = [each["partition"] for each in summary["verification"] if each["status"] != "equal"]
    if different:
        note(f"the live side could not be verified in partitions {different}: `oddtide replay --verify` says why")


def _differing(series: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in series[:_SERIES_SHOWN] if row["appeared"] or row["vanished"] or row["changed"]]


def _row(change: Change) -> dict[str, Any]:
    sides = (change.live, change.other)
    shown = change.other if change.other is not None and change.other.reason else change.live
    return {
        "kind": change.kind,
        "time": change.time,
        "series": change.series,
        "value": change.value,
        "score": " -> ".join("-" if side is None else f"{side.score:.4g}" for side in sides),
        "p_value": " -> ".join("-" if side is None else f"{side.p_value:.3g}" for side in sides),
        "reading": f"{change.partition}:{change.offset}:{change.row}",
        "why": "" if shown is None else shown.reason,
    }
