"""``oddtide produce``: push readings from a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit_one, note
from oddtide.domain.errors import NotFoundError, OddtideError

if TYPE_CHECKING:
    from oddtide.adapters.files.rows import Row
    from oddtide.adapters.files.tables import Table, TableOptions
    from oddtide.adapters.kafka.writer import KafkaWriter
    from oddtide.config.composition import Composition

__all__ = ["Run", "Target", "file_options", "names_in", "produce", "push", "send", "target"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_CONFIRM_ROWS = 20_000
_CONFIRM_S = 1.0
_SHOWN_REFUSALS = 5


_FILE_OPTIONS = (
    click.option("--series", default="", metavar="COLUMN", help="Column of the series.  [default: series, if there]"),
    click.option(
        "--name", default="", metavar="NAME", help="Series of all rows, without such a column.  [default: FILE]"
    ),
    click.option(
        "--time", "time_", default="", metavar="COLUMN", help="Column of the time.  [default: timestamp, time …]"
    ),
    click.option("--value", default="", metavar="COLUMN", help="Column of the value, for a stream of one feature."),
    click.option("--features", default="", metavar="A,B,...", help="Columns of the features, for a stream of several."),
    click.option("--labels", default="", metavar="A,B,...", help="Columns to send along as labels."),
    click.option(
        "--rate", type=click.FloatRange(min=0, min_open=True), help="Readings per second.  [default: no limit]"
    ),
    click.option("--limit", type=click.IntRange(min=1), help="Stop after so many rows."),
    click.option("--skip", type=click.IntRange(min=0), default=0, help="Leave out the first so many rows."),
)


def file_options(command: _Command) -> _Command:
    """How the rows of a file are read, and how many of them are sent at what speed."""
    for option in reversed(_FILE_OPTIONS):
        command = option(command)
    return command


@command(
    "produce",
    output=True,
    examples=[
        ("oddtide produce readings.csv", "a CSV with a header; timestamp,value needs no options"),
        ("oddtide produce plant.csv --series pump --time at --features flow,pressure", "name the columns"),
        ("collector | oddtide produce -", "JSON lines from a pipe, as they come"),
        ("oddtide produce day.csv --rate 100 --limit 10000", "at speed 100 readings/s, ten thousand of them"),
        ("oddtide produce day.csv --skip 20000", "go on where an interrupted run says it was"),
    ],
)
@click.argument("file", metavar="FILE|-")
@click.option("--stream", "stream", help="The stream to push to.  [default: the first one declared]")
@click.option("--topic", help="Another topic than the stream's.")
@file_options
@pass_cli
def produce(
    cli: Cli,
    file: str,
    stream: str | None,
    topic: str | None,
    series: str,
    name: str,
    time_: str,
    value: str,
    features: str,
    labels: str,
    rate: float | None,
    limit: int | None,
    skip: int,
) -> None:
    """Push the readings in FILE (CSV or JSON lines, gzip too; - is standard input) to a stream.

    Each reading is keyed by its series, so a series stays in order in one partition. A row that is no reading is
    named on stderr, counted, and makes the exit code 1; the others are sent.
    """
    from oddtide.adapters.files.tables import TableOptions

    composition = cli.composition()
    where = target(composition, stream, topic)
    options = TableOptions(
        time=time_, series=series, value=value, features=names_in(features), labels=names_in(labels), name=name
    )
    run = send(composition, where, file, options, rate=rate, limit=limit, skip=skip)
    emit_one(run.summary(), output=cli.output)
    if run.refused:
        raise OddtideError(f"Of {file} {run.refused} row(s) are no readings and were not sent.")


def names_in(text: str) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclass(frozen=True)
class Target:
    """Where readings go, and the stream's features."""

    topic: str
    features: tuple[str, ...] = ("value",)


def target(composition: Composition, stream: str | None, topic: str | None) -> Target:
    """The topic of a stream, the first one where none is named, or another one. Raises ``NotFoundError``."""
    plans = composition.plans()
    chosen = next((plan for plan in plans if stream in (None, plan.name)), None)
    if chosen is None:
        names = ", ".join(plan.name for plan in plans)
        raise NotFoundError(f"There is no stream {stream!r}.", remedy=f"Declared are: {names}.")
    return Target(topic or chosen.topic, chosen.contract.names)


@dataclass
class Run:
    """One run. ``done`` counts rows of the file, from its first, that are dealt with for good: sent and acknowledged,
    or refused. With a ``source`` the rows are history: each says which source and which row of it it is."""

    target: Target
    rate: float | None
    limit: int | None
    done: int
    skip: int
    source: int | None = None
    sent: int = 0
    refused: int = 0
    started: float = field(default_factory=time.monotonic)
    confirmed_at: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return max(time.monotonic() - self.started, 1e-9)

    def summary(self) -> dict[str, Any]:
        return {
            "topic": self.target.topic,
            "sent": self.sent,
            "refused": self.refused,
            "rows_done": self.done,
            "seconds": round(self.seconds(), 3),
            "readings_per_s": round(self.sent / self.seconds(), 1),
        }


def send(
    composition: Composition, where: Target, file: str, options: TableOptions, *,
    rate: float | None, limit: int | None, skip: int, source: int | None = None,
) -> Run:  # fmt: skip
    """Push the rows of ``file`` to ``where``; how it went. Raises ``NotFoundError`` where there is no such file or
    topic."""
    from oddtide.adapters.files.tables import open_table

    with open_table(file, options) as table:
        for remark in table.notes:
            note(remark)
        with composition.admin() as admin:
            if where.topic not in admin.names():
                raise NotFoundError(f"There is no topic {where.topic!r}.", remedy="Run `oddtide topics create`.")
        run = Run(where, rate=rate, limit=limit, done=skip, skip=skip, source=source)
        with composition.writer() as writer:
            push(run, table, writer)
    return run


def push(run: Run, table: Table, writer: KafkaWriter) -> None:
    """Send the table's rows; says how far it is where it is interrupted."""
    position = run.done
    try:
        for row in _pick(table, run):
            _send(run, row, writer, position)
            position += 1
            if position - run.done >= _CONFIRM_ROWS or time.monotonic() - run.confirmed_at >= _CONFIRM_S:
                _confirm(run, writer, position)
            _pace(run)
    except KeyboardInterrupt:
        _confirm(run, writer, position)
        note(f"interrupted after {run.done} rows; go on with --skip {run.done}")
        raise
    except OddtideError as error:
        note(f"{run.done} rows are surely sent; go on with --skip {run.done}")
        raise error from None
    _confirm(run, writer, position)


def _pick(table: Table, run: Run) -> Iterator[Row]:
    taken = 0
    for index, row in enumerate(table):
        if index < run.skip:
            continue
        if run.limit is not None and taken >= run.limit:
            return
        taken += 1
        yield row


def _send(run: Run, row: Row, writer: KafkaWriter, position: int) -> None:
    from oddtide.adapters.files.rows import RawRow, RefusedRow
    from oddtide.streams.codecs.encoding import encode_reading
    from oddtide.streams.codecs.history import history_header

    if isinstance(row, RefusedRow):
        run.refused += 1
        if run.refused <= _SHOWN_REFUSALS:
            note(f"line {row.line}: {row.reason}: {row.detail}")
        elif run.refused == _SHOWN_REFUSALS + 1:
            note("more such lines are only counted")
        return
    if isinstance(row, RawRow):
        value = row.raw
    else:
        value = encode_reading(row.series, row.time, _renamed(row.values, run.target.features), row.labels)
    headers = [history_header(run.source, position)] if run.source is not None else []
    writer.send(run.target.topic, value, key=row.series.encode(), headers=headers)
    run.sent += 1


def _renamed(values: Mapping[str, float], features: tuple[str, ...]) -> Mapping[str, float]:
    """A lone column counts as the stream's lone feature, whatever its name."""
    if len(features) == 1 and features[0] != "value" and list(values) == ["value"]:
        return {features[0]: values["value"]}
    return values


def _confirm(run: Run, writer: KafkaWriter, position: int) -> None:
    writer.flush(60.0)
    run.done = position
    run.confirmed_at = time.monotonic()
    if run.seconds() >= _CONFIRM_S:
        _show_progress(run)


def _show_progress(run: Run) -> None:
    import sys

    if sys.stderr.isatty():
        click.echo(f"\r{run.sent} readings, {run.sent / run.seconds():,.0f}/s ", err=True, nl=False)


def _pace(run: Run) -> None:
    if run.rate is None:
        return
    ahead = run.sent / run.rate - run.seconds()
    if ahead > 0:
        time.sleep(ahead)
