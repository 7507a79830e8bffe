"""A quantile sketch: KLL (Karnin, Lang, Liberty 2016, "Optimal quantile approximation in streams"), as kernels over
columns of state, one *cell* for each series and feature.

A cell holds items in levels; one of level h stands for 2^h readings. When it is full, the lowest level that has
reached its capacity is sorted and every second item moves up, beginning with the first or second by a coin. The
capacities shrink by 2/3 a level from the top, so memory is bounded whatever the number of readings.

**Error.** Of n readings, the quantile returned for q has a rank within ``RANK_ERROR`` * n of q * n: exact up to
``ITEMS`` readings, then with a probability of about 99 % for each query (tested on adversarial and ordinary orders).
**Determinism.** The coin is a hash of how many compactions the cell has had, so the same readings in the same order
give the same sketch, in any slot, process and cut into batches. **Mergeable**: ``merge_cells`` keeps the error.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import kernel

__all__ = ["ITEMS", "LEVELS", "RANK_ERROR", "fold_sketch", "merge_cells", "quantiles"]

#: Capacity of the top level; items a cell has room for; levels (2^38 times a full cell of readings).
TOP: Final = 100
LEVELS: Final = 40
RANK_ERROR: Final = 0.025


def _capacities() -> IntArray:
    """By distance from the top."""
    return np.array([max(2, int(np.ceil(TOP * (2 / 3) ** below))) for below in range(LEVELS)], dtype=np.int64)


CAPACITIES: Final = _capacities()
#: At least the sum of the capacities, so that in a full cell some level has reached its own.
ITEMS: Final = int(CAPACITIES.sum())


@kernel
def _coin(count: int) -> int:
    """0 or 1: two rounds of multiply and xor-shift over a counter, within 63 bits, so that nothing overflows and the
    plain function gives the same as the compiled one."""
    x = (count + 1) & 0x7FFFFFFF
    for _ in range(2):
        x = (x * 0x45D9F3B) & 0x7FFFFFFF
        x ^= x >> 16
    return x & 1


@kernel
def _compact(items: FloatArray, sizes: IntArray, capacities: IntArray, compactions: int) -> int:
    """Make room in one full cell. Items lie from the highest level in use down to level 0, without gaps;
    ``sizes[h]`` says how many are of level h. Returns the compactions so far."""
    levels = len(sizes)
    height = 1
    total = 0
    for level in range(levels):
        total += sizes[level]
        if sizes[level] > 0:
            height = level + 1
    chosen = height - 1
    for level in range(height):
        if sizes[level] >= capacities[height - 1 - level]:
            chosen = level
            break
    size = sizes[chosen]
    start = 0
    for level in range(chosen + 1, height):
        start += sizes[level]
    items[start : start + size] = np.sort(items[start : start + size])
    half = size // 2
    first = start + size % 2 + _coin(compactions)
    # The odd one out stays: it is the smallest, moved behind those that go up.
    stays = items[start]
    for k in range(half):
        items[start + k] = items[first + 2 * k]
    if size % 2:
        items[start + half] = stays
    for place in range(start + size, total):
        items[place - half] = items[place]
    sizes[chosen] = size % 2
    sizes[chosen + 1] += half
    return compactions + 1


@kernel
def fold_sketch(
    slots: IntArray,
    values: FloatArray,
    items: FloatArray,
    sizes: NDArray[np.int64],
    compactions: IntArray,
    capacities: IntArray,
) -> None:
    """Row by row into ``items`` (slots, d, ITEMS), ``sizes`` (slots, d, LEVELS + 1: the last is their sum) and
    ``compactions`` (slots, d)."""
    room = items.shape[2]
    last = sizes.shape[2] - 1
    for row in range(len(slots)):
        slot = slots[row]
        for place in range(values.shape[1]):
            value = values[row, place]
            if np.isnan(value):
                continue
            count = sizes[slot, place]
            if count[last] == room:
                compactions[slot, place] = _compact(
                    items[slot, place], count[:last], capacities, compactions[slot, place]
                )
                count[last] = count[:last].sum()
            items[slot, place, count[last]] = value
            count[0] += 1
            count[last] += 1


@kernel
def _insert(items: FloatArray, sizes: IntArray, level: int, value: float) -> None:
    """One item of ``level`` into a cell that has room."""
    last = len(sizes) - 1
    end = 0
    for above in range(level, last):
        end += sizes[above]
    for place in range(sizes[last], end, -1):
        items[place] = items[place - 1]
    items[end] = value
    sizes[level] += 1
    sizes[last] += 1


@kernel
def merge_cells(
    items: FloatArray,
    sizes: IntArray,
    compactions: int,
    other_items: FloatArray,
    other_sizes: IntArray,
    capacities: IntArray,
) -> int:
    """Another cell's items into one cell, each in its level. Returns the compactions so far."""
    last = len(sizes) - 1
    place = 0
    for level in range(last - 1, -1, -1):
        for _ in range(other_sizes[level]):
            if sizes[last] == len(items):
                compactions = _compact(items, sizes[:last], capacities, compactions)
                sizes[last] = sizes[:last].sum()
            _insert(items, sizes, level, other_items[place])
            place += 1
    return compactions


def quantiles(items: FloatArray, sizes: IntArray, probabilities: FloatArray) -> FloatArray:
    """For each probability q the smallest item at or below which lie at least q of the readings; NaN when empty."""
    last = len(sizes) - 1
    held = int(sizes[last])
    if held == 0:
        return np.full(len(probabilities), np.nan)
    levels = np.repeat(np.arange(last)[::-1], sizes[:last][::-1])
    weights = np.left_shift(np.int64(1), levels)
    order = np.argsort(items[:held], kind="stable")
    below = np.cumsum(weights[order])
    wanted = np.ceil(probabilities * below[-1])
    found = np.searchsorted(below, np.maximum(wanted, 1), side="left")
    sorted_items: FloatArray = items[:held][order]
    picked: FloatArray = sorted_items[np.minimum(found, held - 1)]
    return picked
