"""A small binary container: a JSON header and named columns, read back without copying and without running anything.

::

    8 bytes   "ODDTIDE" and a zero byte
    4 bytes   format version of the content, little endian, from 1
    4 bytes   length of the header
    header    JSON: {"about": whatever the content says of itself, "columns": [...]}
    columns   raw bytes, each at a multiple of 64 from the beginning of the file, zeros between them

A column is an array (``dtype``, ``shape``, ``at``) or a list of bytes (``count``, the sizes as an array at ``at``, the
bytes one after the other at ``content``). Arrays hold numbers, little endian. There are no pickles; a list of bytes may
hold some, which is its owner's matter.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from oddtide.domain.errors import DecodeError, UsageError

__all__ = ["Column", "Content", "read_container", "write_container"]

#: An array of numbers, or a list of bytes.
Column: TypeAlias = NDArray[Any] | list[bytes]

_MAGIC = b"ODDTIDE\0"
_HEAD = struct.Struct("<8sII")
_ALIGNED = 64
_KINDS = "biuf"


class Content(NamedTuple):
    """What a container holds. Arrays read from one share its memory and cannot be written to."""

    version: int
    about: dict[str, Any]
    columns: dict[str, Column]


def write_container(content: Content) -> list[bytes | memoryview]:
    """The container's bytes, in pieces: big arrays are not copied, so leave them alone until the pieces are written.

    Raises ``UsageError`` for an array of anything but numbers."""
    plan, chunks = _Plan(), list[bytes | memoryview]()
    for name, column in content.columns.items():
        entry: dict[str, Any] = {"name": name}
        if isinstance(column, list):
            sizes = np.fromiter(map(len, column), dtype="<i8", count=len(column))
            entry |= {"count": len(column), "at": plan.place(sizes.nbytes)}
            chunks += [sizes.data.cast("B") if len(sizes) else b"", b"".join(column)]
            entry["content"] = plan.place(len(chunks[-1]))
        else:
            array = _plain(name, column)
            entry |= {"dtype": array.dtype.str, "shape": list(array.shape), "at": plan.place(array.nbytes)}
            chunks.append(array.reshape(-1).view(np.uint8).data if array.size else b"")
        plan.entries.append(entry)
    return plan.laid_out(content, chunks)


class _Plan:
    """Where columns will lie, counted from the end of the header."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._end = 0

    def place(self, size: int) -> int:
        at = _round(self._end)
        self._end = at + size
        return at

    def laid_out(self, content: Content, chunks: list[bytes | memoryview]) -> list[bytes | memoryview]:
        header = msgspec.json.encode({"about": content.about, "columns": self.entries})
        start = _round(_HEAD.size + len(header))
        out: list[bytes | memoryview] = [
            _HEAD.pack(_MAGIC, content.version, len(header)) + header.ljust(start - _HEAD.size, b"\0")
        ]
        for chunk in chunks:
            out += [chunk, bytes(_round(len(chunk)) - len(chunk))]
        return [chunk for chunk in out if len(chunk)]


def read_container(raw: bytes) -> Content:
    """The inverse. Raises ``DecodeError`` for bytes that are no container, or not a whole one."""
    try:
        magic, version, length = _HEAD.unpack_from(raw)
        if magic != _MAGIC:
            raise ValueError("it does not begin as one")
        header = msgspec.json.decode(raw[_HEAD.size : _HEAD.size + length])
        start = _round(_HEAD.size + length)
        columns = {entry["name"]: _column(raw, start, entry) for entry in header["columns"]}
        return Content(version, header["about"], columns)
    except (struct.error, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise DecodeError("no_container", f"{len(raw)} bytes are no container: {error}") from None


def _column(raw: bytes, start: int, entry: Mapping[str, Any]) -> Column:
    if "dtype" in entry:
        shape = tuple(entry["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(raw, _number(entry["dtype"]), count, start + entry["at"] if count else 0).reshape(shape)
    count = entry["count"]
    sizes = np.frombuffer(raw, "<i8", count, start + entry["at"] if count else 0)
    ends = start + entry["content"] + np.cumsum(sizes)
    if count and (sizes.min() < 0 or ends[-1] > len(raw)):
        raise ValueError(f"{entry['name']} is cut off")
    return [raw[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]


def _plain(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in _KINDS:
        raise UsageError(f"The column {name!r} is of {array.dtype}.", remedy="Only numbers can be stored.")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _number(dtype: str) -> np.dtype[Any]:
    found = np.dtype(dtype)
    if found.kind not in _KINDS:
        raise ValueError(f"a column of {found}")
    return found


def _round(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
