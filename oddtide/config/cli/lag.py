"""``oddtide lag``: how far each consumer is behind."""

from __future__ import annotations

from typing import Any

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit

__all__ = ["lag"]


@command(
    "lag",
    output=True,
    examples=[
        ("oddtide lag", "per consumer group and topic"),
        ("oddtide lag --partitions", "per partition, with its owner"),
        ("oddtide lag --output json | jq 'map(.lag) | add'", "everything not yet processed"),
    ],
)
@click.option("--partitions", is_flag=True, help="One line per partition, with its owner.")
@click.option("--role", help="Only this role: ingest, observability, mlops or health.")
@pass_cli
def lag(cli: Cli, partitions: bool, role: str | None) -> None:
    """Show how many records each consumer group has not processed yet (records, not readings).

    A partition of results that is done with may show 1: the marker of its last transaction, which is no record.
    """
    from oddtide.config.lagging import lag_rows

    composition = cli.composition()
    with composition.admin() as admin:
        rows = [row for row in lag_rows(composition, admin) if role in (None, row["role"])]
    emit(rows if partitions else _summed(rows), output=cli.output, empty="no consumer has committed anything yet")


def _summed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        what = {name: row[name] for name in ("role", "group", "topic")}
        total = totals.setdefault((row["group"], row["topic"]), {**what, "partitions": 0, "owned": 0, "lag": 0})
        total["partitions"] += 1
        total["owned"] += row["owner"] is not None
        total["lag"] += row["lag"]
    return list(totals.values())
