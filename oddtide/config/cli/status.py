"""``oddtide status``: what runs, who has what, how far it is."""

from __future__ import annotations

import time
from typing import Any

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit, emit_line, note, to_json

__all__ = ["status"]


@command(
    "status",
    output=True,
    examples=[
        ("oddtide status", "once"),
        ("oddtide status --watch", "again every two seconds, until Ctrl-C"),
        ("oddtide status --output json | jq .lag", "for a program"),
    ],
)
@click.option("--watch", is_flag=True, help="Show it again and again.")
@click.option("--every", "every_s", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="Seconds.")
@pass_cli
def status(cli: Cli, watch: bool, every_s: float) -> None:
    """Show the cluster, topics, workers, who owns which partitions, lag and counts."""
    from oddtide.config.overview import overview

    while True:
        found = overview(cli.composition())
        if watch and cli.output == "table":
            click.clear()
        _show(found, cli.output)
        if not watch:
            return
        time.sleep(every_s)


def _show(found: dict[str, Any], output: str) -> None:
    if output == "jsonl":
        emit_line(found)
    elif output == "json":
        click.echo(to_json(found, indent=True))
    else:
        _tables(found)


def _tables(found: dict[str, Any]) -> None:
    cluster, counts = found["cluster"], found["counts"]
    click.echo(f"Kafka    {cluster['bootstrap']}  {cluster['brokers']} broker(s)  {cluster['kind']}")
    topics = found["topics"]
    click.echo(f"Topics   {topics['declared']} declared, {topics['missing']} missing, {topics['different']} different")
    click.echo(f"Lag      {found['lag']} records to go")
    click.echo("Readings " + ", ".join(f"{value} {name}" for name, value in counts.items()))
    click.echo(f"Alerts   {'unknown' if found['alerts'] is None else found['alerts']} open")
    click.echo("")
    emit(
        found["workers"],
        output="table",
        columns=["worker", "state", "roles", "heartbeat_age_s", "readings_per_s", "memory_mib", "series", "asleep"],
        empty="no worker has been seen; start one with `oddtide worker`",
    )
    click.echo("")
    columns = ["topic", "partition", "owner", "position", "end", "lag"]
    emit(found["partitions"], output="table", columns=columns, empty="no partitions")
    for problem in found["problems"]:
        note(problem)
