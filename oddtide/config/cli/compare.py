"""``oddtide compare``: detectors side by side on history, through the pipeline that the workers run, without Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit, emit_line, note, to_json
from oddtide.config.cli.replay_diff import check_writable
from oddtide.config.cli.table_options import column_names, column_options
from oddtide.domain.errors import UsageError

if TYPE_CHECKING:
    from oddtide.config.facade.contenders import Comparison

__all__ = ["compare"]

#: Columns that are taken for the truth, in this order, where nobody says which is it.
_TRUTHS = ("is_anomaly", "anomaly", "label")


@command(
    "compare",
    output=True,
    examples=[
        ("oddtide compare history.csv", "the usual ones; a column anomaly or label is the truth"),
        ("oddtide compare history.csv --detectors ewma,spot:depth=20,spot+range", "these, the last two combined"),
        ("oddtide compare a.csv b.csv --all --html report.html", "every one that learns as it goes; a page with plots"),
        ("oddtide compare plant.csv --detectors 'pyod:HBOS,river:*' --label fault", "trained ones; a whole family"),
        ("oddtide compare history.csv --output json", "for a program"),
    ],
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--detectors", "names", multiple=True, metavar="A,B,...", help="What to compare; may be repeated.")
@click.option("--all", "all_", is_flag=True, help="Every built-in detector and every one of river's.")
@click.option(
    "--label", default="", metavar="COLUMN", help="Column of the truth.  [default: is_anomaly, anomaly, label]"
)
@click.option("--no-label", is_flag=True, help="Compare without the truth.")
@column_options
@click.option("--p-value", type=click.FloatRange(0, 1), help="Detections down to it.  [default: 1e-6; pyod: 1e-3]")
@click.option(
    "--train", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.3, show_default=True,
    help="First share of each file that pyod: detectors are trained on; all are then measured on the rest.",
)  # fmt: skip
@click.option("--quiet", type=click.FloatRange(min=0), default=900.0, show_default=True, metavar="SECONDS",
              help="Detections of a series at most so far apart are one alarm.")  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with plots here.")
@pass_cli
def compare(
    cli: Cli, files: tuple[str, ...], names: tuple[str, ...], all_: bool, label: str, no_label: bool, series: str,
    time_: str, value: str, features: str, p_value: float | None, train: float, quiet: float, html: Path | None,
) -> None:  # fmt: skip
    """Set detectors side by side on the readings in FILEs (CSV or JSON lines, gzip too). No Kafka is needed.

    Each detector scores every reading before it learns it, exactly as a worker would; compared are the readings that
    all of them scored in earnest. Where the truth is known: average precision, ROC-AUC, VUS-PR, precision, recall, and
    how many labelled stretches were found, counted in single readings, never adjusted for the rest of a stretch.
    Without it: detections, alarms a day, how far the detectors agree, and what they cost.

    A detector is a name with parameters (ewma:alpha=0.1), several combined (spot+range) or a family ('river:*'). Those
    of PyOD (pyod:IForest) are trained on the first --train of each file, which then counts for none. Python's
    compare_algorithms() gives the same.
    """
    from oddtide.config.facade.comparison import compare_algorithms
    from oddtide.config.going import Going

    if html is not None:
        check_writable(html)
    chosen = [*names, *(["all"] if all_ else [])]
    column = _label(files, label, no_label)
    going = Going("comparing", 0, "readings")
    found = compare_algorithms(
        [Path(file) if file != "-" else file for file in files], column or None, _split(chosen),
        time=time_, series=series, value=value, features=column_names(features), p_value=p_value, train=train,
        quiet_s=quiet, tell=going,
    )  # fmt: skip
    going.end()
    for text in found.notes:
        note(text)
    _print(found, cli.output)
    if html is not None:
        html.write_text(found.to_html(), encoding="utf-8")
        note(f"the report is in {html}")


def _split(chosen: Sequence[str]) -> list[str] | None:
    from oddtide.config.facade.choosing import split_names

    return [name for text in chosen for name in split_names(text)] if chosen else None


def _label(files: Sequence[str], label: str, no_label: bool) -> str:
    """The column of the truth: as told, or the first usual one that every file has."""
    if label and no_label:
        raise UsageError("--label and --no-label contradict each other.", remedy="Leave out one of them.")
    if label or no_label or "-" in files:
        return label
    found = next((name for name in _TRUTHS if all(_has(file, name) for file in files)), "")
    if not found:
        note(f"no column {', '.join(_TRUTHS[:-1])} or {_TRUTHS[-1]}: compared without the truth (--label names it)")
    return found


def _has(file: str, column: str) -> bool:
    from oddtide.adapters.files.tables import TableOptions, open_table

    try:
        with open_table(file, TableOptions(labels=(column,))):
            return True
    except UsageError:  # no such column; anything else comes up again when the file is read
        return False


def _print(found: Comparison, output: str) -> None:
    if output == "table":
        note(found.headline)
        for each in [*(found.files if len(found.files) > 1 else ()), found]:
            if found.files:
                click.echo(f"\n{each.name}")
            emit(each.table(), output=output)
        return
    summary = found.summary()
    if output == "json":
        click.echo(to_json(summary, indent=True))
        return
    for row in summary.pop("contenders"):
        emit_line({"type": "contender", **row})
    emit_line({"type": "summary", **summary})
