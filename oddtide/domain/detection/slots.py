"""What detectors with a row of state per slot share: checking the rows that they are given."""

from __future__ import annotations

import numpy as np

from oddtide.domain.detection.ports import Rows
from oddtide.domain.errors import UsageError
from oddtide.domain.readings import FloatArray, IntArray

__all__ = ["check_rows", "columns", "shared_out"]


def check_rows(rows: Rows, slots: int, features: int) -> None:
    """Refuse rows that do not fit: a wrong number of features, a slot that :meth:`grow` made no room for.

    Compiled kernels do not check bounds, so this is what keeps a wrong slot from touching foreign memory.
    """
    if rows.values.ndim != 2 or rows.values.shape != (len(rows), features):
        raise UsageError(
            f"The values have shape {rows.values.shape}, not ({len(rows)}, {features}).",
            remedy="Give one column per feature of the stream.",
        )
    if rows.labels and len(rows.labels) != len(rows):
        raise UsageError(f"There are {len(rows.labels)} labels for {len(rows)} rows.", remedy="Give each row its own.")
    if len(rows) and not 0 <= int(rows.slots.min()) <= int(rows.slots.max()) < slots:
        raise UsageError(
            f"Slots {rows.slots.min()} .. {rows.slots.max()} were given, there is room for {slots}.",
            remedy="Call grow() first.",
        )


def columns(rows: Rows) -> tuple[IntArray, FloatArray]:
    """Slots and values in the one memory layout that kernels are compiled for."""
    slots, values = np.ascontiguousarray(rows.slots), np.ascontiguousarray(rows.values)
    return slots.astype(np.int64, copy=False), values.astype(np.float64, copy=False)


def shared_out(score: FloatArray, against: FloatArray, values: FloatArray) -> FloatArray:
    """(n, d) contributions: the score by what speaks against each feature; evenly over those present if none."""
    weights = np.where(against.sum(axis=1, keepdims=True) > 0, against, ~np.isnan(values))
    total = weights.sum(axis=1, keepdims=True)
    shares: FloatArray = score[:, None] * (weights / np.maximum(total, 1e-300))
    return shares
