"""``oddtide topics``: the topics as declared, as they are, and made."""

from __future__ import annotations

from typing import Any

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import emit, emit_one, note

__all__ = ["topics"]


@group("topics", examples=[("oddtide topics create", "make every topic that is missing")])
def topics() -> None:
    """The topics: what is declared, what is there, and making them."""


@command(
    "list",
    parent=topics,
    output=True,
    examples=[("oddtide topics list", "every declared topic and whether it is there as declared")],
)
@click.option("--declared", is_flag=True, help="Only the declaration; asks no Kafka.")
@pass_cli
def list_(cli: Cli, declared: bool) -> None:
    """List every topic: its key, partitions, what it carries, and its state on the cluster."""
    composition = cli.composition()
    specs = composition.catalogue().all()
    states: dict[str, str] = {}
    if not declared:
        with composition.admin() as admin:
            states = {spec.name: "ok" for spec in specs}
            for mismatch in admin.mismatches(specs):
                states[mismatch.topic] = "missing" if mismatch.kind == "missing" else "differs"
    rows: list[dict[str, Any]] = [
        {
            "topic": spec.name,
            "partitions": spec.partitions,
            "key": spec.key,
            "state": states.get(spec.name, "declared"),
            "carries": [kind.__name__ for kind in spec.carries] or ["readings"],
            "purpose": spec.purpose,
            "config": spec.config,
        }
        for spec in specs
    ]
    emit(rows, output=cli.output, columns=["topic", "partitions", "key", "state", "purpose"])


@command(
    "create",
    parent=topics,
    output=True,
    examples=[("oddtide topics create", "make what is missing; exit code 6 where one there differs")],
)
@pass_cli
def create(cli: Cli) -> None:
    """Make every topic that is missing, and check those that are there. Never changes one."""
    from oddtide.config.topic_making import make_topics
    from oddtide.domain.errors import CheckFailedError

    composition = cli.composition()
    specs = composition.catalogue().all()
    with composition.admin() as admin:
        created = set(make_topics(composition, admin))
        wrong = admin.mismatches(specs)
    rows = [{"topic": spec.name, "partitions": spec.partitions, "created": spec.name in created} for spec in specs]
    emit(rows, output=cli.output)
    left_out = sum(each.kind == "missing" for each in wrong)
    rest = f", {left_out} left out" if left_out else ""
    note(f"{len(created)} made, {len(specs) - len(created) - left_out} were there{rest}")
    if wrong:
        raise CheckFailedError("; ".join(each.problem for each in wrong) + ".", remedy=wrong[0].remedy)


@command(
    "describe",
    parent=topics,
    output=True,
    examples=[("oddtide topics describe detections", "its settings, partitions and offsets")],
)
@click.argument("topic")
@pass_cli
def describe(cli: Cli, topic: str) -> None:
    """Show one TOPIC (a full name, or a short one such as `detections`) as it is on the cluster."""
    from oddtide.config.cli.records import resolve_topic
    from oddtide.streams.topics import TopicCatalogue

    composition = cli.composition()
    catalogue: TopicCatalogue = composition.catalogue()
    spec = resolve_topic(catalogue, topic)
    name = spec.name if spec else topic
    with composition.admin() as admin:
        found = admin.describe(name)
        offsets = admin.offsets(name)
    emit_one(
        {
            "topic": name,
            "declared": spec is not None,
            "purpose": spec.purpose if spec else None,
            "carries": [kind.__name__ for kind in spec.carries] if spec else [],
            "partitions": found.partitions,
            "replication": found.replication,
            "config": found.config if cli.output != "table" or spec is None else _told(found.config, spec.config),
            "records": sum(end - begin for begin, end in offsets.values()),
            "offsets": {str(partition): list(span) for partition, span in sorted(offsets.items())},
        },
        output=cli.output,
    )


@command(
    "migrate",
    parent=topics,
    output=True,
    examples=[
        ("oddtide topics migrate --to pumps-16 --partitions 16", "copy the readings into a new topic, and check"),
        ("oddtide topics migrate --to pumps-16 --partitions 16 --from 2026-01-01", "only what is newer"),
    ],
)
@click.option("--stream", help="The stream; needed where there are several.")
@click.option("--to", "target", required=True, metavar="TOPIC", help="The new topic; made where it is missing.")
@click.option("--partitions", type=click.IntRange(1, 10_000), required=True, help="How many partitions it gets.")
@click.option("--from", "start", metavar="TIME", help="Leave out what is older.  [default: everything]")
@pass_cli
def migrate(cli: Cli, stream: str | None, target: str, partitions: int, start: str | None) -> None:
    """Copy a stream's readings into a new topic with another number of partitions.

    Partitions are never enlarged in place: that would scatter series. Each record keeps its key, value, headers and
    timestamp; the key decides the partition as in Kafka's own clients, and the order within a series stays. Killed, it
    goes on where it was: call it again, also to copy what producers have sent since. docs/operations.md has the whole
    procedure.
    """
    from oddtide.config.migrating import migrate_stream
    from oddtide.domain.errors import CheckFailedError

    done = migrate_stream(cli.composition(), stream, target, partitions, start)
    emit(
        [
            {"topic": target, "partition": each.partition, "copied": each.copied, "found": each.found,
             "same": each.same if each.complete else None}
            for each in done.checked
        ],
        output=cli.output,
    )  # fmt: skip
    wrong = [each.partition for each in done.checked if each.complete and not each.same]
    if wrong:
        raise CheckFailedError(
            f"{target} does not hold what was copied, in partitions {wrong}.",
            remedy="Has somebody else written into it? Do not switch over; begin again with a new topic.",
        )
    note(f"{done.copied} records copied from {done.source}; all of it is in {target}")
    note(
        f"to switch over, declare a stream of a new name with the rules of {done.stream} and "
        f'topic = "{target}", partitions = {partitions}; docs/operations.md says in which order'
    )


def _told(actual: dict[str, str], declared: dict[str, str]) -> dict[str, str]:
    """The settings that the declaration speaks of."""
    return {name: actual.get(name, "") for name in declared}
