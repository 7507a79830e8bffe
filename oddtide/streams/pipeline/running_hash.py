"""The running hash over a partition's canonical verdict rows: the proof that two histories are the same.

Each verdict is a row of 64-bit words (offset, row, time, score, p-value, flags, then the values, expectations and
bands of its features, floats by their bits with one NaN). The hash is folded word by word, so how rows were cut into
batches cannot matter. It finds accidents, not attackers: 64 bits, no key.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import kernel

__all__ = ["EMPTY_HASH", "advance_hash", "canonical_rows", "hash_text"]

#: The hash of no verdicts (the fractional part of the square root of 2).
EMPTY_HASH = 0x6A09E667F3BCC908

_QUIET_NAN = np.uint64(0x7FF8000000000000)


def _words(column: FloatArray) -> NDArray[np.uint64]:
    words = (column + 0.0).view(np.uint64).copy()  # + 0.0 turns -0.0 into 0.0
    words[np.isnan(column)] = _QUIET_NAN
    return words


def canonical_rows(integers: list[IntArray], floats: list[FloatArray | None], features: int) -> NDArray[np.uint64]:
    """(n, w) words: the integer columns, then the float columns. A float column is (n,), (n, features) or None (all
    missing)."""
    count = len(integers[0])
    columns: list[NDArray[np.uint64]] = [column.astype(np.int64).view(np.uint64) for column in integers]
    for block in floats:
        if block is None:
            columns += [np.full(count, _QUIET_NAN)] * features
        elif block.ndim == 1:
            columns.append(_words(np.ascontiguousarray(block)))
        else:
            columns += [_words(np.ascontiguousarray(block[:, j])) for j in range(block.shape[1])]
    return np.ascontiguousarray(np.stack(columns, axis=1))


@kernel
def _fold(words: NDArray[np.uint64], start: np.uint64) -> np.uint64:
    value = start
    for word in words:
        value = (value ^ word) * np.uint64(0x9E3779B97F4A7C15)
        value = value ^ (value >> np.uint64(29))
    return value


def advance_hash(value: int, rows: NDArray[np.uint64]) -> int:
    """The hash after ``rows``."""
    return int(_fold(rows.reshape(-1), np.uint64(value))) if rows.size else value


def hash_text(value: int) -> str:
    """As the ledger shows it: 16 hex digits."""
    return f"{value:016x}"
