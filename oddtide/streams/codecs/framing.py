"""Kafka's record batches (message format v2) as blocks of records, without an object per record.

Layout, from Kafka's ``DefaultRecordBatch`` and ``DefaultRecord``: a batch is a header of 61 bytes and its records,
compressed as a whole where the header says so; a record is a chain of zigzag varints with its key, value and headers
between them. One walk over a fetched piece finds the batches, another the records of all that lie side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.util import calc_crc32c
from numpy.typing import NDArray

from oddtide.domain.readings import IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined
from oddtide.streams.codecs import unpacking
from oddtide.streams.codecs.record_block import ByteArray, RecordBlock

__all__ = ["Batch", "FetchedPiece"]

_CODEC, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_OLD_FORMAT: Final = -1
_HEADER: Final = 61
#: How many bytes before the records the checked part of a batch begins.
_CHECKED: Final = 40
#: A record takes seven bytes at least: its size, attributes, two deltas, two sizes and the number of headers.
_LEAST_RECORD: Final = 7
_UNREADABLE: Final = (CorruptRecordException, UnsupportedCodecError)


class Batch(NamedTuple):
    """The header of a record batch. Its records lie in ``start .. stop`` of the fetched piece, ``next`` is the offset
    after its last one, ``times`` are its first and its largest timestamp."""

    start: int
    stop: int
    base: int
    next: int
    crc: int
    attributes: int
    first_time: int
    max_time: int
    producer: int
    records: int

    @property
    def transactional(self) -> bool:
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def control(self) -> bool:
        return bool(self.attributes & _CONTROL)


_START, _STOP, _BASE, _NEXT, _CRC, _ATTRIBUTES, _FIRST_TIME, _MAX_TIME, _PRODUCER, _RECORDS = range(len(Batch._fields))


@inlined
def _big_endian(data: ByteArray, at: int, size: int) -> int:
    value = int(data[at])
    if value >= 0x80:
        value -= 0x100
    for i in range(at + 1, at + size):
        value = (value << 8) | int(data[i])
    return value


@bare_kernel
def _scan(data: ByteArray, table: IntArray) -> int:
    """List the batches that lie in ``data`` as a whole; returns how many, or that one is of an old format.

    The list ends with a batch whose size cannot be right; its number of ``records`` is negative."""
    at, found = 0, 0
    while len(data) - at >= 17:
        stop = at + 12 + _big_endian(data, at + 8, 4)
        if stop > len(data):
            break
        if data[at + 16] < 2:
            return _OLD_FORMAT
        table[found, _START], table[found, _STOP], table[found, _BASE] = at + _HEADER, stop, _big_endian(data, at, 8)
        table[found, _RECORDS] = -1
        if stop < at + _HEADER:
            return found + 1
        table[found, _CRC] = _big_endian(data, at + 17, 4) & 0xFFFFFFFF
        table[found, _ATTRIBUTES] = _big_endian(data, at + 21, 2)
        table[found, _NEXT] = table[found, _BASE] + _big_endian(data, at + 23, 4) + 1
        table[found, _FIRST_TIME] = _big_endian(data, at + 27, 8)
        table[found, _MAX_TIME] = _big_endian(data, at + 35, 8)
        table[found, _PRODUCER] = _big_endian(data, at + 43, 8)
        table[found, _RECORDS] = _big_endian(data, at + 57, 4)
        at = stop
        found += 1
    return found


@inlined
def _varint(data: ByteArray, at: int, end: int) -> tuple[int, int]:
    """A zigzag varint and where it ends; -1 where there is none, or ``at`` was -1 already."""
    value = 0
    shift = 0
    while 0 <= at < end and shift < 64:
        byte = int(data[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return ((value >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(value & 1), at
        shift += 7
    return 0, -1


@inlined
def _past(at: int, size: int, end: int) -> int:
    """Behind ``size`` bytes (a negative size is null: none); -1 where they do not fit."""
    if at < 0 or size > end - at:
        return -1
    return at + max(size, 0)


@inlined
def _past_headers(data: ByteArray, at: int, count: int, end: int) -> int:
    """Behind ``count`` headers; -1 where they are damaged."""
    if at < 0 or count < 0 or count > end - at:
        return -1
    for _ in range(count):
        size, at = _varint(data, at, end)
        if size < 0:
            return -1
        at = _past(at, size, end)
        size, at = _varint(data, at, end)
        at = _past(at, size, end)
    return at


@bare_kernel
def _unpack(data: ByteArray, batches: IntArray, columns: IntArray) -> int:
    """Find the records of ``batches`` in ``data``; returns how many, -1 where one is damaged.

    Left out, as by every client, is what does not come after the record before it or lies beyond its batch."""
    place = 0
    last = np.int64(-1)
    for row in range(len(batches)):
        at, stop = batches[row, _START], batches[row, _STOP]
        for _ in range(batches[row, _RECORDS]):
            size, at = _varint(data, at, stop)
            end = _past(at, size, stop)
            at = _past(at, 1, end)
            time, at = _varint(data, at, end)
            delta, at = _varint(data, at, end)
            key_size, key_at = _varint(data, at, end)
            value_size, value_at = _varint(data, _past(key_at, key_size, end), end)
            headers, header_at = _varint(data, _past(value_at, value_size, end), end)
            at = _past_headers(data, header_at, headers, end)
            if at < 0 or at != end:
                return -1
            offset = batches[row, _BASE] + delta
            if last < offset < batches[row, _NEXT]:
                last = offset
                append = batches[row, _ATTRIBUTES] & _LOG_APPEND_TIME
                columns[0, place] = offset
                columns[1, place] = batches[row, _MAX_TIME] if append else batches[row, _FIRST_TIME] + time
                columns[2, place], columns[3, place] = value_at, max(value_size, -1)
                columns[4, place], columns[5, place] = key_at, max(key_size, -1)
                columns[6, place], columns[7, place] = headers, header_at
                place += 1
        if at != stop:
            return -1
    return place


class FetchedPiece:
    """What a fetch brought of one partition: the batches that are in it as a whole.

    ``old_format`` says that there are messages of before Kafka 0.11, which are not read here."""

    def __init__(self, raw: bytes) -> None:
        self._raw = memoryview(raw)
        self._data = np.frombuffer(raw, dtype=np.uint8)
        table = np.empty((len(raw) // _HEADER + 2, len(Batch._fields)), dtype=np.int64)
        found = _scan(self._data, table)
        self.old_format = found == _OLD_FORMAT
        self._table = table[: max(found, 0)].copy()

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, place: int) -> Batch:
        return Batch._make(self._table[place].tolist())

    def intact(self, *, checksums: bool) -> int:
        """How many batches, from the first on, are as their producer wrote them, by their checksums if asked for."""
        raw, headers = self._raw, self._table[:, [_START, _STOP, _CRC, _RECORDS]].tolist()
        for place, (start, stop, crc, records) in enumerate(headers):
            if records < 0 or (checksums and calc_crc32c(raw[start - _CHECKED : stop]) != crc):
                return place
        return len(self)

    def special(self, stop: int) -> list[int]:
        """The places, before ``stop``, of batches that are control batches or part of a transaction."""
        return np.flatnonzero(self._table[:stop, _ATTRIBUTES] & (_TRANSACTIONAL | _CONTROL)).tolist()

    def records(self, places: Sequence[int] | NDArray[np.bool_]) -> tuple[RecordBlock, int | None]:
        """The records of the batches at ``places``, and the offset of the first that is left for later, if one is: once
        a quarter of ``unpacking.LARGEST_UNPACKED`` was unpacked, no further compressed one is.

        Raises ``CorruptRecordException`` for a damaged one or one that is larger than that by itself, and
        ``UnsupportedCodecError`` for what is compressed in a way that cannot be read here; where others lie before it,
        only when it is the first."""
        batches = self._table[places]
        try:
            return self._read(batches)
        except _UNREADABLE:
            good = self._readable(batches)
            if not good:
                raise
        block, rest = self._read(batches[:good])
        return block, int(batches[good, _BASE]) if rest is None else rest

    def _readable(self, batches: IntArray) -> int:
        """How many, from the first on, can be read: fewer than all."""
        for place in range(len(batches) - 1):
            try:
                self._read(batches[: place + 1])
            except _UNREADABLE:
                return place
        return len(batches) - 1

    def _read(self, batches: IntArray) -> tuple[RecordBlock, int | None]:
        blocks, done, unpacked = list[RecordBlock](), 0, 0
        for place in np.flatnonzero(batches[:, _ATTRIBUTES] & _CODEC).tolist():
            if unpacked > unpacking.LARGEST_UNPACKED // 4:
                return RecordBlock.joined([*blocks, _records(self._data, batches[done:place])]), int(
                    batches[place, _BASE]
                )
            block = self._unpacked(batches[place].copy())
            blocks += [_records(self._data, batches[done:place]), block]
            unpacked += len(block.data)
            done = place + 1
        return RecordBlock.joined([*blocks, _records(self._data, batches[done:])]), None

    def _unpacked(self, batch: IntArray) -> RecordBlock:
        try:
            content = unpacking.unpacked(self._raw[batch[_START] : batch[_STOP]], int(batch[_ATTRIBUTES] & _CODEC))
        except _UNREADABLE as error:
            raise type(error)(f"the batch from offset {batch[_BASE]} on: {error.args[0]}") from None
        batch[_START], batch[_STOP] = 0, len(content)
        return _records(np.frombuffer(content, np.uint8), batch[None, :])


def _records(data: ByteArray, batches: IntArray) -> RecordBlock:
    count, room = int(batches[:, _RECORDS].sum()), int((batches[:, _STOP] - batches[:, _START]).sum())
    found = -1
    if count * _LEAST_RECORD <= room:
        columns = np.empty((8, count), dtype=np.int64)
        found = _unpack(data, batches, columns)
    if found < 0:
        first, last = int(batches[0, _BASE]), int(batches[-1, _NEXT]) - 1
        raise CorruptRecordException(f"damaged records in offsets {first} to {last}")
    return RecordBlock(data, *columns[:, :found])
