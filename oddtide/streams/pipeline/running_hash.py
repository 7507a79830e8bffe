"""The running hash over a partition's verdicts: the proof that two histories are the same.

Each verdict is a row of 64-bit words: offset, row, series (a hash of it), time, readings seen, driver, warm-up,
outcome, score, p-value, then the values, expectations, bands and contributions of its features; floats by their bits,
with one NaN and one zero. A row's words make its digest, and the digests are folded one by one, so how rows were cut
into batches cannot matter.
(Digests of different rows do not wait for one another, which is three times as fast as one long chain.) It finds
accidents, not attackers: 64 bits, no key.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["EMPTY_HASH", "Digests", "advance_hash", "digest_rows", "hash_text"]

Digests = NDArray[np.uint64]

#: The hash of no verdicts, and of a row without words (the fractional part of the square root of 2).
EMPTY_HASH = 0x6A09E667F3BCC908

_QUIET_NAN = np.uint64(0x7FF8000000000000)
_INFINITY = np.uint64(0x7FF0000000000000)
_MAGNITUDE = np.uint64(0x7FFFFFFFFFFFFFFF)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


@inlined
def _mixed(value: np.uint64, word: np.uint64) -> np.uint64:
    value = (value ^ word) * _MULTIPLIER
    return np.uint64(value ^ (value >> _SHIFT))


@bare_kernel
def _mix_whole(column: IntArray, digests: Digests) -> None:
    for i in range(len(digests)):
        digests[i] = _mixed(digests[i], np.uint64(column[i]))


@bare_kernel
def _mix_floats(words: NDArray[np.uint64], digests: Digests) -> None:
    """(n, w) floats by their bits."""
    for i in range(len(digests)):
        for j in range(words.shape[1]):
            word = words[i, j]
            magnitude = word & _MAGNITUDE
            if magnitude == 0:
                word = magnitude
            elif magnitude > _INFINITY:
                word = _QUIET_NAN
            digests[i] = _mixed(digests[i], word)


@bare_kernel
def _mix_missing(width: int, digests: Digests) -> None:
    for i in range(len(digests)):
        for _ in range(width):
            digests[i] = _mixed(digests[i], _QUIET_NAN)


@bare_kernel
def _fold(digests: Digests, start: np.uint64) -> np.uint64:
    value = start
    for digest in digests:
        value = _mixed(value, digest)
    return value


def digest_rows(integers: Sequence[IntArray], floats: Sequence[FloatArray | None], features: int) -> Digests:
    """(n,) digests of rows: the integer columns, then the float columns. A float column is (n,), (n, features) or None
    (all missing)."""
    digests = np.full(len(integers[0]), EMPTY_HASH, dtype=np.uint64)
    for column in integers:
        _mix_whole(np.ascontiguousarray(column, dtype=np.int64), digests)
    for block in floats:
        if block is None:
            _mix_missing(features, digests)
        else:
            block = np.ascontiguousarray(block, dtype=np.float64)
            _mix_floats(block.reshape(len(digests), -1 if len(digests) else 1).view(np.uint64), digests)
    return digests


def advance_hash(value: int, digests: Digests) -> int:
    """The hash after the rows with these digests."""
    return int(_fold(digests, np.uint64(value)))


def hash_text(value: int) -> str:
    """As the ledger shows it: 16 hex digits."""
    return f"{value:016x}"
