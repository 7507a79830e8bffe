"""Laws of record blocks: a block is its records, however it is cut and joined."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.record_block import RecordBlock

CONTENT = st.none() | st.binary(max_size=200)
HEADERS: st.SearchStrategy[Any] = st.lists(st.tuples(st.text(max_size=70), CONTENT), max_size=3).map(tuple)
STAMPS = st.integers(-(2**63), 2**63 - 1)


@st.composite
def some_records(draw: st.DrawFn) -> list[Record]:
    """Records of one partition, with holes between their offsets."""
    steps = draw(st.lists(st.integers(1, 5), max_size=12))
    offsets = np.cumsum(steps).tolist()
    return [Record(i, draw(STAMPS), draw(CONTENT), draw(CONTENT), draw(HEADERS)) for i in offsets]


@given(some_records())
def test_a_block_holds_its_records(records: list[Record]) -> None:
    block = RecordBlock.of(records)
    assert list(block) == records
    assert [block[i - len(records)] for i in range(len(records))] == records
    assert RecordBlock.of(block) is block
    for i, record in enumerate(records):
        assert (block.key_size[i] == -1) == (record.key is None)
        assert (block.value_size[i] == -1) == (record.value is None)
        assert block.headers[i] == len(record.headers)
        if record.value is not None:
            at = block.value_at[i]
            assert bytes(block.data[at : at + block.value_size[i]]) == record.value


@given(some_records(), st.integers(0, 70), st.slices(12))
def test_parts_of_a_block_are_the_same_parts_of_its_records(records: list[Record], offset: int, cut: Any) -> None:
    block = RecordBlock.of(records)
    assert list(block[cut]) == records[cut]
    assert list(block.before(offset)) == [record for record in records if record.offset < offset]
    assert list(block.from_offset(offset)) == [record for record in records if record.offset >= offset]


@given(some_records(), st.lists(st.integers(0, 12), max_size=4))
def test_cut_and_joined_again_it_is_the_same(records: list[Record], cuts: list[int]) -> None:
    block = RecordBlock.of(records)
    edges = [0, *sorted(cuts), len(block)]
    parts = [block[a:b] for a, b in pairwise(edges)]
    assert list(RecordBlock.joined(parts)) == records
    assert list(RecordBlock.joined(RecordBlock.of(list(part)) for part in parts)) == records


def test_offsets_are_found_or_refused() -> None:
    block = RecordBlock.of([Record(3, 0, None, b"a"), Record(7, 0, None, b"b")])
    assert (block.first, block.last) == (3, 7)
    assert block.at_offset(7).value == b"b"
    for missing in (2, 5, 8):
        with pytest.raises(KeyError):
            block.at_offset(missing)


def test_it_is_asked_by_place_alone() -> None:
    block: Any = RecordBlock.of([Record(3, 0, None, b"a")])
    with pytest.raises(IndexError):
        block[1]
    with pytest.raises(TypeError):
        block["__faust"]


def test_a_header_name_that_is_no_text_is_replaced() -> None:
    block = RecordBlock.of([Record(0, 0, None, None, (("\ud800", b"x"),))])
    assert block[0].headers == (("?", b"x"),)
