"""What detectors with a row of state per slot share: checking rows, growing arrays."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.ports import DetectorState, Rows
from oddtide.domain.errors import StateMismatchError, UsageError
from oddtide.domain.readings import FloatArray, IntArray

__all__ = ["array_of", "check_rows", "columns", "enlarged"]

_Scalar = TypeVar("_Scalar", bound=np.generic)


def check_rows(rows: Rows, slots: int, features: int) -> None:
    """Refuse rows that do not fit: a wrong number of features, a slot that :meth:`grow` made no room for.

    Compiled kernels do not check bounds, so this is what keeps a wrong slot from touching foreign memory.
    """
    if rows.values.ndim != 2 or rows.values.shape != (len(rows), features):
        raise UsageError(
            f"The values have shape {rows.values.shape}, not ({len(rows)}, {features}).",
            remedy="Give one column per feature of the stream.",
        )
    if len(rows) and not 0 <= int(rows.slots.min()) <= int(rows.slots.max()) < slots:
        raise UsageError(
            f"Slots {rows.slots.min()} .. {rows.slots.max()} were given, there is room for {slots}.",
            remedy="Call grow() first.",
        )


def enlarged(array: NDArray[_Scalar], slots: int) -> NDArray[_Scalar]:
    """``array`` with room for at least ``slots`` along its first axis, the new part zero. At least doubles, so that
    growing one at a time stays linear."""
    if slots <= len(array):
        return array
    wider = np.zeros((max(slots, 2 * len(array)), *array.shape[1:]), dtype=array.dtype)
    wider[: len(array)] = array
    return wider


def array_of(state: DetectorState, name: str, like: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """A copy of ``state[name]``, which must have the type of ``like`` and its shape but for the number of slots."""
    found = state.get(name)
    if not isinstance(found, np.ndarray) or found.dtype != like.dtype or found.shape[1:] != like.shape[1:]:
        what = f"{found.dtype}{found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise StateMismatchError(
            f"Saved state {name!r} is {what}, not {like.dtype} of (slots, *{like.shape[1:]}).",
            remedy="It was saved by a detector with other features or parameters; start from an empty state.",
        )
    return np.array(found, dtype=like.dtype, order="C")


def columns(rows: Rows) -> tuple[IntArray, FloatArray]:
    """Slots and values in the one memory layout that kernels are compiled for."""
    slots, values = np.ascontiguousarray(rows.slots), np.ascontiguousarray(rows.values)
    return slots.astype(np.int64, copy=False), values.astype(np.float64, copy=False)
