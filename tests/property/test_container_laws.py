"""Laws of the binary container: what is written is read, whatever it is; what is cut or bent is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oddtide.domain.errors import DecodeError, UsageError
from oddtide.streams.codecs.container import Column, Content, read_container, write_container

DTYPES = st.sampled_from([np.dtype(name) for name in ("f8", "f4", "i8", "u8", "u1", "i1", "?", ">i4")])
COLUMNS: st.SearchStrategy[Column] = st.one_of(
    arrays.arrays(DTYPES, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)),
    st.lists(st.binary(max_size=9), max_size=5),
)
ABOUT = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(-(2**53), 2**53), st.text(max_size=9)), max_size=4)


def same(one: Column, other: Column) -> bool:
    if isinstance(one, list) or isinstance(other, list):
        return one == other
    return one.dtype.newbyteorder("<") == other.dtype and one.shape == other.shape and np.array_equal(one, other, True)


@given(st.integers(1, 2**32 - 1), ABOUT, st.dictionaries(st.text(max_size=9), COLUMNS, max_size=5))
def test_what_is_written_is_read(version: int, about: dict[str, Any], columns: dict[str, Column]) -> None:
    if any(not isinstance(column, list) and column.dtype.kind == "f" for column in columns.values()):
        columns = {n: c if isinstance(c, list) else np.nan_to_num(c) for n, c in columns.items()}
    raw = b"".join(write_container(Content(version, about, columns)))
    found = read_container(raw)
    assert (found.version, found.about) == (version, about)
    assert list(found.columns) == list(columns)
    assert all(same(columns[name], found.columns[name]) for name in columns)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        read_container(raw)


@given(st.data())
def test_a_cut_container_is_refused(data: st.DataObject) -> None:
    raw = b"".join(write_container(Content(1, {}, {"a": np.arange(100), "b": [b"x" * 70, b"y" * 70]})))
    whole = len(raw) - (-140 % 64)  # the last zeros may go
    with pytest.raises(DecodeError):
        read_container(raw[: data.draw(st.integers(0, whole - 1))])


def test_arrays_are_aligned_and_not_copied() -> None:
    array = np.arange(1_000.0)
    pieces = write_container(Content(1, {}, {"odd": np.zeros(3, np.uint8), "a": array}))
    assert any(np.shares_memory(np.frombuffer(piece, np.uint8), array) for piece in pieces)
    found = read_container(b"".join(pieces)).columns["a"]
    assert not isinstance(found, list)
    assert not found.flags.writeable


def test_nothing_but_numbers_is_stored_or_read() -> None:
    with pytest.raises(UsageError, match="of object"):
        write_container(Content(1, {}, {"a": np.array([object()])}))
    raw = b"".join(write_container(Content(1, {}, {"a": np.zeros(4, np.int64)})))
    with pytest.raises(DecodeError, match="object"):
        read_container(raw.replace(b'"<i8"', b'"|O8"'))
