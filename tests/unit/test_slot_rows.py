from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddtide.domain.errors import StateMismatchError
from oddtide.domain.slots import SlotState
from oddtide.streams.pipeline.slot_rows import RowCodec, RowLayout

States = dict[str, SlotState]


def state(count: int, seed: int, raws: list[bytes]) -> States:
    random = np.random.default_rng(seed)
    fixed: SlotState = {
        "times": random.integers(-9, 9, count),
        "cells": random.normal(size=(count, 2, 3)),
        "none": np.zeros((count, 0, 4)),
        "marks": random.integers(0, 9, (count, 5)).astype(np.int16),
    }
    return {"one": fixed, "two": {"models": raws[:count], "seen": random.integers(0, 9, count)}, "three": {}}


def cells(count: int) -> States:
    return {"one": {"cells": np.arange(7.0 * count).reshape(count, 7)}}


def decoded(codec: RowCodec, rows: list[bytes]) -> States:
    ((places, states),) = codec.decode(rows)
    assert places.tolist() == list(range(len(rows)))
    return states


def same(found: States, given: States) -> None:
    assert found.keys() == given.keys()
    for stage, columns in given.items():
        assert found[stage].keys() == columns.keys()
        for name, column in columns.items():
            other = found[stage][name]
            if isinstance(column, np.ndarray):
                assert isinstance(other, np.ndarray)
                assert (other.dtype, other.shape) == (column.dtype, column.shape)
            np.testing.assert_array_equal(other, column)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6), st.integers(0, 2**32))
def test_rows_give_back_the_state(raws: list[bytes], seed: int) -> None:
    there, codec = state(len(raws), seed, raws), RowCodec()
    rows = codec.encode(len(raws), there)
    assert len(rows) == len(raws)
    same(decoded(codec, rows), there)
    layouts = msgspec.json.decode(msgspec.json.encode(codec.layouts), type=list[RowLayout])
    last = {stage: {name: column[-1:] for name, column in columns.items()} for stage, columns in there.items()}
    same(decoded(RowCodec(layouts), rows[-1:]), last)


def test_arrays_alone_are_as_wide_as_their_bytes() -> None:
    codec = RowCodec()
    rows = codec.encode(2, cells(2))
    assert [len(row) for row in rows] == [4 + 56] * 2
    same(decoded(codec, rows), cells(2))
    with pytest.raises(StateMismatchError):
        decoded(codec, [rows[0], rows[1] + b"x"])


def test_rows_of_several_layouts_lie_beside_one_another() -> None:
    codec, other = RowCodec(), state(2, 1, [b"abc", b""])
    mixed = [*codec.encode(2, cells(2)), *codec.encode(2, other)]
    found = list(codec.decode([mixed[0], mixed[2], mixed[1], mixed[3]]))
    assert [places.tolist() for places, _ in found] == [[0, 2], [1, 3]]
    same(found[0][1], cells(2))
    same(found[1][1], other)
    assert list(codec.decode([])) == []


@pytest.mark.parametrize("spoil", [lambda row: b"", lambda row: b"x" + row, lambda row: row[:-1], lambda row: row[:40]])
def test_other_rows_are_refused(spoil: Callable[[bytes], bytes]) -> None:
    codec = RowCodec()
    rows = codec.encode(2, state(2, 1, [b"abc", b"defgh"]))
    with pytest.raises(StateMismatchError, match="layout"):
        list(codec.decode([rows[0], spoil(rows[1])]))


def test_a_layout_never_met_is_refused() -> None:
    rows = RowCodec().encode(1, cells(1))
    others: list[SlotState] = [{"cells": np.zeros((1, 7), np.int64)}, {"other": np.zeros((1, 7))}]
    for other in others:
        codec = RowCodec()
        codec.encode(1, {"one": other})
        with pytest.raises(StateMismatchError, match="layout"):
            list(codec.decode(rows))
