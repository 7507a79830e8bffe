"""``oddtide ledger``: what became of every reading, shown and added up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import emit, emit_line, note, to_json
from oddtide.domain.errors import CheckFailedError

if TYPE_CHECKING:
    from oddtide.streams.replay.auditing import LedgerAdded

__all__ = ["ledger"]

_STREAM = click.option("--stream", help="The stream; needed where there are several.")
_PARTITIONS = click.option(
    "-p", "--partition", "partitions", type=click.IntRange(min=0), multiple=True, help="Only this; may be repeated."
)
_PROBLEM = ("kind", "topic", "partition", "from", "to", "detail")


@group("ledger", examples=[("oddtide ledger check", "does every reading have exactly one outcome?")])
def ledger() -> None:
    """The ledger: per partition and batch, what became of every reading."""


@command(
    "check",
    parent=ledger,
    output=True,
    examples=[
        ("oddtide ledger check", "everything; exit code 6 where something does not add up"),
        ("oddtide ledger check --stream pumps --partition 3 --output json", "one partition, for a program"),
    ],
)
@_STREAM
@_PARTITIONS
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="So many processes.  [default: the cores, where it is worth it]"
)
@pass_cli
def check(cli: Cli, stream: str | None, partitions: tuple[int, ...], jobs: int | None) -> None:
    """Add the ledger up against the log and the results.

    Batches join without gap or repeat and add up in themselves; the log holds the records that they name; every
    detection, dead letter and (with publish = "all") verdict that they count is published once. What retention has
    removed from the log or the results cannot be counted any more: 'log' and 'results' say how many batches could be.
    """
    from oddtide.config.histories import add_up, select

    composition = cli.composition()
    with composition.admin() as admin:
        chosen = select(composition, admin, stream, partitions)
        policy = admin.describe(chosen.topic).config.get("cleanup.policy", "")
        admin.describe(composition.catalogue().ledger_of(chosen.topic))
    found = add_up(composition, chosen, compacted="compact" in policy, jobs=jobs)
    _show(found, cli.output)
    problems = sum(each.problems for each in found)
    if problems:
        where = sorted({each.partition for each in found if each.problems})
        raise CheckFailedError(
            f"{problems} things do not add up, in {len(where)} of {len(found)} partitions "
            f"({', '.join(map(str, where[:10]))}{', …' if len(where) > 10 else ''}).",
            remedy="Each is named above with its offsets; docs/operations.md says what to do.",
        )
    if cli.output == "table":
        note(f"{sum(each.batches for each in found)} batches add up")


def _show(found: list[LedgerAdded], output: str) -> None:
    if output == "jsonl":
        for each in found:
            emit_line(_row(each))
        return
    if output == "json":
        click.echo(to_json([_row(each) for each in found], indent=True))
        return
    columns = [
        "partition", "batches", "from", "to", "readings", "scored", "rejected", "skipped", "detections", "log",
        "results", "pending", "problems",
    ]  # fmt: skip
    emit([_row(each) for each in found], output=output, columns=columns, empty="no partition")
    problems = [_row(problem) for each in found for problem in each.listed]
    if problems:
        click.echo()
        emit(problems, output=output, columns=_PROBLEM)
    unlisted = sum(each.problems - len(each.listed) for each in found)
    if unlisted:
        note(f"{unlisted} more are only counted")


def _row(value: Any) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(value)
    return row


@command(
    "show",
    parent=ledger,
    output=True,
    examples=[
        ("oddtide ledger show -n 3", "the last three batches of each partition"),
        ("oddtide ledger show --at 12345 --partition 0", "the batch that holds an offset"),
    ],
)
@_STREAM
@_PARTITIONS
@click.option("-n", "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Newest per partition.")
@click.option("--at", type=click.IntRange(min=0), help="Only the batch that holds this offset.")
@pass_cli
def show(cli: Cli, stream: str | None, partitions: tuple[int, ...], limit: int, at: int | None) -> None:
    """Show what became of the newest batches."""
    from oddtide.config.histories import select

    composition = cli.composition()
    with composition.admin() as admin:
        chosen = select(composition, admin, stream, partitions)
    topic = composition.catalogue().ledger_of(chosen.topic)
    rows = [row for partition in chosen.bounds for row in _newest(composition, topic, partition, limit, at)]
    columns = ["partition", "from", "to", "readings", "scored", "rejected", "skipped", "detections", "hash", "time"]
    emit(rows, output=cli.output, columns=columns, empty="the ledger is empty")


def _newest(composition: Any, topic: str, partition: int, limit: int, at: int | None) -> list[dict[str, Any]]:
    """The last ``limit`` records: twice as many offsets are looked at, since transactions' markers take some, or all
    where one is looked for."""
    start: Any = -4 * limit if at is None else "beginning"
    with composition.reader() as reader:
        found = [
            _row(event) for record in reader.read(topic, partitions=[partition], start=start, stop_at_end=True)
            for event in _completed(record)
        ]  # fmt: skip
    if at is not None:
        return list(islice((row for row in found if row["from"] <= at < row["to"]), 1))
    return found[-limit:]


def _completed(record: Any) -> Iterator[Any]:
    from oddtide.domain.errors import DecodeError
    from oddtide.domain.observability.ledger import BatchCompleted
    from oddtide.streams.envelope import open_envelope

    try:
        _, event = open_envelope(record.value, record.headers)
    except DecodeError:
        return
    if isinstance(event, BatchCompleted):
        yield event
