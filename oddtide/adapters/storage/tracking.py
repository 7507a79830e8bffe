"""How far each group of projections has folded each partition: in the same database, moved in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, case, func, select, update

from oddtide.adapters.storage.columns import digest
from oddtide.adapters.storage.projections.base import Row, Store
from oddtide.adapters.storage.tables import TRACKING

__all__ = ["Partition", "Tracked", "forget", "load", "lock", "save"]

Partition: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Tracked:
    """``position`` is the next offset to fold, None from the beginning; below ``silent_until`` it is a rebuild."""

    position: int | None = None
    silent_until: int = 0


def load(connection: Connection, projection: str) -> dict[Partition, Tracked]:
    """Where the group stands."""
    rows = connection.execute(select(TRACKING).where(TRACKING.c.projection == projection)).mappings()
    return {(row["topic"], row["partition"]): Tracked(row["position"], row["silent_until"]) for row in rows}


def save(store: Store, projection: str, tracked: Mapping[Partition, Tracked]) -> None:
    """Move the group to ``tracked``."""
    store.upsert(TRACKING, [_row(projection, place, state) for place, state in tracked.items()])


def _row(projection: str, place: Partition, state: Tracked) -> Row:
    topic, partition = place
    return {
        "key": digest(projection, topic, partition), "projection": projection, "topic": topic, "partition": partition,
        "position": state.position, "silent_until": state.silent_until,
    }  # fmt: skip


def forget(connection: Connection, projection: str) -> None:
    """Back to the beginning. What was folded before counts as a rebuild from now on."""
    known = func.coalesce(TRACKING.c.position, 0)
    furthest = case((known > TRACKING.c.silent_until, known), else_=TRACKING.c.silent_until)
    connection.execute(
        update(TRACKING).where(TRACKING.c.projection == projection).values(position=None, silent_until=furthest)
    )


def lock(connection: Connection, projection: str) -> None:
    """Let one transaction at a time fold the group. SQLite has one writer as it is."""
    if connection.dialect.name == "postgresql":
        key = int(digest("fold", projection)[:15], 16)
        connection.execute(select(func.pg_advisory_xact_lock(key)))
