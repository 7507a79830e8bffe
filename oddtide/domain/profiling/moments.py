"""The compiled part of profiles: counts and moments."""

from __future__ import annotations

import numpy as np

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["COUNT", "MAXIMUM", "MEAN", "MINIMUM", "MISSING", "SQUARES", "fold_moments"]

#: Columns of a cell's counts and moments.
COUNT, MISSING = 0, 1
MINIMUM, MAXIMUM, MEAN, SQUARES = 0, 1, 2, 3

#: Rows looked at ahead.
_AHEAD = 128


@inlined
def _touch(counts: IntArray, moments: FloatArray, slots: IntArray, first: int, last: int) -> int:
    """Read what the rows ahead will need, one independently of the other: with a million series that is twice as fast
    as waiting for each when its turn comes. Gives 0, as nothing is counted below it, nor is NaN a minimum."""
    found = 0
    for row in range(first, last):
        if counts[slots[row], 0, 0] < 0 or np.isnan(moments[slots[row], 0, 0]):
            found += 1
    return found


@bare_kernel
def fold_moments(slots: IntArray, values: FloatArray, counts: IntArray, moments: FloatArray, every: int) -> int:
    """Row by row into ``counts`` (slots, d, 2) and ``moments`` (slots, d, 4); Welford's update (Technometrics 1962).

    Ends after the first row that brings its slot's readings to a multiple of ``every`` (0: with the last). Returns how
    many rows were taken.
    """
    taken = len(slots)
    for row in range(len(slots)):
        if row % _AHEAD == 0:
            taken += _touch(counts, moments, slots, row, min(row + _AHEAD, len(slots)))
        slot = slots[row]
        for place in range(values.shape[1]):
            # float() and int(): Python's, which overflow to infinity in silence, as the compiled ones do
            value = float(values[row, place])
            if np.isnan(value):
                counts[slot, place, 1] += 1
                continue
            counts[slot, place, 0] += 1
            cell = moments[slot, place]
            if counts[slot, place, 0] == 1:
                cell[0] = cell[1] = cell[2] = value
                continue
            cell[0], cell[1] = min(cell[0], value), max(cell[1], value)
            away = value - float(cell[2])
            mean = float(cell[2]) + away / int(counts[slot, place, 0])
            cell[2] = mean
            cell[3] = float(cell[3]) + away * (value - mean)
        if every > 0 and (counts[slot, 0, 0] + counts[slot, 0, 1]) % every == 0:
            return row + 1
    return taken
