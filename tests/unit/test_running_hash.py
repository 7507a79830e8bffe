"""The running hash: cuts never matter, differences always do."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from oddtide.streams.pipeline.running_hash import EMPTY_HASH, advance_hash, canonical_rows, hash_text

pytestmark = pytest.mark.kernels

Words: TypeAlias = NDArray[np.uint64]
ROWS = hnp.arrays(np.uint64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))


@given(ROWS, st.data())
def test_how_rows_are_cut_never_matters(rows: Words, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    assert advance_hash(advance_hash(EMPTY_HASH, rows[:cut]), rows[cut:]) == advance_hash(EMPTY_HASH, rows)


@given(ROWS, st.data())
def test_one_changed_bit_changes_it(rows: Words, data: st.DataObject) -> None:
    changed = rows.copy()
    i = data.draw(st.integers(0, rows.size - 1))
    changed.reshape(-1)[i] ^= np.uint64(1) << np.uint64(data.draw(st.integers(0, 63)))
    assert advance_hash(EMPTY_HASH, changed) != advance_hash(EMPTY_HASH, rows)


def test_every_nan_and_both_zeros_are_one() -> None:
    other_nan = np.array([0x7FF8000000000001], np.uint64).view(np.float64)
    offsets = np.array([5], np.int64)
    one = canonical_rows([offsets], [np.array([np.nan]), np.array([0.0])], 1)
    other = canonical_rows([offsets], [other_nan, np.array([-0.0])], 1)
    assert np.array_equal(one, other)


def test_a_block_that_is_not_there_reads_as_missing() -> None:
    offsets = np.array([5, 6], np.int64)
    assert np.array_equal(canonical_rows([offsets], [None], 3), canonical_rows([offsets], [np.full((2, 3), np.nan)], 3))


def test_it_is_shown_as_sixteen_hex_digits() -> None:
    assert hash_text(255) == "00000000000000ff"
