"""The compiled part of the series index: a hash table over names as bytes.

Three arrays: ``table`` (2^k words: 0, or a name's 32-bit hash in the high half and its slot + 1 in the low one),
``refs`` (per slot where its name lies: position << 24 | size, -1 where the slot is free) and ``arena`` (the names'
bytes). Linear probing from the hash's low bits. A removed name leaves no mark: the names behind it move up
(Knuth, "The Art of Computer Programming" 3, 6.4, algorithm R), so lookups stay short however much comes and goes. The
hash needs no arena to be found again, so a larger table is filled from the smaller one alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import ByteArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = [
    "ARENA",
    "DEAD",
    "FREE",
    "HELD",
    "LONGEST",
    "TOP",
    "Words",
    "find_names",
    "hash_names",
    "place_names",
    "refill",
    "release",
]

Words = NDArray[np.uint64]

#: Positions in ``counts``: names held, bytes used of the arena, slots ever given, free slots below those, dead bytes.
HELD, ARENA, TOP, FREE, DEAD = range(5)
#: The longest name, in bytes.
LONGEST = (1 << 24) - 1

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FINAL = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
_SLOT = np.uint64(0xFFFFFFFF)
#: Rows looked at ahead, so that the memory they need arrives together and not one after the other.
_AHEAD = 128
_NEVER = np.int64(-(2**63))


@inlined
def _word(data: ByteArray, at: int) -> np.uint64:
    """Eight bytes as one number; written so that the compiler makes it one load."""
    return np.uint64(
        np.uint64(data[at])
        | np.uint64(data[at + 1]) << np.uint64(8)
        | np.uint64(data[at + 2]) << np.uint64(16)
        | np.uint64(data[at + 3]) << np.uint64(24)
        | np.uint64(data[at + 4]) << np.uint64(32)
        | np.uint64(data[at + 5]) << np.uint64(40)
        | np.uint64(data[at + 6]) << np.uint64(48)
        | np.uint64(data[at + 7]) << np.uint64(56)
    )


@inlined
def _mixed(value: np.uint64, key: np.uint64) -> np.uint64:
    """The two halves of the 128-bit product, one laid over the other: every bit depends on all, and without the key
    nobody can say how."""
    low, high, other_low, other_high = value & _SLOT, value >> _HALF, key & _SLOT, key >> _HALF
    lowest, cross, other = low * other_low, low * other_high, high * other_low
    middle = (lowest >> _HALF) + (cross & _SLOT) + (other & _SLOT)
    top = high * other_high + (cross >> _HALF) + (other >> _HALF) + (middle >> _HALF)
    return np.uint64(top ^ (middle << _HALF | lowest & _SLOT))


@inlined
def _hash(data: ByteArray, at: int, size: int, seed: np.uint64) -> np.uint64:
    """32 bits: each word mixed in by a product with a key that follows from the seed (Yi, "wyhash", 2019). Names that
    differ in a few digits spread evenly; who does not know the seed cannot choose names that meet."""
    key = seed ^ _MULTIPLIER
    value = seed ^ np.uint64(size) * _FINAL
    if size >= 8:
        place, last = at, at + size - 8
        while place < last:
            value = _mixed(value ^ _word(data, place), key) + _FINAL
            place += 8
        word = _word(data, last)
    else:
        word = np.uint64(0)
        for k in range(size):
            word |= np.uint64(data[at + k]) << np.uint64(8 * k)
    value = _mixed(_mixed(value ^ word, key) ^ _FINAL, key)
    return np.uint64((value ^ (value >> _HALF)) & _SLOT)


@inlined
def _same(arena: ByteArray, start: int, data: ByteArray, at: int, size: int) -> bool:
    if size < 8:
        place = 0
        while place < size and arena[start + place] == data[at + place]:
            place += 1
        return place == size
    place = 0
    while place < size - 8:
        if _word(arena, start + place) != _word(data, at + place):
            return False
        place += 8
    return bool(_word(arena, start + size - 8) == _word(data, at + size - 8))


@inlined
def _probe(
    table: Words, refs: IntArray, arena: ByteArray, found: np.uint64, data: ByteArray, at: int, size: int
) -> int:
    """Where in the table the name with the hash ``found`` is, or the empty place where it belongs."""
    mask = len(table) - 1
    place = np.int64(found) & mask
    while table[place] != 0:
        if table[place] >> _HALF == found:
            ref = refs[np.int64(table[place] & _SLOT) - 1]
            if ref & 0xFFFFFF == size and _same(arena, ref >> 24, data, at, size):
                break
        place = (place + 1) & mask
    return int(place)


@inlined
def _touch(
    table: Words, refs: IntArray, arena: ByteArray, hashes: Words, first: int, last: int, slots: IntArray
) -> int:
    """Read what the rows ``first .. last-1`` will need: for all of them one kind of memory after the other, so that
    many reads are under way at once. Alters nothing but their ``slots``, which are not settled yet."""
    mask = len(table) - 1
    for row in range(first, last):
        slots[row] = np.int64(table[np.int64(hashes[row]) & mask] & _SLOT)
    total = np.int64(0)
    for row in range(first, last):
        total += refs[max(slots[row] - 1, 0)]
    for row in range(first, last):
        total += np.int64(arena[max(refs[max(slots[row] - 1, 0)], 0) >> 24])
    return int(total)


@bare_kernel
def hash_names(data: ByteArray, at: IntArray, size: IntArray, seed: np.uint64, hashes: Words) -> None:
    """Each name's hash into ``hashes``."""
    for row in range(len(at)):
        hashes[row] = _hash(data, at[row], size[row], seed)


@bare_kernel
def find_names(
    table: Words,
    refs: IntArray,
    arena: ByteArray,
    hashes: Words,
    data: ByteArray,
    at: IntArray,
    size: IntArray,
    slots: IntArray,
) -> None:
    """Each name's slot into ``slots``; -1 for one that is not held."""
    for row in range(len(at)):
        place = _probe(table, refs, arena, hashes[row], data, at[row], size[row])
        slots[row] = np.int64(table[place] & _SLOT) - 1


@inlined
def _take_lowest(free: IntArray, count: int) -> int:
    """The smallest of the ``count`` numbers on the heap, removed from it."""
    smallest, last = free[0], free[count - 1]
    place = 0
    while 2 * place + 1 < count - 1:
        child = 2 * place + 1
        if child + 1 < count - 1 and free[child + 1] < free[child]:
            child += 1
        if free[child] >= last:
            break
        free[place] = free[child]
        place = child
    free[place] = last
    return int(smallest)


@inlined
def _give_back(free: IntArray, count: int, slot: int) -> None:
    """``slot`` onto the heap of ``count`` numbers."""
    place = count
    while place > 0 and free[(place - 1) // 2] > slot:
        free[place] = free[(place - 1) // 2]
        place = (place - 1) // 2
    free[place] = slot


@inlined
def _has_room(table: Words, refs: IntArray, arena: ByteArray, counts: IntArray, size: int) -> bool:
    roomy = 10 * (counts[HELD] + 1) <= 7 * len(table) and counts[ARENA] + size <= len(arena)
    return bool(roomy and (counts[FREE] > 0 or counts[TOP] < len(refs)))


@inlined
def _keep(
    refs: IntArray, arena: ByteArray, free: IntArray, counts: IntArray, data: ByteArray, at: int, size: int
) -> int:
    """Give a new name the lowest free slot."""
    if counts[FREE] > 0:
        slot = _take_lowest(free, counts[FREE])
        counts[FREE] -= 1
    else:
        slot = int(counts[TOP])
        counts[TOP] += 1
    start = counts[ARENA]
    for k in range(size):
        arena[start + k] = data[at + k]
    refs[slot] = start << 24 | size
    counts[ARENA] += size
    counts[HELD] += 1
    return slot


@bare_kernel
def place_names(
    table: Words,
    refs: IntArray,
    arena: ByteArray,
    free: IntArray,
    counts: IntArray,
    hashes: Words,
    data: ByteArray,
    at: IntArray,
    size: IntArray,
    start: int,
    slots: IntArray,
) -> int:
    """Each name's slot into ``slots``, new names placed, from row ``start`` on. Returns the row that found no room for
    its name, or ``n``: whoever calls makes room and calls again from there."""
    seen = 0
    for row in range(start, len(at)):
        if (row - start) % _AHEAD == 0:
            seen += _touch(table, refs, arena, hashes, row, min(row + _AHEAD, len(at)), slots)
        place = _probe(table, refs, arena, hashes[row], data, at[row], size[row])
        if table[place] == 0:
            if not _has_room(table, refs, arena, counts, size[row]):
                return row
            slot = _keep(refs, arena, free, counts, data, at[row], size[row])
            table[place] = hashes[row] << _HALF | np.uint64(slot + 1)
        slots[row] = np.int64(table[place] & _SLOT) - 1
    return len(at) + (seen == _NEVER)  # the sum is used, so that what was touched is really read


@bare_kernel
def release(
    table: Words, refs: IntArray, arena: ByteArray, free: IntArray, counts: IntArray, slots: IntArray, seed: np.uint64
) -> None:
    """Forget the names of ``slots``, which must be held, each given once; ``seed`` is that of their hashes."""
    mask = len(table) - 1
    for slot in slots:
        size = refs[slot] & 0xFFFFFF
        hole = np.int64(_hash(arena, refs[slot] >> 24, size, seed)) & mask
        while np.int64(table[hole] & _SLOT) != slot + 1:
            hole = (hole + 1) & mask
        place = (hole + 1) & mask
        while table[place] != 0:
            # It may move up to the hole where it is not before its own home, seen around the ring.
            home = np.int64(table[place] >> _HALF) & mask
            if (place - home) & mask >= (place - hole) & mask:
                table[hole] = table[place]
                hole = place
            place = (place + 1) & mask
        table[hole] = 0
        refs[slot] = -1
        _give_back(free, counts[FREE], slot)
        counts[FREE] += 1
        counts[HELD] -= 1
        counts[DEAD] += size


@bare_kernel
def refill(old: Words, table: Words) -> None:
    """Every entry of ``old`` into the empty ``table``."""
    mask = len(table) - 1
    for entry in old:
        if entry != 0:
            place = np.int64(entry >> _HALF) & mask
            while table[place] != 0:
                place = (place + 1) & mask
            table[place] = entry
