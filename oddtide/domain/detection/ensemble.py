"""Several detectors on one stream: one p-value, and whose word counted.

Raw scores of different detectors cannot be added; how improbable each finds a reading can. A member's *surprise* is
``-log10`` of its p-value: 0 where it saw nothing, 3 for one in a thousand. Fisher's method (Statistical Methods for
Research Workers, 1925) adds them up: under the null ``-2 sum(ln p)`` of ``k`` independent members is chi-squared with
``2k`` degrees of freedom, so that several members that are each a little surprised count as one that is very much, and
one that is very surprised is diluted by the others' silence only a little.

Members are not independent: they look at the same readings. So what Fisher's method gives is a score once more, and
a :class:`Calibration` grades it by the series' own past: the p-value holds whatever the members' dependence is, and
whatever their p-values are worth on this series. Until that has a past, the p-value is the smallest times the number of
members (Bonferroni), which is valid however they depend on one another.

*One alone.* Where only one member is mature there is nothing to combine, and its p-value is the verdict's: grading once
more what has been graded only loses (of ``auto`` on SKAB .09 of VUS-PR).

Only *mature* members count: one that is warming up, or has found out that it has nothing to say of this series (it
looks for seasons where there are none), stays out of the sum and does not cost the others anything. The *driver* is
the mature member with the smallest p-value (the first of equals; the first of all while none is mature): score on its
own scale, contributions, expectation and band are the driver's.

Rows are judged one by one, in the order of the log, by what was known before: batches never matter. Rows under planned
work are judged and not learnt. Bytes per series: those of a calibration. A stream with one detector has no such stage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.calibration import Calibration
from oddtide.domain.detection.ports import Scores
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import SlotState
from oddtide.domain.statistics import bonferroni
from oddtide.domain.statistics.kernels import bare_kernel

__all__ = ["Combined", "Ensemble", "alone"]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Combined:
    """``scores`` of ``n`` rows; ``driver`` (n,) which detector (its position) each row is from; ``needed`` (n,) the
    driver's warm-up."""

    scores: Scores
    driver: IntArray
    needed: IntArray


def alone(scores: Scores, needed: int) -> Combined:
    """The verdicts of the only detector."""
    n = len(scores.score)
    return Combined(scores, np.zeros(n, dtype=np.int64), np.full(n, needed, dtype=np.int64))


@bare_kernel
def _weigh(p_values: FloatArray, mature: BoolArray, driver: IntArray, asked: IntArray, surprise: FloatArray) -> None:
    """(k, n) p-values: who drives each row, how many were asked, and ``-log10`` of Fisher's combination of theirs."""
    members, rows = p_values.shape
    for i in range(rows):
        best, count, doubt = 0, 0, 0.0
        for k in range(members):
            if mature[k, i]:
                if count == 0 or p_values[k, i] < p_values[best, i]:
                    best = k
                count += 1
                doubt -= math.log(p_values[k, i])
        term, terms = 1.0, 1.0
        for k in range(1, count):
            term *= doubt / k
            terms += term
        driver[i], asked[i] = best, count
        surprise[i] = max(doubt - math.log(terms), 0.0) / math.log(10.0) if count else math.nan


class Ensemble:
    """The verdicts of a partition's detectors, each row's as one."""

    def __init__(self) -> None:
        self._calibration = Calibration()

    def combine(self, slots: IntArray, parts: Sequence[Scores], needed: Sequence[int], taught: BoolArray) -> Combined:
        """The verdicts of several detectors over the same rows (of ``slots``, in log order), as one. ``needed`` holds
        each detector's warm-up; where ``taught`` (n,) is true the row is learnt."""
        warm_ups = np.asarray(needed, dtype=np.int64)
        p_values = np.stack([part.p_value for part in parts])
        mature = np.stack([part.seen for part in parts]) >= warm_ups[:, None]
        n = len(slots)
        driver, asked, surprise = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.empty(n)
        _weigh(p_values, mature, driver, asked, surprise)
        rows = np.arange(n)
        smallest = np.where(asked > 0, p_values[driver, rows], 1.0)
        cautious = bonferroni(smallest, np.maximum(asked, 1).astype(np.float64))
        several = asked > 1
        graded = self._calibration.grade(slots, surprise, learn=True, keep=taught & several, otherwise=cautious)
        believed = np.where(several, graded, smallest)
        return Combined(replace(_of(parts, driver, rows), p_value=believed), driver, warm_ups[driver])

    @property
    def bytes_per_slot(self) -> int:
        """Memory that the state of one slot takes."""
        return self._calibration.bytes_per_slot

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``; never shrinks."""
        self._calibration.grow(slots)

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen."""
        self._calibration.forget(slots)

    def extract(self, slots: IntArray) -> SlotState:
        """A copy of the state of ``slots``, in their order."""
        return self._calibration.extract(slots)

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the state of ``slots`` by an extracted one. Raises ``StateMismatchError`` for one that is none."""
        self._calibration.insert(slots, state)


def _of(parts: Sequence[Scores], driver: IntArray, rows: IntArray) -> Scores:
    """Each row as its driver has it; p-values are still the drivers' own."""
    return Scores(
        score=np.stack([part.score for part in parts])[driver, rows],
        p_value=np.stack([part.p_value for part in parts])[driver, rows],
        contributions=np.stack([part.contributions for part in parts])[driver, rows],
        seen=np.stack([part.seen for part in parts])[driver, rows],
        expected=_pick([part.expected for part in parts], driver, rows),
        lower=_pick([part.lower for part in parts], driver, rows),
        upper=_pick([part.upper for part in parts], driver, rows),
    )


def _pick(columns: Sequence[FloatArray | None], driver: IntArray, rows: IntArray) -> FloatArray | None:
    present = next((column for column in columns if column is not None), None)
    if present is None:
        return None
    none_yet = np.full_like(present, np.nan)
    picked: FloatArray = np.stack([none_yet if column is None else column for column in columns])[driver, rows]
    return picked
