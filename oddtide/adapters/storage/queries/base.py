"""What the queries are made of. Answers are plain JSON values; times are RFC 3339, empty where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import Select, Table, desc, select

from oddtide.adapters.storage.database import Database
from oddtide.domain.readings import rfc3339

__all__ = ["Answer", "Reader", "event_of", "picked", "time_of"]

Answer: TypeAlias = dict[str, Any]


class Reader:
    """Reads from one database. ``keep`` is how many rows of a table of recents count, ``clock`` gives nanoseconds."""

    def __init__(self, database: Database, *, clock: Callable[[], int], keep: int) -> None:
        self._database = database
        self._clock = clock
        self._keep = keep

    def _all(self, statement: Select[Any]) -> list[Answer]:
        with self._database.reading() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def _recent(self, table: Table, limit: int, **equal: str) -> Select[Any]:
        """The newest rows of a table of recents, of those where the columns equal what is given (empty: any)."""
        newest = desc(table.c.time_ns), desc(table.c.id)
        content = select(table).order_by(*newest).limit(self._keep).subquery()
        rows = select(content)
        for name, value in equal.items():
            if value:
                rows = rows.where(content.c[name] == value)
        return rows.order_by(desc(content.c.time_ns), desc(content.c.id)).limit(limit)


def event_of(document: str | None) -> Answer:
    """The event in a document, as JSON values."""
    return {} if document is None else dict(msgspec.json.decode(document))


def time_of(nanoseconds: int | None) -> str:
    """A time for people."""
    return "" if nanoseconds is None else rfc3339(nanoseconds)


def picked(row: Mapping[str, Any], names: Iterable[str]) -> Answer:
    """Some columns of a row."""
    return {name: row[name] for name in names}
