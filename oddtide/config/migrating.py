"""Moving a stream to a topic with another number of partitions, from the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oddtide.config.going import Going
from oddtide.config.histories import place, ranges, select
from oddtide.domain.errors import UsageError

if TYPE_CHECKING:
    from oddtide.config.composition import Composition
    from oddtide.streams.replay.migrating import Migration, PartitionChecked

__all__ = ["Migrated", "migrate_stream"]

#: What a new topic takes over from the old one.
_TAKEN_OVER = ("cleanup.policy", "retention.ms", "retention.bytes", "max.message.bytes", "compression.type")


@dataclass(frozen=True, slots=True)
class _Topic:
    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)
    foreign: bool = True


@dataclass(frozen=True, slots=True)
class Migrated:
    """What came of it."""

    stream: str
    source: str
    target: str
    copied: int
    checked: list[PartitionChecked]


def migrate_stream(
    composition: Composition, stream: str | None, target: str, partitions: int, start: str | None
) -> Migrated:
    """Copy the readings of a stream into ``target``, which is made where it is missing, and check the copies.

    Goes on where an earlier call ended. Raises what :func:`migrate` does, ``UsageError`` for a target that cannot be.
    """
    from oddtide.streams.replay.migrating import Migration, migration_topic

    begin = place(start)
    with composition.admin() as admin:
        chosen = select(composition, admin, stream, ())
        if target == chosen.topic or composition.catalogue().find(target) is not None:
            raise UsageError(f"{target!r} is in use.", remedy="Name a new topic with --to.")
        config = admin.describe(chosen.topic).config
        kept = {name: config[name] for name in _TAKEN_OVER if name in config}
        # Times are taken over: a broker that stamps records with the time of their arrival would not keep them.
        topics = [
            _Topic(target, partitions, {**kept, "message.timestamp.type": "CreateTime"}),
            _Topic(migration_topic(target), 1, {"cleanup.policy": "compact"}),
        ]
        admin.ensure(topics, replication=composition.settings.kafka.replication)
        actual = admin.describe(target).partitions
    if actual != partitions:
        raise UsageError(f"{target!r} has {actual} partitions, not {partitions}.", remedy="Name a new topic with --to.")
    begins = {each.partition: each.start for each in ranges(composition, chosen, begin, None) if each.start is not None}
    migration = Migration(
        composition.broker_access(), composition.settings.application, chosen.topic, len(chosen.bounds), target,
        partitions, begins,
    )  # fmt: skip
    copied, checked = _run(migration, chosen.records)
    return Migrated(chosen.stream.name, chosen.topic, target, copied, checked)


def _run(migration: Migration, records: int) -> tuple[int, list[PartitionChecked]]:
    from oddtide.streams.replay.migrating import check_copies, migrate
    from oddtide.streams.replay.running import run

    going = Going("copying", records)
    copied = run(migrate(migration, going))
    going.end()
    going = Going("checking", 2 * records)
    checked = run(check_copies(migration, going))
    going.end()
    return copied, checked
