"""``oddtide lag``: how far each consumer is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit

if TYPE_CHECKING:
    from oddtide.adapters.kafka.admin import KafkaAdmin
    from oddtide.config.composition import Composition

__all__ = ["lag", "lag_rows"]


@command(
    "lag",
    output=True,
    examples=[
        ("oddtide lag", "per role and topic"),
        ("oddtide lag --partitions", "per partition, with its owner"),
        ("oddtide lag --output json | jq 'map(.lag) | add'", "everything not yet processed"),
    ],
)
@click.option("--partitions", is_flag=True, help="One line per partition, with its owner.")
@click.option("--role", help="Only this role: ingest, observability, mlops or health.")
@pass_cli
def lag(cli: Cli, partitions: bool, role: str | None) -> None:
    """Show how many records each role has not processed yet (records, not readings)."""
    composition = cli.composition()
    with composition.admin() as admin:
        rows = [row for row in lag_rows(composition, admin) if role in (None, row["role"])]
    emit(rows if partitions else _summed(rows), output=cli.output, empty="no consumer has committed anything yet")


def lag_rows(composition: Composition, admin: KafkaAdmin) -> list[dict[str, Any]]:
    """One row per role and partition. A partition nobody has committed on counts from its beginning."""
    from oddtide.streams.worker import ROLES

    ends: dict[str, dict[int, tuple[int, int]]] = {}
    names = set(admin.names())
    rows = []
    for role in ROLES:
        group = f"{composition.settings.application}-{role}"
        committed = admin.committed(group)
        owners = {tp: member for member in admin.members(group) for tp in member.partitions}
        expected = _expected(composition, role) & names
        for topic in sorted(expected | {topic for topic, _ in committed}):
            if topic not in ends:
                ends[topic] = admin.offsets(topic) if topic in names else {}
            for partition, (begin, end) in sorted(ends[topic].items()):
                position = max(committed.get((topic, partition), begin), begin)
                owner = owners.get((topic, partition))
                rows.append(
                    {
                        "role": role,
                        "topic": topic,
                        "partition": partition,
                        "position": position,
                        "end": end,
                        "lag": max(end - position, 0),
                        "owner": owner.client_id if owner else None,
                        "host": owner.host if owner else None,
                    }
                )
    return rows


def _expected(composition: Composition, role: str) -> set[str]:
    return {plan.topic for plan in composition.plans()} if role == "ingest" else set()


def _summed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        total = totals.setdefault(
            (row["role"], row["topic"]),
            {"role": row["role"], "topic": row["topic"], "partitions": 0, "owned": 0, "lag": 0},
        )
        total["partitions"] += 1
        total["owned"] += row["owner"] is not None
        total["lag"] += row["lag"]
    return list(totals.values())
