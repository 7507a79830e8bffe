"""The compiled part of validation. Imported only when a validator is made: numba is heavy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import IntArray
from oddtide.domain.statistics.kernels import kernel

__all__ = ["IN_ORDER", "IS_DUPLICATE", "IS_LATE", "NEVER", "order_pass"]

#: The newest time of a slot that has none.
NEVER = np.int64(-(2**63))
IN_ORDER, IS_LATE, IS_DUPLICATE = np.int8(0), np.int8(1), np.int8(2)


@kernel
def order_pass(
    slots: IntArray,
    times: IntArray,
    judged: NDArray[np.bool_],
    in_range: NDArray[np.bool_],
    keep_late: bool,
    keep_duplicates: bool,
    newest: IntArray,
) -> NDArray[np.int8]:
    """Row by row: is the reading late or a duplicate, and, if it will be kept, its slot's new newest time.

    Rows that are not ``judged`` (refused before) are passed over; those not ``in_range`` are judged, but leave no
    trace.
    """
    codes = np.zeros(len(slots), dtype=np.int8)
    for row in range(len(slots)):
        if not judged[row]:
            continue
        slot, time = slots[row], times[row]
        kept = in_range[row]
        if newest[slot] != NEVER:
            if time < newest[slot]:
                codes[row] = IS_LATE
                kept = kept and keep_late
            elif time == newest[slot]:
                codes[row] = IS_DUPLICATE
                kept = kept and keep_duplicates
        if kept and time > newest[slot]:
            newest[slot] = time
    return codes
