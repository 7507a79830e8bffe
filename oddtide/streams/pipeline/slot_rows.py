"""The state of a series as bytes: what lies in the store where series sleep.

::

    4 bytes   which layout: stages, columns, types, shapes
    arrays    the rows of all array columns, one after the other, as they lie in memory
    bytes     for each column of bytes its length (4 bytes, little endian) and content

Rows of several layouts may lie beside one another: a series that slept while its stream's plan changed keeps the one of
before. Whoever stores rows stores the layouts with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np

from oddtide.domain.errors import StateMismatchError
from oddtide.domain.readings import IntArray
from oddtide.domain.slots import SlotState

__all__ = ["RowCodec", "RowLayout"]

_HEAD = 4
_LENGTH = 4


class _Column(msgspec.Struct, frozen=True):
    """An array column: its type as NumPy writes it, the shape of one slot's row."""

    stage: str
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


class RowLayout(msgspec.Struct, frozen=True, dict=True):
    """How a row is laid out: its stages, array columns and columns of bytes, in order."""

    stages: tuple[str, ...]
    arrays: tuple[_Column, ...]
    lists: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, states: Mapping[str, SlotState]) -> RowLayout:
        """The layout of extracted states."""
        arrays, lists = [], []
        for stage, state in states.items():
            for name, column in state.items():
                if isinstance(column, np.ndarray):
                    arrays.append(_Column(stage, name, column.dtype.str, column.shape[1:]))
                else:
                    lists.append((stage, name))
        return cls(tuple(states), tuple(arrays), tuple(lists))

    @cached_property
    def head(self) -> bytes:
        """What a row of this layout begins with: a digest of it."""
        return hashlib.blake2b(msgspec.json.encode(self), digest_size=_HEAD).digest()

    @cached_property
    def width(self) -> int:
        """Bytes of a row up to the columns of bytes."""
        return _HEAD + sum(column.width for column in self.arrays)


class RowCodec:
    """Turns extracted states into one bytes per slot and back. ``layouts`` are those of rows that it did not write."""

    def __init__(self, layouts: Iterable[RowLayout] = ()) -> None:
        self._layouts = {layout.head: layout for layout in layouts}

    @property
    def layouts(self) -> list[RowLayout]:
        """Every layout met so far."""
        return list(self._layouts.values())

    def encode(self, count: int, states: Mapping[str, SlotState]) -> list[bytes]:
        """The rows of ``count`` slots."""
        layout = RowLayout.of(states)
        self._layouts[layout.head] = layout
        fixed = np.empty((count, layout.width), dtype=np.uint8)
        fixed[:, :_HEAD] = np.frombuffer(layout.head, dtype=np.uint8)
        at = _HEAD
        for column in layout.arrays:
            part = np.ascontiguousarray(states[column.stage][column.name])
            fixed[:, at : at + column.width] = part.reshape(count, column.width // part.itemsize).view(np.uint8)
            at += column.width
        raw, wide = fixed.tobytes(), layout.width
        rows = [raw[start : start + wide] for start in range(0, count * wide, wide)]
        if not layout.lists:
            return rows
        parts = [states[stage][name] for stage, name in layout.lists]
        return [b"".join((row, *_prefixed(tail))) for row, *tail in zip(rows, *parts, strict=True)]

    def decode(self, rows: Sequence[bytes]) -> Iterator[tuple[IntArray, dict[str, SlotState]]]:
        """The inverse: for each layout among the rows, which rows are of it and the states in them.

        Raises ``StateMismatchError`` for rows of a layout not met before, or cut off ones."""
        places: dict[bytes, list[int]] = {}
        for place, row in enumerate(rows):
            places.setdefault(row[:_HEAD], []).append(place)
        unknown = next((rows[where[0]] for head, where in places.items() if head not in self._layouts), None)
        if unknown is not None:
            raise _mismatch(unknown)
        for head, where in places.items():
            yield np.array(where, dtype=np.int64), _decode(self._layouts[head], [rows[place] for place in where])


def _decode(layout: RowLayout, rows: Sequence[bytes]) -> dict[str, SlotState]:
    shortest, longest = min(rows, key=len), max(rows, key=len)
    if len(shortest) < layout.width or (len(longest) > layout.width and not layout.lists):
        raise _mismatch(shortest)
    found: dict[str, SlotState] = {stage: {} for stage in layout.stages}
    raw = b"".join(row[: layout.width] for row in rows)
    fixed = np.frombuffer(raw, dtype=np.uint8).reshape(len(rows), layout.width)
    at = _HEAD
    for column in layout.arrays:
        part = np.ascontiguousarray(fixed[:, at : at + column.width]).view(column.dtype)
        found[column.stage][column.name] = part.reshape(len(rows), *column.shape)
        at += column.width
    tails = [list(_tail(layout, row)) for row in rows] if layout.lists else []
    for place, (stage, name) in enumerate(layout.lists):
        found[stage][name] = [tail[place] for tail in tails]
    return found


def _tail(layout: RowLayout, row: bytes) -> Iterator[bytes]:
    at = layout.width
    for _ in layout.lists:
        start = at + _LENGTH
        at = start + int.from_bytes(row[at:start], "little")
        if at > len(row):
            raise _mismatch(row)
        yield row[start:at]


def _prefixed(parts: Sequence[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield len(part).to_bytes(_LENGTH, "little")
        yield part


def _mismatch(row: bytes) -> StateMismatchError:
    return StateMismatchError(
        f"A sleeping series' state of {len(row)} bytes, beginning with '{row[:_HEAD].hex()}', has another layout.",
        remedy="It was put to sleep by other code; the state is rebuilt from an older snapshot or from the log.",
    )
