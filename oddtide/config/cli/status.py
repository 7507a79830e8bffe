"""``oddtide status``: what runs, who has what, how far it is."""

from __future__ import annotations

import sys
import time
from typing import Any

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit, emit_line, note, to_json
from oddtide.config.cli.status_view import PARTITIONS, WORKERS, headlines, partition_rows, screen, worker_rows

__all__ = ["status"]


@command(
    "status",
    output=True,
    examples=[
        ("oddtide status", "once"),
        ("oddtide status --watch", "again every two seconds, until Ctrl-C"),
        ("oddtide status --output json | jq .lag", "for a program"),
        ("oddtide status --watch --output jsonl", "an object each time, with rates"),
    ],
)
@click.option("--watch", is_flag=True, help="Show it again and again, with rates; also while Kafka is away.")
@click.option("--every", "every_s", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="Seconds.")
@pass_cli
def status(cli: Cli, watch: bool, every_s: float) -> None:
    """Show the cluster, topics, workers, who owns which partitions, lag and counts."""
    from oddtide.config.overview import Watch, overview

    if not watch:
        _show(overview(cli.composition()), cli.output)
        return
    look = Watch(cli.composition()).look
    if cli.output == "table" and sys.stdout.isatty():
        _live(look, every_s)
    while True:
        _show(look(), cli.output)
        time.sleep(every_s)


def _live(look: Any, every_s: float) -> None:
    """The terminal's second screen, redrawn in place; what was there before comes back at the end."""
    from rich.live import Live

    from oddtide.config.cli.output import console

    with Live(screen(look()), console=console(), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every_s)
            live.update(screen(look()), refresh=True)


def _show(found: dict[str, Any], output: str) -> None:
    if output == "jsonl":
        emit_line(found)
    elif output == "json":
        click.echo(to_json(found, indent=True))
    else:
        _tables(found)


def _tables(found: dict[str, Any]) -> None:
    for name, text in headlines(found):
        click.echo(f"{name:<9}{text}")
    click.echo("")
    empty = "no worker has been seen; start one with `oddtide worker`"
    emit(worker_rows(found), output="table", columns=WORKERS, empty=empty)
    click.echo("")
    emit(partition_rows(found), output="table", columns=PARTITIONS, empty="no partitions")
    for problem in found["problems"]:
        note(problem)
