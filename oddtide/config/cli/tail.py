"""``oddtide tail``: follow a topic, decoded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit, emit_line

if TYPE_CHECKING:
    from oddtide.adapters.kafka.reader import KafkaReader
    from oddtide.streams.topics import TopicSpec

__all__ = ["tail"]


class _Start(click.ParamType):
    """``beginning``, ``end``, an offset, or minus how many of the last of each partition."""

    name = "start"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        if value in ("beginning", "end"):
            return str(value)
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is none of beginning, end, -N or N", param, ctx)


@command(
    "tail",
    output=True,
    examples=[
        ("oddtide tail detections", "the last ten of each partition, then what comes"),
        ("oddtide tail detections -o beginning -e --output jsonl", "everything there is, for a program, then end"),
        ("oddtide tail verdicts --filter series=pump-1 --filter 'p_value<1e-3'", "both must hold"),
        ("oddtide tail readings -o end -n 5", "the next five"),
        ("oddtide tail deadletters --filter 'reason~time'", "a regular expression"),
    ],
)
@click.argument("topic")
@click.option(
    "-o", "--offset", "start", type=_Start(), default="-10", show_default=True, metavar="-N|N|beginning|end",
    help="Where to begin: -10 is the last ten records of each partition, 10 the offset ten.",
)  # fmt: skip
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many rows.")
@click.option("-e", "--exit", "stop_at_end", is_flag=True, help="End at the end of the topic instead of waiting.")
@click.option("-p", "--partition", "partitions", type=int, multiple=True, help="Only this partition; may be repeated.")
@click.option("--filter", "filters", multiple=True, metavar="CONDITION", help="field=value; also != < <= > >= ~ !~")
@pass_cli
def tail(
    cli: Cli,
    topic: str,
    start: str | int,
    count: int | None,
    stop_at_end: bool,
    partitions: tuple[int, ...],
    filters: tuple[str, ...],
) -> None:
    """Follow TOPIC: a full name, or a short one such as `detections`, `alerts`, `ledger` or a stream's name.

    Events are shown decoded, one line each; verdict frames one line a verdict. Only committed records are shown.
    Order holds within a partition. Ends on Ctrl-C.
    """
    from oddtide.config.cli.filters import parse_filter
    from oddtide.config.cli.records import resolve_topic

    conditions = [parse_filter(text) for text in filters]
    composition = cli.composition()
    spec = resolve_topic(composition.catalogue(), topic)
    name = spec.name if spec else topic
    begin = _begin(start, composition, name)
    with composition.reader() as reader:
        rows = _rows(reader, name, spec, begin, stop_at_end, partitions)
        chosen = (row for row in rows if all(condition(row) for condition in conditions))
        _show(islice(chosen, count), cli.output)


def _begin(start: str | int, composition: Any, name: str) -> Any:
    """A plain offset means the same in each partition."""
    if isinstance(start, str) or start < 0:
        return start
    with composition.admin() as admin:
        return {partition: max(begin, min(start, end)) for partition, (begin, end) in admin.offsets(name).items()}


def _rows(
    reader: KafkaReader, name: str, spec: TopicSpec | None, start: Any, stop_at_end: bool, partitions: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    from oddtide.config.cli.records import decode

    for record in reader.read(name, partitions=list(partitions) or None, start=start, stop_at_end=stop_at_end):
        yield from decode(record, spec)


def _show(rows: Iterator[dict[str, Any]], output: str) -> None:
    from oddtide.config.cli.records import describe_line

    if output == "json":
        emit(rows, output=output)
        return
    for row in rows:
        if output == "jsonl":
            emit_line(row)
        else:
            click.echo(describe_line(row))
