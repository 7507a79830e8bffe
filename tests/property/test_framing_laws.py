"""Laws of unpacking Kafka's record batches: the same records as aiokafka's own reader, and no bytes are too odd."""

from __future__ import annotations

import gc
import struct
import weakref
from typing import Any
from unittest import mock

import numpy as np
import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from oddtide.streams.codecs import unpacking
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.fetching import BlockRecords

pytestmark = pytest.mark.kernels

TP = TopicPartition("t", 0)
CONTENT = st.none() | st.binary(max_size=300)
HEADERS: st.SearchStrategy[Any] = st.lists(st.tuples(st.text(max_size=70), CONTENT), max_size=3).map(tuple)
STAMPS = st.integers(0, 2**41)
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
ABORT, COMMIT = struct.pack(">HH", 0, 0), struct.pack(">HH", 0, 1)


def batch(
    records: list[Record], *, codec: int = 0, producer: int = -1, control: bool = False, append_time: int = 0,
    size: int | None = None,
) -> bytes:  # fmt: skip
    """A record batch as a broker keeps it. ``size`` is how many offsets it spans, where records were compacted away."""
    builder = DefaultRecordBatchBuilder(2, codec, producer >= 0, producer, 0, 0, 1 << 20)
    base = records[0].offset
    for record in records:
        builder.append(record.offset - base, record.timestamp, record.key, record.value, list(record.headers))
    raw = bytearray(builder.build())
    raw[0:8] = struct.pack(">q", base)
    raw[23:27] = struct.pack(">i", (size or records[-1].offset - base + 1) - 1)
    if control:
        raw[22] |= 0x20
    if append_time:
        raw[22] |= 0x08
        raw[35:43] = struct.pack(">q", append_time)
    return sealed(raw)


def sealed(raw: bytearray) -> bytes:
    raw[17:21] = struct.pack(">I", calc_crc32c(bytes(raw[21:])))
    return bytes(raw)


def marker(offset: int, producer: int, kind: bytes) -> bytes:
    return batch([Record(offset, 0, kind, b"\0" * 6)], producer=producer, control=True)


def theirs(raw: bytes, begin: int = 0, aborted: list[tuple[int, int]] | None = None) -> PartitionRecords:
    return PartitionRecords(TP, MemoryRecords(raw), aborted, begin, None, None, True, READ_COMMITTED)


def ours(raw: bytes, begin: int = 0, aborted: list[tuple[int, int]] | None = None, limit: int = 1000) -> BlockRecords:
    return BlockRecords(raw, theirs(raw, begin, aborted), limit)


def listed(records: Any) -> list[Record]:
    return [Record(r.offset, r.timestamp, r.key, r.value, r.headers) for r in records]


def agree(raw: bytes, begin: int = 0, aborted: list[tuple[int, int]] | None = None) -> list[Record]:
    """What both readers find, and that they end at the same offset."""
    reader, reference = ours(raw, begin, aborted), theirs(raw, begin, aborted)
    found = list(RecordBlock.joined(reader))
    assert found == listed(reference)
    assert reader.next_fetch_offset == reference.next_fetch_offset
    return found


@st.composite
def a_log(draw: st.DrawFn) -> tuple[bytes, int]:
    """Batches of one partition with holes within and between them, and an offset that the first spans."""
    raw, offset, begin = b"", draw(st.integers(0, 2**40)), -1
    for _ in range(draw(st.integers(1, 4))):
        records = []
        for _ in range(draw(st.integers(1, 5))):
            records.append(Record(offset, draw(STAMPS), draw(CONTENT), draw(CONTENT), draw(HEADERS)))
            offset += draw(st.integers(1, 3))
        size = offset - records[0].offset
        begin = draw(st.integers(records[0].offset, offset - 1)) if begin < 0 else begin
        append_time = draw(st.just(0) | st.integers(1, 2**41))
        raw += batch(records, codec=draw(st.sampled_from([0, 0, GZIP, SNAPPY, LZ4, ZSTD])), size=size,
                     append_time=append_time)  # fmt: skip
        offset += draw(st.integers(0, 3))
    return raw, begin


@given(a_log(), st.integers(0, 60))
def test_the_same_records_as_aiokafka(log: tuple[bytes, int], cut: int) -> None:
    raw, begin = log
    agree(raw)
    agree(raw, begin)
    agree(raw + raw[:cut])  # a last batch that the fetch size cut off


@given(a_log(), st.integers(1, 4))
def test_blocks_are_no_larger_than_asked_for_and_the_position_follows(log: tuple[bytes, int], limit: int) -> None:
    raw, _ = log
    reader, parts = ours(raw, limit=limit), []
    for part in reader:
        assert 1 <= len(part) <= limit
        assert reader.next_fetch_offset == part.last + 1
        parts += list(part)
    assert parts == listed(theirs(raw))


def test_what_was_fetched_is_given_back_without_the_collector() -> None:
    """It holds megabytes and looks for garbage seldom: a cycle would keep a hundred fetches."""
    raw = batch(one(0) + one(1))
    gc.disable()
    try:
        old = theirs(raw)
        reader = BlockRecords(raw, old, 1)
        replaced, held = weakref.ref(old), weakref.ref(reader)
        del old
        assert replaced() is None
        assert len(list(reader)) == 2
        del reader
        assert held() is None
    finally:
        gc.enable()


def one(offset: int, value: bytes = b"v") -> list[Record]:
    return [Record(offset, 5, None, value)]


def test_what_a_transaction_took_back_is_left_out() -> None:
    raw = b"".join(
        [
            batch(one(0, b"plain")),
            batch(one(1, b"taken back"), producer=7),
            batch(one(2, b"of another"), producer=8),
            marker(3, 7, ABORT),
            batch(one(4, b"kept"), producer=7),
            marker(5, 8, COMMIT),
            marker(6, 7, COMMIT),
        ]
    )
    found = agree(raw, 0, [(7, 1)])
    assert [record.value for record in found] == [b"plain", b"of another", b"kept"]
    assert len(agree(raw, 0, [(8, 2), (7, 1)])) == 2
    assert agree(marker(6, 7, COMMIT), 6) == []


def test_transactions_taken_back_are_seen_by_who_reads_uncommitted() -> None:
    raw = batch(one(1), producer=7)
    uncommitted = theirs(raw, 0, [(7, 1)])
    uncommitted._isolation_level = 0
    assert len(list(BlockRecords(raw, uncommitted, 10))) == 1


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", [0, GZIP])
def test_messages_of_old_formats_are_read(magic: int, codec: int) -> None:
    builder = LegacyRecordBatchBuilder(magic, codec, 1 << 20)
    for i in range(3):
        builder.append(i, 1000 + i, b"k%d" % i, None if i == 1 else b"v%d" % i)
    raw = bytes(builder.build())
    found = [record for block in ours(raw, 1) for record in block]
    assert [(r.offset, r.key, r.value) for r in found] == [(1, b"k1", None), (2, b"k2", b"v2")]
    assert [record.timestamp for record in found] == ([1001, 1002] if magic else [-1, -1])


def test_a_damaged_batch_is_reported_never_passed_over() -> None:
    bad = bytearray(batch(one(3)))
    bad[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="offset 3"):
        list(ours(bytes(bad), 3))
    behind = ours(batch(one(2)) + bytes(bad), 2)
    assert [record.offset for block in behind for record in block] == [2]
    assert behind.next_fetch_offset == 3, "fetched again, the damaged one comes first"
    short = bytearray(batch(one(3)))
    short[8:12] = struct.pack(">i", 20)
    with pytest.raises(CorruptRecordException):
        list(ours(bytes(short), 3))


@given(st.data())
def test_whatever_stands_under_a_right_checksum_is_reported_or_keeps_the_order_of_offsets(data: st.DataObject) -> None:
    raw = bytearray(batch([Record(i, 5, b"key", b"value", (("name", b"x"),)) for i in range(3)]))
    at = data.draw(st.integers(57, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    try:
        found = RecordBlock.joined(ours(sealed(raw)))
    except CorruptRecordException:
        return
    assert np.all(np.diff(found.offsets) > 0)
    assert all(record.offset in range(3) for record in found)


def test_a_codec_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = batch(one(0), codec=LZ4)
    monkeypatch.setitem(unpacking._CODECS, LZ4, ("lz4", lambda: False, bytes))
    with pytest.raises(UnsupportedCodecError, match=r"lz4.*cramjam"):
        list(ours(raw))
    unknown = bytearray(batch(one(0)))
    unknown[22] |= 7
    with pytest.raises(UnsupportedCodecError, match="codec 7"):
        list(ours(sealed(unknown)))


@pytest.mark.parametrize("codec", [0, GZIP, ZSTD, 7])
def test_what_lies_before_a_batch_that_cannot_be_read_is_handed_over_first(codec: int) -> None:
    """An operator who deletes up to beyond it loses nothing else, and is told where it lies."""
    good = batch(one(3)) + batch(one(4), codec=GZIP)
    bad = bytearray(batch(one(5), codec=codec if codec < 7 else 0))
    bad[22] |= codec
    bad[61:] = b"\xff" * (len(bad) - 61)
    for behind in (b"", batch(one(6), codec=GZIP)):
        reader = ours(good + sealed(bad) + behind, 3)
        assert [record.offset for block in reader for record in block] == [3, 4]
        assert reader.next_fetch_offset == 5
    with pytest.raises((CorruptRecordException, UnsupportedCodecError), match=r"offsets? 5"):
        list(ours(sealed(bad), 5))


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_no_batch_unpacks_without_bound(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = batch([Record(0, 5, b"key", b"\0" * 500_000)], codec=codec)
    assert len(raw) < 3_000
    assert len(list(ours(raw))) == 1
    monkeypatch.setattr(unpacking, "LARGEST_UNPACKED", 100_000)
    with pytest.raises(CorruptRecordException, match=r"offset 0.*cannot be read: they are more than 0 MiB"):
        list(ours(raw))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.sampled_from([0, GZIP, LZ4]))
def test_what_is_much_unpacked_is_read_in_several_looks(sizes: list[int], codec: int) -> None:
    batches, first = list[tuple[int, bytes]](), 0
    for size in sizes:
        records = [Record(first + i, 5, b"key", b"\0" * 900) for i in range(size)]
        first += size
        batches.append((first, batch(records, codec=codec)))
    found, begin = list[Record](), 0
    with mock.patch.object(unpacking, "LARGEST_UNPACKED", 4_000):
        while begin < first:
            reader = ours(b"".join(raw for end, raw in batches if end > begin), begin)
            found += RecordBlock.joined(reader)
            assert reader.next_fetch_offset > begin
            begin = reader.next_fetch_offset
    assert [record.offset for record in found] == list(range(first))


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_damaged_compression_is_reported(codec: int) -> None:
    raw = bytearray(batch([Record(i, 5, b"key", b"value" * 20) for i in range(20)], codec=codec))
    raw[61:81] = b"\xff" * 20
    with pytest.raises(CorruptRecordException):
        list(ours(sealed(raw)))
