"""``oddtide explain``: one verdict in words and in a small picture, anomaly or not."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import note, plain, to_json
from oddtide.config.cli.picture import Point, draw, drawable, legend, sparkline
from oddtide.config.cli.table_options import column_names, column_options
from oddtide.domain.errors import UsageError

if TYPE_CHECKING:
    from oddtide.domain.detection.events import Verdict
    from oddtide.streams.pipeline.explained import Explained
    from oddtide.streams.pipeline.plan import StreamPlan

__all__ = ["explain"]

_WIDEST = 120


@command(
    "explain",
    output=True,
    examples=[
        ("oddtide explain oddtide/readings/oddtide.readings/2/5417/0@9d1c…", "a verdict by its id, out of the log"),
        ("oddtide explain --file day.csv --row 1200", "a row of a file, as `oddtide detect day.csv` judges it"),
        ("oddtide explain --file day.csv --detector discord ID", "a verdict that detect printed; the same options"),
        ("oddtide explain ID --output json", "for a program"),
    ],
)
@click.argument("verdict", metavar="[VERDICT-ID]", required=False)
@click.option("--file", metavar="FILE|-", help="Explain a verdict about a row of this file; no Kafka is needed.")
@click.option("--row", type=click.IntRange(min=0), help="With --file: the row, from 0, instead of an id.")
@column_options
@click.option("--name", default="", metavar="NAME", help="Series of all rows, where no column holds it.")
@click.option("--labels", default="", metavar="A,B,...", help="With --file: as detect has it (midas needs them).")
@click.option("--detector", "detectors", multiple=True, metavar="NAME[:KEY=VALUE,...]",
              help="With --file: as detect has it; may be repeated.  [default: auto]")  # fmt: skip
@click.option("--threshold", type=click.FloatRange(min=0), help="With --file: as detect has it.")
@click.option("--p-value", type=click.FloatRange(0, 1), help="With --file: as detect has it.  [default: 1e-6]")
@click.option("--false-share", type=click.FloatRange(0, 0.5), help="With --file: as detect has it.")
@click.option("--stream", metavar="NAME", help="With --file: take everything from this stream of the settings file.")
@click.option("--before", type=click.IntRange(min=0, max=10_000), default=200, show_default=True,
              help="So many verdicts of its series before it are looked at.")  # fmt: skip
@click.option("--ascii", "ascii_", is_flag=True, help="Draw with plain characters.")
@pass_cli
def explain(
    cli: Cli, verdict: str | None, file: str | None, row: int | None, series: str, time_: str, value: str,
    features: str, name: str, labels: str, detectors: tuple[str, ...], threshold: float | None, p_value: float | None,
    false_share: float | None, stream: str | None, before: int, ascii_: bool,
) -> None:  # fmt: skip
    """Say why the reading of VERDICT-ID was judged as it was: what was expected, how rare it is, why it raised an alarm
    or none, which detector drove it, and what that compared it with.

    The partition is folded again from the nearest snapshot up to that reading, with every setting and model that was in
    force, and nothing is written; so every verdict can be explained, also one that was no anomaly. Where the log no
    longer holds the reading, or another pipeline judged it, what was published is told.
    """
    if file is None:
        if verdict is None or row is not None:
            raise UsageError("There is no VERDICT-ID.", remedy="Give one, or --file FILE --row N.")
        found = _logged(cli, verdict, before)
    else:
        from oddtide.adapters.files.tables import TableOptions, open_table
        from oddtide.config.cli.detect import declared_plan
        from oddtide.config.facade.explaining import explain_row
        from oddtide.config.facade.plans import make_plan, needs_no_training
        from oddtide.domain.detection.auto import AUTO

        options = TableOptions(time_, series, value, column_names(features), column_names(labels), name)
        words: dict[str, Any] = {
            "detector": detectors, "threshold": threshold, "p_value": p_value, "false_share": false_share,
        }  # fmt: skip
        words = {key: word for key, word in words.items() if word not in (None, ())}
        declared = declared_plan(cli, stream, words)
        needs_no_training(detectors or AUTO)
        with open_table(file, options) as table:
            plan = declared or make_plan(table.features, **words)
            found = explain_row(table.batches(), plan, _row(verdict, row, plan), before)
    for text in found.notes:
        note(text)
    _print(found, cli.output, ascii_)


def _row(verdict: str | None, row: int | None, plan: StreamPlan) -> int:
    """Which row of a file is meant."""
    if (verdict is None) == (row is None):
        raise UsageError("With --file either --row or a VERDICT-ID says which row.", remedy="Give one of them.")
    if verdict is None:
        assert row is not None
        return row
    key = _parts(verdict)
    if key.version != plan.version:
        raise UsageError(
            f"The verdict was made by pipeline {key.version}; these options give {plan.version}.",
            remedy="Give --detector, --threshold, --p-value, --false-share or --stream as for detect.",
        )
    return int(key.offset)


def _parts(verdict: str) -> Any:
    from oddtide.streams.replay.published import verdict_key

    key = verdict_key(verdict)
    if key is None:
        raise UsageError(
            f"{verdict!r} is no verdict's id.",
            remedy="Copy it from `oddtide tail detections`: <application>/<stream>/<topic>/<partition>/<offset>/…",
        )
    return key


def _logged(cli: Cli, verdict: str, before: int) -> Explained:
    from oddtide.config.going import Going
    from oddtide.config.histories import Range, history, select
    from oddtide.streams.replay.explaining import Question, explain_verdict
    from oddtide.streams.replay.running import run

    key = _parts(verdict)
    composition = cli.composition()
    settings = composition.settings
    if key.application != settings.application:
        raise UsageError(
            f"The verdict is of the application {key.application!r}, these settings are of {settings.application!r}.",
            remedy="Name that one's settings file with --config.",
        )
    with composition.admin() as admin:
        chosen = select(composition, admin, key.stream, [key.partition])
    if chosen.topic != key.topic:
        raise UsageError(
            f"The verdict is about {key.topic!r}; the stream {key.stream!r} reads {chosen.topic!r} now.",
            remedy="Name a settings file in which it reads that topic, with --config.",
        )
    past = history(settings, key.stream, Range(key.partition), snapshots=True)
    going = Going("folding", 0)
    found = run(explain_verdict(past, Question(verdict, key, before), going))
    going.end()
    return found


# ----------------------------------------------------------------------------------------------------- printing


def _print(found: Explained, output: str, ascii_: bool) -> None:
    if output != "table":
        click.echo(to_json(_document(found), indent=output == "json"))
        return
    from oddtide.domain.detection.events import HISTORY

    plainly = ascii_ or not drawable(getattr(sys.stdout, "encoding", None) or "ascii")
    verdict = found.verdict
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    quiet = {"": "no anomaly", HISTORY: "history"}.get(verdict.suppressed_by, "planned work")
    state = "ANOMALY" if verdict.is_anomaly else quiet
    click.echo(f"{_printable(verdict.series)}  {verdict.time}  {state}\n")
    lines = draw([_point(each, verdict.feature) for each in (*found.before, verdict)], width=width, plain=plainly)
    if lines:
        click.echo("\n".join(lines))
        band, expected = verdict.lower is not None, verdict.expected is not None
        click.echo(f"{legend(plain=plainly, expected=expected, band=band)}\n")
    account = found.account()
    subjects = max(len(subject) for subject, _ in account)
    for subject, sentence in account:
        click.echo(f"{subject:<{subjects}}  {_printable(sentence)}")
    for detector, pattern in found.nearest.items():
        click.echo(f"\n{detector}: now      {sparkline(pattern.now, plain=plainly)}")
        click.echo(f"{' ' * len(detector)}  nearest  {sparkline(pattern.nearest, plain=plainly)}")


def _point(verdict: Verdict, feature: str) -> Point:
    seen = verdict.features.get(feature, verdict)
    return Point(seen.value, seen.expected, seen.lower, seen.upper, verdict.is_anomaly)


def _printable(text: str) -> str:
    """Without the characters by which a name could write over the screen."""
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


def _document(found: Explained) -> dict[str, Any]:
    """Everything, for a program."""
    names = ("id", "time", "value", "expected", "lower", "upper", "score", "p_value", "is_anomaly")
    return {
        "verdict": plain(found.verdict),
        "account": dict(found.account()),
        "nearest": {name: plain(pattern) for name, pattern in found.nearest.items()},
        "planned_work": None if found.work is None else plain(found.work),
        "before": [{name: getattr(each, name) for name in names} for each in found.before],
        "notes": list(found.notes),
    }
