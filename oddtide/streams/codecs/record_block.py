"""Consecutive records of one partition as columns over shared bytes: what the hot path is handed instead of objects.

A record costs a few hundred nanoseconds as an object and nothing as a row. So a fetched batch stays the bytes that
Kafka sent, and says in columns where in them each key, value and header lies. Code that wants a record, because it is
odd, refused or in a test, takes ``block[i]`` and gets one made for it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from oddtide.domain.readings import ByteArray, IntArray
from oddtide.streams.codecs.decoded import Record, RecordLike

__all__ = ["ByteArray", "RecordBlock"]


@dataclass(frozen=True, slots=True, eq=False)
class RecordBlock(Sequence[Record]):
    """``n`` records of one partition, in the order of their offsets, which may have holes.

    ``data`` holds every key, value and header; other bytes may lie between them, and several blocks may share it.
    ``offsets`` and ``timestamps`` (milliseconds) are (n,), like ``value_at`` and ``value_size``, ``key_at`` and
    ``key_size``: record ``i``'s value is ``data[value_at[i] : value_at[i] + value_size[i]]``, a size of -1 means null.
    ``headers`` counts a record's headers; from ``header_at`` on they lie in Kafka's framing (zigzag varint sizes).

    ``data`` is read-only, as ``np.frombuffer`` makes it, so that kernels are compiled for one kind of array.
    """

    data: ByteArray
    offsets: IntArray
    timestamps: IntArray
    value_at: IntArray
    value_size: IntArray
    key_at: IntArray
    key_size: IntArray
    headers: IntArray
    header_at: IntArray

    @classmethod
    def of(cls, records: Sequence[RecordLike]) -> RecordBlock:
        """``records`` as a block; one that is a block already comes back as it is."""
        if isinstance(records, RecordBlock):
            return records
        n, parts, at = len(records), list[bytes](), 0
        columns = np.empty((8, n), dtype=np.int64)
        for i, record in enumerate(records):
            key, value = record.key, record.value
            framed = _frame(record.headers or ())
            key_size, value_size = _size(key), _size(value)
            value_at = at + max(key_size, 0)
            header_at = value_at + max(value_size, 0)
            columns[:, i] = (
                record.offset, record.timestamp, value_at, value_size, at, key_size, len(record.headers or ()),
                header_at,
            )  # fmt: skip
            parts += (key or b"", value or b"", framed)
            at = header_at + len(framed)
        return cls(np.frombuffer(b"".join(parts), dtype=np.uint8), *columns)

    @staticmethod
    def joined(blocks: Iterable[RecordBlock]) -> RecordBlock:
        """One block of several consecutive ones; their bytes are copied into one array, unless they share one."""
        full = [block for block in blocks if len(block)]
        if len(full) < 2:
            return full[0] if full else RecordBlock.of(())
        data = {id(block.data): block.data for block in full}
        starts = dict(zip(data, np.cumsum([0, *map(len, data.values())]).tolist(), strict=False))
        shift = np.repeat([starts[id(block.data)] for block in full], [len(block) for block in full])

        def column(name: str) -> IntArray:
            whole: IntArray = np.concatenate([getattr(block, name) for block in full])
            return whole

        return RecordBlock(
            _read_only(*data.values()),
            column("offsets"),
            column("timestamps"),
            column("value_at") + shift,
            column("value_size"),
            column("key_at") + shift,
            column("key_size"),
            column("headers"),
            column("header_at") + shift,
        )

    @property
    def first(self) -> int:
        """The first record's offset. Raises ``IndexError`` where there is none."""
        return int(self.offsets[0])

    @property
    def last(self) -> int:
        """The last record's offset. Raises ``IndexError`` where there is none."""
        return int(self.offsets[-1])

    def from_offset(self, offset: int) -> RecordBlock:
        """The records at or after ``offset``."""
        return self[int(np.searchsorted(self.offsets, offset)) :]

    def before(self, offset: int) -> RecordBlock:
        """The records before ``offset``."""
        return self[: int(np.searchsorted(self.offsets, offset))]

    def at_offset(self, offset: int) -> Record:
        """The record with this offset. Raises ``KeyError`` where the block has none."""
        place = int(np.searchsorted(self.offsets, offset))
        if place == len(self) or self.offsets[place] != offset:
            raise KeyError(offset)
        return self[place]

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> RecordBlock: ...
    def __getitem__(self, index: int | slice) -> Record | RecordBlock:
        if isinstance(index, slice):
            return self._part(index)
        index = operator.index(index)  # TypeError, as lists have it: Faust asks every value for a key of its own
        count = int(self.headers[index])
        return Record(
            int(self.offsets[index]),
            int(self.timestamps[index]),
            self._bytes(int(self.key_at[index]), int(self.key_size[index])),
            self._bytes(int(self.value_at[index]), int(self.value_size[index])),
            _unframe(self.data, int(self.header_at[index]), count) if count else (),
        )

    def __iter__(self) -> Iterator[Record]:
        for i in range(len(self)):
            yield self[i]

    def _part(self, part: slice) -> RecordBlock:
        return RecordBlock(
            self.data, self.offsets[part], self.timestamps[part], self.value_at[part], self.value_size[part],
            self.key_at[part], self.key_size[part], self.headers[part], self.header_at[part],
        )  # fmt: skip

    def _bytes(self, at: int, size: int) -> bytes | None:
        return None if size < 0 else self.data[at : at + size].tobytes()


def _read_only(*parts: ByteArray) -> ByteArray:
    if len(parts) == 1:
        return parts[0]
    whole = np.concatenate(parts)
    whole.flags.writeable = False
    return whole


def _size(content: bytes | None) -> int:
    return -1 if content is None else len(content)


def _frame(headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    framed = bytearray()
    for name, value in headers:
        for content in (name.encode("utf-8", "replace"), value):
            size = _size(content)
            zigzag = (size << 1) ^ (size >> 63)
            while zigzag > 0x7F:
                framed.append(0x80 | (zigzag & 0x7F))
                zigzag >>= 7
            framed.append(zigzag)
            framed += content or b""
    return bytes(framed)


def _unframe(data: ByteArray, at: int, count: int) -> tuple[tuple[str, bytes], ...]:
    """Headers as (name, value). A name that is no UTF-8 gets replacement characters; a null value stays None, as other
    clients have it."""
    found: list[bytes | None] = []
    for _ in range(2 * count):
        zigzag = shift = 0
        while True:
            byte = int(data[at])
            at += 1
            zigzag |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        size = (zigzag >> 1) ^ -(zigzag & 1)
        found.append(None if size < 0 else data[at : at + size].tobytes())
        at += max(size, 0)
    names = [(name or b"").decode("utf-8", "replace") for name in found[::2]]
    return tuple(zip(names, found[1::2], strict=True))  # type: ignore[arg-type]  # RecordLike knows no null headers
