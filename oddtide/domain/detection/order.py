"""Do a series' readings hang together in time, or are they rows that might as well have come in another order?

A detector that averages over neighbours in time finds what is faint and lasts in a machine's sensors, and ruins a
stream of orders, claims or sessions, where the one before has nothing to do with the next. Nobody should have to say
which it is: it is asked of the series itself.

Per feature, von Neumann's ratio (Annals of Mathematical Statistics 1941) compares how far readings are from the one
before with how far they are from their mean: ``1 - step / (2 variance)`` is the autocorrelation from one reading to the
next, which is near 0 for rows in any order. Its standard error is one over the root of the number of readings; only
that of such as are not all alike counts, ``n (mean distance / standard deviation)**2``, as a flag that was set twice in
a row is no evidence. Readings hang together where a feature has an autocorrelation of at least .25, and of two standard
errors more than the largest that luck makes of as many features (``sqrt(2 log 2d)`` of them).

It is asked first of 96 readings and then at every 32nd, of the moments since the beginning (later: of the last
``horizon``). Until then the answer is no. On the labelled data at hand: of the 57 shuffled ADBench tables none comes
within one standard error of yes; of the 58 series all but four say yes within 400 readings. Missing features are passed
over; units and zero points do not matter; a feature that does not move has no say. Beyond 1e75 all are alike.

State per series: 56 bytes a feature and 16.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import InColumns, SlotColumns
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["ASKED_EVERY", "Order"]

# What is kept per feature: its first value, and of differences from it the mean, variance, mean distance from the mean
# and mean squared step; the last one; how many there were.
_FIRST, _MEAN, _VARIANCE, _SPREAD, _STEP, _LAST, _KNOWN = range(7)
_CELL = 7
# In counts, per series: readings learnt (those with a feature at all), whether they hang together.
_LEARNT, _ORDERED = range(2)

#: Whether readings hang together is asked every so many readings, from the third time on.
ASKED_EVERY = 32
_FIRST_ASKED = 3 * ASKED_EVERY
_LEAST, _SURE = 0.25, 2.0
_HUGE = 1e75
_FLOOR = 1e-6
_TINY = 1e-150


@inlined
def _learn(x: FloatArray, cells: FloatArray, horizon: float) -> bool:
    """The moments after ``x``; returns whether a feature is known."""
    known = False
    for j in range(len(x)):
        if math.isnan(x[j]):
            continue
        known = True
        value = min(max(float(x[j]), -_HUGE), _HUGE)
        if cells[_KNOWN, j] == 0.0:
            cells[_FIRST, j] = value
        value -= cells[_FIRST, j]
        cells[_KNOWN, j] += 1.0
        weight = 1.0 / min(cells[_KNOWN, j], horizon)
        away, step = value - cells[_MEAN, j], value - cells[_LAST, j]
        cells[_MEAN, j] += weight * away
        cells[_VARIANCE, j] = (1.0 - weight) * (cells[_VARIANCE, j] + weight * away * away)
        cells[_SPREAD, j] += weight * (abs(away) - cells[_SPREAD, j])
        cells[_STEP, j] += weight * (step * step - cells[_STEP, j])
        cells[_LAST, j] = value
    return known


@inlined
def _hang_together(cells: FloatArray, horizon: float) -> bool:
    moving, most = 0, 0.0
    for j in range(cells.shape[1]):
        variance, spread = cells[_VARIANCE, j], cells[_SPREAD, j]
        if spread <= max(_FLOOR * abs(cells[_FIRST, j] + cells[_MEAN, j]), _TINY):
            continue
        moving += 1
        echo = 1.0 - 0.5 * cells[_STEP, j] / variance
        if echo >= _LEAST:
            worth = min(cells[_KNOWN, j], horizon) * min(spread * spread / variance, 1.0)
            most = max(most, echo * math.sqrt(worth))
    return moving > 0 and most >= _SURE + math.sqrt(2.0 * math.log(2.0 * moving))


@bare_kernel
def _ask(
    cells: FloatArray,
    counts: IntArray,
    slots: IntArray,
    values: FloatArray,
    horizon: float,
    learning: bool,
    ordered: NDArray[np.bool_],
) -> None:
    """Rows in order: what is known before each into ``ordered``, then learnt where ``learning``."""
    for i in range(len(slots)):
        slot = slots[i]
        ordered[i] = counts[slot, _ORDERED] > 0
        if learning and _learn(values[i], cells[slot], horizon):
            counts[slot, _LEARNT] += 1
            learnt = counts[slot, _LEARNT]
            if learnt >= _FIRST_ASKED and learnt % ASKED_EVERY == 0:
                counts[slot, _ORDERED] = 1 if _hang_together(cells[slot], horizon) else 0


class Order(InColumns):
    """Whether the readings of each slot hang together in time."""

    def __init__(self, features: int, horizon: int = 16_384) -> None:
        self._horizon = float(horizon)
        blanks = {"order_cells": np.zeros((_CELL, features)), "order_counts": np.zeros(2, dtype=np.int64)}
        self._columns = SlotColumns("order", blanks)

    def ask(self, slots: IntArray, values: FloatArray, *, learn: bool) -> NDArray[np.bool_]:
        """(n,) whether the readings before each of (n, d) ``values`` hang together; then each is learnt, where
        ``learn``."""
        ordered = np.empty(len(slots), dtype=np.bool_)
        _ask(self._columns["order_cells"], self._columns["order_counts"], slots, values, self._horizon, learn, ordered)
        return ordered
