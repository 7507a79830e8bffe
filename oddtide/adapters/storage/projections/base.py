"""What projections are made of: facts, and the rows that a batch of them touches.

A projection is written so that its state depends only on the *set* of facts and on their order within a source
partition, never on how partitions are interleaved or batches cut: rebuilt, it is the same. Three shapes do that:

- *recents*: events by id, kept to the newest by the event's own time and id;
- *newest*: a row that takes a fact only where the fact is newer by its own content;
- *counts*: with a high-water mark of the source coordinates, so that a fact that was decided and logged twice counts
  once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

import msgspec
from sqlalchemy import Connection, Table, delete, desc, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from oddtide.adapters.storage.columns import identifier
from oddtide.adapters.storage.ports import Logged
from oddtide.domain.events import Message

__all__ = ["Content", "Fact", "Projection", "Row", "Rows", "Store", "document"]

Row: TypeAlias = dict[str, Any]

_ENCODER = msgspec.json.Encoder(order="deterministic")
_CHUNK = 500
_T = TypeVar("_T")


def document(event: Message) -> str:
    """An event as canonical JSON."""
    return _ENCODER.encode(event).decode()


@dataclass
class Fact:
    """An event on its way into projections. ``id`` falls back to its place in the log where the envelope has none."""

    logged: Logged

    @cached_property
    def id(self) -> str:
        """Equal for a fact that was logged twice."""
        logged = self.logged
        return identifier(logged.envelope.id) or f"{logged.topic}/{logged.partition}/{logged.offset}"

    @property
    def event(self) -> Any:
        """The event; a projection gets the types that it takes."""
        return self.logged.event

    @property
    def type(self) -> str:
        """Its name, without the prefix of the wire."""
        return type(self.logged.event).__name__

    @cached_property
    def document(self) -> str:
        """The event as canonical JSON."""
        return document(self.logged.event)


@dataclass(frozen=True, slots=True)
class Content:
    """A table of a projection. Of one with ``recent`` only the newest rows by ``time_ns`` and ``id`` are content; more
    may lie there until they are cleared away."""

    table: Table
    recent: bool = False


class Projection(Protocol):
    """A fold of events into tables. ``group`` is the agent's name for those that move together."""

    name: ClassVar[str]
    group: ClassVar[str]
    takes: ClassVar[tuple[type[Message], ...]]
    contents: ClassVar[tuple[Content, ...]]

    def fold(self, facts: Sequence[Fact], store: Store) -> None:
        """Fold facts of the types in ``takes``, in order, within the store's transaction."""
        ...


class Rows:
    """Rows of one table by key: loaded once, changed in memory, written back at once."""

    def __init__(self, store: Store, table: Table, keys: Iterable[str]) -> None:
        self._store = store
        self._table = table
        self._rows: dict[str, Row] = store.load(table, keys)
        self._changed: set[str] = set()

    def get(self, key: str) -> Row | None:
        """The row as it is now, or None. Not to be changed in place."""
        return self._rows.get(key)

    def put(self, key: str, row: Row) -> None:
        """Replace the row."""
        self._rows[key] = row
        self._changed.add(key)

    def save(self) -> None:
        """Write what was changed."""
        self._store.upsert(self._table, [self._rows[key] for key in sorted(self._changed)])


class Store:
    """What projections do to the database within one transaction.

    ``keep`` is how many rows a table of recents holds; ``added`` counts, per table, those added since it was cleared.
    """

    def __init__(self, connection: Connection, *, keep: int, added: dict[str, int]) -> None:
        self.connection = connection
        self._insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        self._keep = keep
        self._added = added

    def load(self, table: Table, keys: Iterable[str]) -> dict[str, Row]:
        """The rows with these keys that there are."""
        (key,) = table.primary_key.columns
        found: dict[str, Row] = {}
        for chunk in _chunks(sorted(set(keys))):
            for row in self.connection.execute(select(table).where(key.in_(chunk))).mappings():
                found[row[key]] = dict(row)
        return found

    def known(self, table: Table, keys: Iterable[str]) -> set[str]:
        """Which of these keys have a row."""
        (key,) = table.primary_key.columns
        found: set[str] = set()
        for chunk in _chunks(sorted(set(keys))):
            found.update(self.connection.execute(select(key).where(key.in_(chunk))).scalars())
        return found

    def upsert(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows, replacing those with the same key."""
        if not rows:
            return
        statement = self._insert(table)
        (key,) = table.primary_key.columns
        changes = {column.name: statement.excluded[column.name] for column in table.columns if column is not key}
        self.connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=changes), rows)

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows; one whose key is there already changes nothing."""
        if rows:
            self.connection.execute(self._insert(table).on_conflict_do_nothing(), rows)

    def add_recent(self, table: Table, rows: Sequence[Row]) -> None:
        """The same for a table of recents, which is cleared of the oldest now and then."""
        self.add(table, rows)
        slack = max(1, self._keep // 10)
        added = self._added.get(table.name, slack) + len(rows)
        if added >= slack:
            self._clear(table)
            added = 0
        self._added[table.name] = added

    def _clear(self, table: Table) -> None:
        time, id_ = table.c.time_ns, table.c.id
        oldest = select(time, id_).order_by(desc(time), desc(id_)).offset(self._keep - 1).limit(1)
        edge = self.connection.execute(oldest).one_or_none()
        if edge is not None:
            self.connection.execute(delete(table).where(tuple_(time, id_) < tuple_(*edge)))


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
