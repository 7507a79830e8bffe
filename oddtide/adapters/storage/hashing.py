"""The hash of a projection's content: equal where the content is, on any database and in any physical order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, desc, select

from oddtide.adapters.storage.projections.base import Content, Projection

__all__ = ["content_hash", "selection"]

_ENCODER = msgspec.json.Encoder()
_BYTES = 32
_YIELD = 1_000


def content_hash(connection: Connection, projections: Iterable[Projection], keep: int) -> str:
    """64 hex digits over every row. Each row's digest goes into a sum, so their order does not matter."""
    total = 0
    for projection in projections:
        for content in projection.contents:
            for raw in _rows(connection, content, keep):
                total += int.from_bytes(hashlib.blake2b(raw, digest_size=_BYTES).digest(), "big")
    return f"{total % (1 << 8 * _BYTES):0{2 * _BYTES}x}"


def selection(content: Content, keep: int) -> Select[Any]:
    """The rows that are content."""
    table = content.table
    rows = select(*sorted(table.columns, key=lambda column: column.name))
    return rows.order_by(desc(table.c.time_ns), desc(table.c.id)).limit(keep) if content.recent else rows


def _rows(connection: Connection, content: Content, keep: int) -> Iterator[bytes]:
    found = connection.execution_options(yield_per=_YIELD).execute(selection(content, keep))
    name = f"{content.table.name}"  # a plain text: the encoder takes no subclasses
    for row in found:
        yield _ENCODER.encode((name, *row))
