"""``oddtide detect``: the anomalies in a file, through the pipeline that the workers run, without Kafka."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import note
from oddtide.config.cli.table_options import column_names, column_options
from oddtide.domain.errors import NotFoundError, OddtideError, StorageUnavailableError, UsageError

if TYPE_CHECKING:
    from oddtide.adapters.files.rows import RefusedRow
    from oddtide.adapters.files.tables import Table
    from oddtide.config.cli.verdict_output import VerdictWriter
    from oddtide.config.facade.scorer import Scorer
    from oddtide.streams.pipeline.plan import StreamPlan

__all__ = ["declared_plan", "detect"]

_SHOWN_REFUSALS = 20
_PROGRESS_S = 0.5


@command(
    "detect",
    examples=[
        ("oddtide detect readings.csv", "a CSV with a header; timestamp,value needs no options"),
        ("oddtide detect plant.csv --features flow,pressure --detector half_space_trees", "several features together"),
        ("oddtide detect day.csv --detector ewma:alpha=0.05 --p-value 1e-4", "a slower mean, more detections"),
        ("oddtide detect day.csv --false-share 0.1", "at most one anomaly in ten false"),
        ("oddtide detect day.csv --all --output jsonl", "one verdict a reading, for a program"),
        ("collector | oddtide detect -", "JSON lines from a pipe, as they come"),
        ("oddtide detect day.csv --config oddtide.toml --stream readings", "as the worker of that stream would"),
    ],
)
@click.argument("file", metavar="FILE|-")
@column_options
@click.option("--name", default="", metavar="NAME", help="Series of all rows, without such a column.  [default: FILE]")
@click.option("--labels", default="", metavar="A,B,...", help="Columns to carry along as labels.")
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="Detector with its parameters; may be repeated.  [default: auto]",
)
@click.option("--threshold", type=click.FloatRange(min=0), help="Own score from which it is one (own_score).")
@click.option("--p-value", type=click.FloatRange(0, 1), help="P-value down to which it is one.  [default: 1e-6]")
@click.option("--false-share", type=click.FloatRange(0, 0.5), help="Share of the anomalies that may be false.")
@click.option("--profile", type=click.Choice(["light", "deep"]), help="deep also watches for drift.  [default: light]")
@click.option("--stream", metavar="NAME", help="Take everything from this stream of the settings file.")
@click.option("--all", "all_", is_flag=True, help="One verdict a reading, in input order, not only the anomalies.")
@click.option(
    "--rejected",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what was rejected here, as JSON lines.",
)
@click.option(
    "--output",
    type=click.Choice(["table", "json", "jsonl", "csv"]),
    default="table",
    show_default=True,
    help="For people (table), one JSON document, one JSON object a line, or CSV.",
)
@pass_cli
def detect(
    cli: Cli,
    file: str,
    series: str,
    name: str,
    time_: str,
    value: str,
    features: str,
    labels: str,
    detectors: tuple[str, ...],
    threshold: float | None,
    p_value: float | None,
    false_share: float | None,
    profile: str | None,
    stream: str | None,
    all_: bool,
    rejected: Path | None,
    output: str,
) -> None:
    """Find the anomalies in FILE (CSV or JSON lines, gzip too; - is standard input). No Kafka is needed.

    Each reading is scored before it is learnt from, exactly as a worker would. Rows that cannot be scored are named on
    stderr and counted in the summary there. With --stream (or --config) detectors, thresholds and contract are those of
    the settings file. Ends with 0 whether or not there are anomalies, with 1 when no row at all could be scored.
    """  # fmt: skip
    from oddtide.adapters.files.tables import TableOptions, open_table

    options = TableOptions(time_, series, value, column_names(features), column_names(labels), name)
    words: dict[str, Any] = {
        "detector": detectors, "threshold": threshold, "p_value": p_value, "false_share": false_share,
        "profile": profile,
    }  # fmt: skip
    words = {key: word for key, word in words.items() if word not in (None, ())}
    plan = declared_plan(cli, stream, words)
    with open_table(file, options) as table, ExitStack() as stack:
        for remark in table.notes:
            note(remark)
        if plan is None:
            plan = _plan(table.features, words)
        refusals = _Refusals(None if rejected is None else stack.enter_context(_writable(rejected)))
        _run(cli, table, plan, refusals, output=output, everything=all_)


def _writable(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise StorageUnavailableError(f"{path} cannot be written: {error.strerror}.", remedy="Name another.") from None


def declared_plan(cli: Cli, stream: str | None, words: dict[str, Any]) -> StreamPlan | None:
    """The plan of the settings file, where one is asked for; ``words`` are options that would contradict it."""
    if stream is None and cli.config is None:
        return None
    if words:
        option = next(iter(words)).replace("_", "-")
        raise UsageError(f"--{option} contradicts the plan of the settings file.", remedy="Leave out one of them.")
    plans = cli.composition().plans()
    found = next((plan for plan in plans if stream in (None, plan.name)), None)
    if found is None:
        names = ", ".join(plan.name for plan in plans)
        raise NotFoundError(f"There is no stream {stream!r}.", remedy=f"Declared are: {names}.")
    return found


def _plan(features: tuple[str, ...], words: dict[str, Any]) -> StreamPlan:
    """The plan of what the command line says."""
    from oddtide.config.facade.plans import make_plan, parse_detectors
    from oddtide.domain.detection.auto import AUTO

    trained = [spec.kind for spec in parse_detectors(words.get("detector", AUTO)) if spec.kind.startswith("pyod:")]
    if trained:
        raise UsageError(
            f"{trained[0]} is trained before it detects.",
            remedy="See `oddtide models train`, or train_model() in Python.",
        )
    return make_plan(features, **words)


def _run(cli: Cli, table: Table, plan: StreamPlan, refusals: _Refusals, *, output: str, everything: bool) -> None:
    from oddtide.config.cli.verdict_output import VerdictWriter
    from oddtide.config.facade.detecting import default_toolkit
    from oddtide.config.facade.scorer import Scorer

    scorer = Scorer(plan, default_toolkit(), time.time_ns)
    writer = VerdictWriter(output, everything=everything)
    began = time.perf_counter()
    try:
        for _ in _progress(scorer, _scored(table, scorer, writer, refusals), began):
            pass
    finally:
        if not isinstance(sys.exception(), BrokenPipeError):
            _summary(scorer, time.perf_counter() - began)
    writer.end()
    if not scorer.tally.scored and scorer.tally.readings:
        raise OddtideError(f"No row of {table.name} could be scored.", remedy="The reasons are above.")


def _scored(table: Table, scorer: Scorer, writer: VerdictWriter, refusals: _Refusals) -> Iterator[None]:
    for batch in table.batches():
        scored = scorer.rows(batch)
        for row in scored.refused:
            refusals.take(row)
        if scored.verdicts is not None:
            writer.write(scored.verdicts)
        yield


def _progress(scorer: Scorer, steps: Iterator[None], began: float) -> Iterator[None]:
    shown = began
    for step in steps:
        now = time.perf_counter()
        if now - shown > _PROGRESS_S and sys.stderr.isatty():
            shown = now
            readings = scorer.tally.readings
            click.echo(f"\r{readings:,} readings, {readings / (now - began):,.0f}/s ", err=True, nl=False)
        yield step
    if shown != began:
        click.echo("\r\x1b[K", err=True, nl=False)


def _summary(scorer: Scorer, seconds: float) -> None:
    rate = scorer.tally.readings / seconds if seconds > 0 else 0.0
    note(f"{scorer.tally}; in {seconds:.1f} s, {rate:,.0f} readings/s")


class _Refusals:
    """Names the first rejected rows on stderr, and writes all to a file where one was asked for."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._count = 0

    def take(self, row: RefusedRow) -> None:
        """Tell about one."""
        from oddtide.config.cli.output import to_json

        self._count += 1
        if self._file is not None:
            self._file.write(to_json({"line": row.line, "rejected": row.reason, "detail": row.detail}) + "\n")
        if self._count <= _SHOWN_REFUSALS:
            note(f"line {row.line}: {row.reason}: {row.detail}")
        elif self._count == _SHOWN_REFUSALS + 1:
            note("more such lines are only counted (--rejected FILE keeps them all)")
