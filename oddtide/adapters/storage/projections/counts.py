"""Counting facts that may be logged twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Table

from oddtide.adapters.storage.columns import digest, moment
from oddtide.adapters.storage.projections.base import Fact, Row, Rows, Store

__all__ = ["Counter"]


class Counter:
    """Rows with a count per key and source partition.

    A partition's facts with one key are logged in the order of their source coordinates, and a repeat is a step back
    to coordinates that were counted before; so a fact at or below the highest coordinates seen counts nothing.
    """

    def __init__(self, store: Store, table: Table, facts: Iterable[tuple[Fact, Mapping[str, Any]]]) -> None:
        self._facts = [(_key(fact, names), fact, names) for fact, names in facts]
        self._rows = Rows(store, table, (key for key, _, _ in self._facts))

    def fold(self, *, newest: bool = False) -> None:
        """Count; with ``newest`` the row also keeps the newest fact's id and document."""
        for key, fact, names in self._facts:
            row = self._rows.get(key)
            event = fact.event
            if row is not None and (event.offset, event.row) <= (row["last_offset"], row["last_row"]):
                continue
            time = moment(event.time)
            changed: Row = {
                **names, "key": key, "topic": event.topic, "partition": event.partition,
                "count": row["count"] + 1 if row else 1, "last_offset": event.offset, "last_row": event.row,
                "time_ns": max(time, row["time_ns"]) if row else time,
            }  # fmt: skip
            if newest:
                changed |= _newest(row, fact, time)
            self._rows.put(key, changed)
        self._rows.save()


def _key(fact: Fact, names: Mapping[str, Any]) -> str:
    return digest(*names.values(), fact.event.topic, fact.event.partition)


def _newest(row: Row | None, fact: Fact, time: int) -> Row:
    if row is not None and (row["time_ns"], row["id"]) >= (time, fact.id):
        return {"id": row["id"], "document": row["document"]}
    return {"id": fact.id, "document": fact.document}
