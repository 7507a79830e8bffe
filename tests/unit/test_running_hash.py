"""The running hash: cuts never matter, differences always do."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from oddtide.streams.pipeline.running_hash import EMPTY_HASH, advance_hash, digest_rows, hash_text

pytestmark = pytest.mark.kernels

Numbers: TypeAlias = NDArray[np.float64]
ROWS = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))


def digests(rows: Numbers, *, whole: int = 7) -> NDArray[np.uint64]:
    offsets = np.arange(len(rows), dtype=np.int64) + whole
    return digest_rows([offsets, offsets % 2], [rows[:, 0], rows, None], rows.shape[1])


@given(ROWS, st.data())
def test_how_rows_are_cut_never_matters(rows: Numbers, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    whole = digests(rows)
    first, rest = digests(rows[:cut]), digests(rows[cut:], whole=7 + cut)
    assert np.array_equal(np.concatenate([first, rest])[:cut], whole[:cut])
    assert advance_hash(advance_hash(EMPTY_HASH, whole[:cut]), whole[cut:]) == advance_hash(EMPTY_HASH, whole)


@given(ROWS, st.data())
def test_one_changed_bit_changes_it(rows: Numbers, data: st.DataObject) -> None:
    changed = rows.copy()
    i = data.draw(st.integers(0, rows.size - 1))
    bits = changed.reshape(-1)[i : i + 1].view(np.uint64)
    bits ^= np.uint64(1) << np.uint64(data.draw(st.integers(0, 63)))
    same = (
        rows.reshape(-1)[i] == changed.reshape(-1)[i] or np.isnan([rows.reshape(-1)[i], changed.reshape(-1)[i]]).all()
    )
    assert (advance_hash(EMPTY_HASH, digests(changed)) == advance_hash(EMPTY_HASH, digests(rows))) == same


@given(ROWS)
def test_the_order_of_rows_and_of_columns_matters(rows: Numbers) -> None:
    turned = advance_hash(EMPTY_HASH, digests(rows)[::-1].copy())
    distinct = len(rows) > 1
    assert (turned != advance_hash(EMPTY_HASH, digests(rows))) == distinct
    one, two = np.arange(len(rows), dtype=np.int64), np.arange(len(rows), dtype=np.int64) + 1
    assert not np.any(digest_rows([one, two], [], 0) == digest_rows([two, one], [], 0))


def test_every_nan_and_both_zeros_are_one() -> None:
    other_nan = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    offsets = np.array([5, 5], np.int64)
    one = digest_rows([offsets], [np.array([np.nan, np.nan]), np.array([0.0, -0.0])], 1)
    other = digest_rows([offsets], [other_nan, np.array([-0.0, 0.0])], 1)
    assert len({*one.tolist(), *other.tolist()}) == 1


def test_a_block_that_is_not_there_reads_as_missing() -> None:
    offsets = np.array([5, 6], np.int64)
    assert np.array_equal(digest_rows([offsets], [None], 3), digest_rows([offsets], [np.full((2, 3), np.nan)], 3))


def test_no_rows_change_nothing() -> None:
    assert advance_hash(EMPTY_HASH, digests(np.zeros((0, 2)))) == EMPTY_HASH


def test_it_is_shown_as_sixteen_hex_digits() -> None:
    assert hash_text(255) == "00000000000000ff"
