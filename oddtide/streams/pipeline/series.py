"""The series of a partition: from names to slots and back."""

from __future__ import annotations

import secrets
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.errors import UsageError
from oddtide.domain.readings import ByteArray, IntArray, SeriesColumn
from oddtide.streams.pipeline import series_table as compiled
from oddtide.streams.pipeline.series_table import ARENA, DEAD, FREE, HELD, TOP

__all__ = ["SeriesIndex", "name_hashes"]

_Scalar = TypeVar("_Scalar", bound=np.generic)

_FIRST_TABLE: Final = 1_024
_FIRST_ARENA: Final = 4_096


class SeriesIndex:
    """Which *slot* stands for which series: a small integer under which detectors, validator and profiles keep its
    state.

    New names get the lowest free slots in the order they come; released slots are used again. So the numbering depends
    on history, and nothing that is published may depend on it.

    Memory: the names' bytes and about 30 bytes a series: 8 for the slot, 12 to 23 in the hash table, and up to half
    again on arrays just grown (``nbytes`` tells exactly). A million names of 13 bytes take 40 to 60 MB, and 0.2 to
    0.4 s to put in. Looking up costs 20 to 60 ns a reading. Not thread-safe.

    Names are hashed under a ``seed``, at random if none is given: else a producer could choose names that all meet, and
    each look-up would walk past all of them. Nothing depends on it but where in the table a name lies.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = np.uint64(secrets.randbits(64) if seed is None else seed)
        self._table: compiled.Words = np.zeros(_FIRST_TABLE, dtype=np.uint64)
        self._refs: IntArray = np.full(_FIRST_TABLE // 2, -1, dtype=np.int64)
        self._arena: ByteArray = np.zeros(_FIRST_ARENA, dtype=np.uint8)
        self._free: IntArray = np.zeros(16, dtype=np.int64)
        self._counts: IntArray = np.zeros(5, dtype=np.int64)

    def __len__(self) -> int:
        """Names held."""
        return int(self._counts[HELD])

    @property
    def capacity(self) -> int:
        """One more than the highest slot given so far: what arrays over slots need room for."""
        return int(self._counts[TOP])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, room for growth included."""
        return sum(array.nbytes for array in (self._table, self._refs, self._arena, self._free, self._counts))

    def slots_of(self, column: SeriesColumn) -> IntArray:
        """(n,) slots of the names; a new name gets the lowest free slot. Raises ``UsageError`` for a name of 16 MiB."""
        if len(column) and int(column.size.max()) > compiled.LONGEST:
            raise UsageError(
                f"A series key has {int(column.size.max())} bytes.", remedy="Let the contract limit its length."
            )
        slots, hashes = np.empty(len(column), dtype=np.int64), name_hashes(column, self._seed)
        row = 0
        while True:
            row = compiled.place_names(
                self._table, self._refs, self._arena, self._free, self._counts, hashes, column.data, column.at,
                column.size, row, slots,
            )  # fmt: skip
            if row == len(column):
                return slots
            self._make_room(int(column.size[row]))

    def put(self, column: SeriesColumn) -> IntArray:
        """(n,) slots for names that are all new: in an empty index ``0 .. n-1``. Raises ``UsageError`` where one is
        held already or given twice; the others are then put."""
        before = len(self)
        slots = self.slots_of(column)
        if len(self) != before + len(column):
            raise UsageError(
                f"{before + len(column) - len(self)} of {len(column)} series are known already.",
                remedy="Put each series once.",
            )
        return slots

    def find(self, column: SeriesColumn) -> IntArray:
        """(n,) slots of the names, -1 for those not held. Changes nothing."""
        slots, hashes = np.empty(len(column), dtype=np.int64), name_hashes(column, self._seed)
        compiled.find_names(self._table, self._refs, self._arena, hashes, column.data, column.at, column.size, slots)
        return slots

    def name(self, slot: int) -> str:
        """The name of a slot. Raises ``UsageError`` for a free one."""
        return self.names(np.array([slot], dtype=np.int64))[0]

    def names(self, slots: IntArray) -> SeriesColumn:
        """The names of ``slots``, over the index's own bytes (they stay as they are whatever comes after; ``packed()``
        makes a copy without the rest). Raises ``UsageError`` for a free slot."""
        refs = self._refs[self._held(slots)]
        return SeriesColumn(self._arena, refs >> 24, refs & 0xFFFFFF)

    def used(self) -> IntArray:
        """The slots held, ascending."""
        return np.flatnonzero(self._refs[: self.capacity] >= 0).astype(np.int64)

    def release(self, slots: IntArray) -> None:
        """Forget the names of ``slots``, given once each; the slots are free from now on. Raises ``UsageError`` for one
        that is free already, and then releases none."""
        slots = self._held(slots)
        if len(np.unique(slots)) != len(slots):
            raise UsageError("A slot is given twice.", remedy="Release each slot once.")
        need = int(self._counts[FREE]) + len(slots)
        if need > len(self._free):
            self._free = _longer(self._free, need, 0)
        compiled.release(self._table, self._refs, self._arena, self._free, self._counts, slots, self._seed)
        if self._counts[DEAD] > max(int(self._counts[ARENA]) // 2, _FIRST_ARENA):
            self._compact()

    def _held(self, slots: IntArray) -> IntArray:
        slots = np.ascontiguousarray(slots, dtype=np.int64)
        inside = (slots >= 0) & (slots < self.capacity)
        bad = slots[~inside | (self._refs[np.where(inside, slots, 0)] < 0)]
        if len(bad):
            raise UsageError(f"Slot {bad[0]} stands for no series.", remedy="Ask for slots in use.")
        return slots

    def _make_room(self, size: int) -> None:
        """Grow whatever has no room for one more name of ``size`` bytes."""
        held, end, top, free, _ = self._counts.tolist()
        if 10 * (held + 1) > 7 * len(self._table):
            table = np.zeros(2 * len(self._table), dtype=np.uint64)
            compiled.refill(self._table, table)
            self._table = table
        if not free and top == len(self._refs):
            self._refs = _longer(self._refs, top + 1, -1)
        if end + size > len(self._arena):
            self._arena = _longer(self._arena, end + size, 0)

    def _compact(self) -> None:
        """Leave the dead bytes behind. Columns given out keep the old bytes."""
        used = self.used()
        names = self.names(used).packed()
        self._refs[used] = names.at << 24 | names.size
        self._counts[ARENA], self._counts[DEAD] = len(names.data), 0
        self._arena = _longer(names.data, len(names.data) + _FIRST_ARENA, 0)


def name_hashes(column: SeriesColumn, seed: np.uint64 = np.uint64(0)) -> compiled.Words:  # noqa: B008 - a constant
    """(n,) a hash of each name, 32 bits; without a seed the same everywhere. The running hash takes that for the name:
    to change it is to change what every ledger says."""
    hashes = np.empty(len(column), dtype=np.uint64)
    compiled.hash_names(column.data, column.at, column.size, seed, hashes)
    return hashes


def _longer(array: NDArray[_Scalar], need: int, filling: int) -> NDArray[_Scalar]:
    """A copy with room for ``need``, at least half as long again, the new part ``filling``."""
    longer = np.full(max(need, len(array) + len(array) // 2), filling, dtype=array.dtype)
    longer[: len(array)] = array
    return longer
