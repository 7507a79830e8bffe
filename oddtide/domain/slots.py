"""State in columns: arrays with one row per *slot*, the small integer that stands for one series of one partition.

Everything that keeps state per series (validation, profiles, drift, detectors) keeps it so. That costs no object per
series, and the state of any slots can be taken out, put to sleep, stored in a snapshot and put back, into other slots
too, without anybody knowing what it means.
"""

from __future__ import annotations

import mmap
import pickle
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.errors import StateMismatchError, UsageError
from oddtide.domain.readings import IntArray

__all__ = ["InColumns", "PerSlot", "Recency", "SlotColumns", "SlotState", "bytes_of", "pickled_size"]

#: The state of ``n`` slots by name: arrays with ``n`` rows, or lists of ``n`` bytes. Shares no memory with its origin.
SlotState: TypeAlias = dict[str, NDArray[Any] | list[bytes]]

_REMEDY = "It was saved with other features, parameters or code; start from an empty state."
#: Python's objects take about this many times the bytes of their pickle (measured over river's models: 2 to 6).
_OBJECT_WEIGHT = 4
#: Bytes from which on an array gets memory of its own.
_BIG = 1 << 20


class PerSlot(Protocol):
    """Whatever keeps state per slot: stages, detectors, columns."""

    @property
    def bytes_per_slot(self) -> int:
        """Memory that the state of one slot takes; a guess where it is objects."""
        ...

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``; never shrinks."""
        ...

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen."""
        ...

    def extract(self, slots: IntArray) -> SlotState:
        """A copy of the state of ``slots``, in their order."""
        ...

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the state of ``slots``, for which there is room, by an extracted one. Raises
        ``StateMismatchError`` for one that does not fit; nothing has changed then."""
        ...


class SlotColumns:
    """Arrays by name with one row per slot.

    ``blanks`` names the columns and says what the row of a series never seen holds; its type and shape are the
    column's. Guaranteed: a row that was never written, or was forgotten, equals its blank to the bit. Rows beyond
    those written take no memory where the blank is zero. ``owner`` is whose they are, for messages.
    """

    def __init__(self, owner: str, blanks: Mapping[str, NDArray[Any]]) -> None:
        self._owner = owner
        self._blanks = dict(blanks)
        self._arrays = {name: np.zeros((0, *blank.shape), dtype=blank.dtype) for name, blank in blanks.items()}
        self._slots = 0

    def __len__(self) -> int:
        """How many slots there is room for."""
        return self._slots

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column itself (not a copy), with at least as many rows as there is room for; :meth:`grow` replaces it."""
        return self._arrays[name]

    @property
    def bytes_per_slot(self) -> int:
        """Bytes of one row of all columns."""
        return sum(blank.nbytes for blank in self._blanks.values())

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``; never shrinks. Arrays at least double, so that growing one at a time
        stays linear."""
        if slots <= self._slots:
            return
        self._slots = slots
        for name, array in self._arrays.items():
            if slots > len(array):
                self._arrays[name] = _enlarged(array, self._blanks[name], slots)

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen. Raises ``UsageError`` for a slot without room."""
        self._check_slots(slots)
        for name, array in self._arrays.items():
            array[slots] = self._blanks[name]

    def extract(self, slots: IntArray) -> SlotState:
        """Copies of the rows of ``slots``, in their order. Raises ``UsageError`` for a slot without room."""
        self._check_slots(slots)
        return {name: _rows(array, slots) for name, array in self._arrays.items()}

    def insert(self, slots: IntArray, state: Mapping[str, Any]) -> None:
        """Replace the rows of ``slots`` (each at most once) by those of ``state``, whose other names are left alone.

        Raises as :meth:`check` does; nothing has changed then.
        """
        self.check(slots, state)
        for name, array in self._arrays.items():
            array[slots] = state[name]

    def check(self, slots: IntArray, state: Mapping[str, Any]) -> None:
        """Whether ``state`` fits: raises ``StateMismatchError`` for other names, types or shapes, and ``UsageError``
        for slots without room."""
        self._check_slots(slots)
        for name, blank in self._blanks.items():
            found, wanted = state.get(name), (len(slots), *blank.shape)
            if not isinstance(found, np.ndarray) or found.dtype != blank.dtype or found.shape != wanted:
                what = f"{found.dtype}{found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
                raise StateMismatchError(
                    f"The state {name!r} of {self._owner} is {what}, not {blank.dtype}{wanted}.", remedy=_REMEDY
                )

    def _check_slots(self, slots: IntArray) -> None:
        if len(slots) and not 0 <= int(slots.min()) <= int(slots.max()) < self._slots:
            raise UsageError(
                f"Slots {slots.min()} .. {slots.max()} were given, {self._owner} has room for {self._slots}.",
                remedy="Call grow() first.",
            )


class InColumns:
    """Per-slot state that all lies in ``_columns``: the whole of :class:`PerSlot`, handed on to them."""

    _columns: SlotColumns

    @property
    def bytes_per_slot(self) -> int:
        """Memory that the state of one slot takes."""
        return self._columns.bytes_per_slot

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``; never shrinks."""
        self._columns.grow(slots)

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen."""
        self._columns.forget(slots)

    def extract(self, slots: IntArray) -> SlotState:
        """A copy of the state of ``slots``, in their order."""
        return self._columns.extract(slots)

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the state of ``slots``, for which there is room. Raises ``StateMismatchError`` for one of other
        features or parameters; nothing has changed then."""
        self._columns.insert(slots, state)

    def check_state(self, slots: IntArray, state: SlotState) -> None:
        """Raises what :meth:`insert` would; changes nothing."""
        self._columns.check(slots, state)


class Recency:
    """Which slots have been idle longest, in steps: all slots touched in one step are as recent. Four bytes a slot."""

    def __init__(self) -> None:
        self._columns = SlotColumns("recency", {"step": np.zeros((), dtype=np.uint32)})
        self._step = 0

    def touch(self, slots: IntArray, room: int) -> None:
        """``slots``, of ``0 .. room-1``, are in use: a new step."""
        self._columns.grow(room)
        self._step += 1
        if self._step > np.iinfo(np.uint32).max:  # after months: who was idle so far counts as idle alike
            self._columns["step"][:] = 0
            self._step = 1
        self._columns["step"][slots] = self._step

    def idle_longest(self, slots: IntArray, count: int) -> IntArray:
        """The ``count`` of ``slots`` touched least recently, ascending; never touched counts as long ago."""
        if count >= len(slots):
            return slots
        self._columns.grow(int(slots.max()) + 1)
        order = np.argpartition(self._columns["step"][slots], count - 1)
        chosen: IntArray = np.sort(slots[order[:count]])
        return chosen


def _rows(array: NDArray[Any], slots: IntArray) -> NDArray[Any]:
    """A copy of some rows. That of a whole state is big and soon given back, by a thread: see :func:`_zeros`."""
    shape = (len(slots), *array.shape[1:])
    if _nbytes(shape, array.dtype) < _BIG:
        return np.asarray(array[slots])
    return np.take(array, slots, axis=0, out=_zeros(shape, array.dtype), mode="clip")  # "raise" makes one more copy


def _nbytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def _enlarged(array: NDArray[Any], blank: NDArray[Any], slots: int) -> NDArray[Any]:
    wider = _zeros((max(slots, 2 * len(array)), *blank.shape), blank.dtype)
    wider[: len(array)] = array
    if blank.any():  # zeros are left alone: pages that nobody touches cost nothing
        wider[len(array) :] = blank
    return wider


def _zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros. Big arrays lie in memory of their own: given back at once when they are replaced, where malloc's heap
    would keep the holes (measured: 22 MB of a million series)."""
    size = _nbytes(shape, dtype)
    if size < _BIG:
        return np.zeros(shape, dtype=dtype)
    own = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Linux: with small pages finding the page costs as much as reading it. Elsewhere, or where forbidden: no matter.
    with suppress(AttributeError, OSError):
        own.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(own, dtype=dtype).reshape(shape)


def bytes_of(owner: str, name: str, count: int, state: Mapping[str, Any]) -> Sequence[bytes]:
    """``state[name]``, which must be a list of ``count`` bytes; raises ``StateMismatchError`` otherwise."""
    found = state.get(name)
    if isinstance(found, list) and len(found) == count and all(isinstance(each, bytes) for each in found):
        return found
    what = f"{len(found)} entries" if isinstance(found, list) else type(found).__name__
    raise StateMismatchError(f"The state {name!r} of {owner} is {what}, not {count} bytes strings.", remedy=_REMEDY)


def pickled_size(thing: object) -> int:
    """About how many bytes of memory ``thing`` takes, guessed from its pickle."""
    return _OBJECT_WEIGHT * len(pickle.dumps(thing, protocol=5))
