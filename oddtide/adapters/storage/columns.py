"""Column types that hold the same content on every database, and the keys that rows are found by.

PostgreSQL cannot hold a NUL in a text, SQLite loses the sign of a zero, both have integers of 64 bits, and the two
sort texts differently unless told otherwise. The types here take those differences away, so that a projection has the
same content hash wherever it lies, and so that no event, however odd, can stall it.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from sqlalchemy import BigInteger, Double, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from oddtide.domain.readings import parse_rfc3339

__all__ = ["Label", "Number", "Whole", "digest", "identifier", "moment"]

_LARGEST = 2**63 - 1
_SMALLEST = -(2**63)
_LONGEST_IDENTIFIER = 200
_MARK = "\u2400"  # the symbol for NUL, which stands for one followed by "0" and for itself doubled


def digest(*parts: object) -> str:
    """A key of fixed length that is a function of ``parts``: 32 hex digits. Keys are indexed, and PostgreSQL refuses
    to index long texts."""
    text = "\x1f".join(str(part).replace("\x1f", "\x1f\x1f") for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def identifier(text: str) -> str:
    """An id as it is stored: itself where it is short enough to be indexed, its digest where not."""
    return text if len(text) <= _LONGEST_IDENTIFIER else digest(text)


def moment(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 text. 0 for one that cannot be read: it must not stall a projection."""
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError):
        return 0


class Label(TypeDecorator[str]):
    """A text. Any string comes back as it was; order and equality are those of its UTF-8 bytes."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text(collation="C" if dialect.name == "postgresql" else None)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or ("\x00" not in value and _MARK not in value and value.isascii()):
            return value
        clean = value.encode("utf-8", "replace").decode()
        return clean.replace(_MARK, _MARK + _MARK).replace("\x00", _MARK + "0")

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or _MARK not in value:
            return value
        pieces = value.split(_MARK + _MARK)
        return _MARK.join(piece.replace(_MARK + "0", "\x00") for piece in pieces)


class Whole(TypeDecorator[int]):
    """An integer of 64 bits; larger ones are held at the limit."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        return None if value is None else max(_SMALLEST, min(_LARGEST, int(value)))


class Number(TypeDecorator[float]):
    """A double. Zero has no sign, and what is not finite is NULL."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return None if value is None or not math.isfinite(value) else value + 0.0
