"""The population prior: what a new series is like, judged by how others of its stream began.

A detector needs readings of a series before it can judge one. Until then the first readings of *other* series of the
partition say what is usual. Two questions are asked of a feature's value, by its age (how many values of it the series
has had):

- the first: is this *level* one at which series begin? It is held against the first values of earlier series, on both
  sides.
- a later one: is this *step* from the series' own mean so far as large as others took at that age? The step is divided
  by ``sqrt(1 + 1 / n)``, by which it is larger for the mean being one of ``n`` values only. Ages 1, 2 to 3, 4 to 7 and
  so on, up to 128 and more, are held apart; between two of these ages the less surprised counts.

The answer is a p-value by :class:`~oddtide.domain.detection.calibration.Calibration`: a rank among what earlier series
gave, and beyond them its tail. A series gives each of these pasts one number, its first at that age: numbers of
different series are exchangeable where series are, those of one series are not. So the p-value is that of a reading of
a *new series of the same kind*, and honest as such whatever the values' distribution is. Measured over 3,600 new series
(independent values of equal and of unequal scale, heavy tails, a random walk, autocorrelation .9; ages 0 to 31),
p-values below .1, .05 and .01 came at most 1.18, 1.13 and 1.06 times as often as they say, below .001 up to 2.8 times
where tails are heavy. Over several features the smallest counts, times their number (Bonferroni).

What it cannot know: whether a series that is unlike the others is sick or another kind of thing. Where there are
kinds that differ, it is blunt, not wrong. Fewer than 50 earlier series give no p-value below 1. It speaks only of
readings of which no detector of the stream is mature, and only where the stream declares it: with it, and only with it,
verdicts of a series depend on other series of its partition.

Ours; the conformal view of a new member of a group is Lei, Wasserman, "Distribution-free prediction bands" (2014), and
Dunn, Wasserman, Ramdas, "Distribution-free prediction sets for two-layer hierarchical models", JASA 2023, which asks of
each group one number as we do. Per series 16 bytes a feature; per partition ten calibrations a feature. A young reading
takes some 0.1 microseconds more, any other nothing that could be measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.calibration import Calibration
from oddtide.domain.detection.ensemble import Combined
from oddtide.domain.detection.ports import Scores
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import InColumns, SlotColumns, SlotState
from oddtide.domain.statistics import bonferroni, surprise
from oddtide.domain.statistics.kernels import bare_kernel

__all__ = ["PRIOR", "PopulationPrior"]

#: What a verdict names as its detector where the prior gave it.
PRIOR = "prior"
#: Pasts of a feature: first values on either side, and steps at ages 1, 2, 4 … 128.
_SIDES, _AGES = 2, 8
_PASTS = _SIDES + _AGES
#: Values and steps beyond this are alike.
_HUGE = 1e150

BoolArray = NDArray[np.bool_]
_Number = TypeVar("_Number", bound=np.generic)


@bare_kernel
def _follow(
    counts: IntArray,
    means: FloatArray,
    slots: IntArray,
    values: FloatArray,
    young: BoolArray,
    taught: BoolArray,
    ages: IntArray,
    marks: FloatArray,
) -> None:
    """Rows in order: how many values each feature of the series has had (``ages``, -1: not asked), and the value
    (``marks``), or its step from their mean. Values of rows that are young and taught become part of the mean."""
    for i in range(len(slots)):
        slot = slots[i]
        for j in range(values.shape[1]):
            value = values[i, j]
            ages[i, j] = -1
            if not young[i] or math.isnan(value):
                continue
            value = max(min(value, _HUGE), -_HUGE)
            n = counts[slot, j]
            ages[i, j] = n
            marks[i, j] = value if n == 0 else abs(value - means[slot, j]) / math.sqrt(1.0 + 1.0 / n)
            if taught[i]:
                means[slot, j] = means[slot, j] * (n / (n + 1.0)) + value / (n + 1.0)
                counts[slot, j] = n + 1


class PopulationPrior(InColumns):
    """Judges the readings of series that no detector knows yet. ``version`` is part of their verdicts."""

    version = "prior/1"

    def __init__(self, features: Sequence[str]) -> None:
        d = len(features)
        self._columns = SlotColumns(
            "the prior", {"prior_counts": np.zeros(d, dtype=np.int64), "prior_means": np.zeros(d)}
        )
        self._pasts = Calibration()
        self._pasts.grow(d * _PASTS)
        self._every: IntArray = np.arange(d * _PASTS, dtype=np.int64)

    def fill(
        self,
        slots: IntArray,
        values: FloatArray,
        combined: Combined,
        young: BoolArray,
        untaught: BoolArray | None,
        place: int,
    ) -> Combined:
        """``combined``, the rows that are ``young`` (no detector knows the series yet) judged by the prior; where it
        has something to say of a row it is the driver, by the number ``place``. ``needed`` stays that of the detector,
        so that the verdict shows how young the series is. Rows in log order; ``untaught`` ones teach nothing."""
        taught = np.ones(len(slots), dtype=np.bool_) if untaught is None else ~untaught
        if not young.any():
            return combined
        p_values = self._p_values(slots, values, young, taught)
        smallest = bonferroni(p_values.min(axis=1), float(values.shape[1]))
        told = np.flatnonzero(young & (smallest < 1.0))
        if not len(told):
            return combined
        return replace(
            combined,
            scores=_filled(combined.scores, told, surprise(p_values[told]), smallest[told]),
            driver=_with(combined.driver, told, place),
        )

    def _p_values(self, slots: IntArray, values: FloatArray, young: BoolArray, taught: BoolArray) -> FloatArray:
        """(n, d) p-values of each feature."""
        ages, marks = np.empty(values.shape, dtype=np.int64), np.zeros(values.shape)
        counts, means = self._columns["prior_counts"], self._columns["prior_means"]
        _follow(counts, means, slots, values, young, taught, ages, marks)
        p_values = np.ones(values.shape)
        for j in range(values.shape[1]):
            age, mark, first = ages[:, j], marks[:, j], j * _PASTS
            begun = np.flatnonzero(age == 0)
            sides = [self._grade(first + side, sign * mark[begun], taught[begun]) for side, sign in ((0, 1), (1, -1))]
            p_values[begun, j] = bonferroni(np.minimum(*sides), 2.0)
            later = np.flatnonzero(age > 0)
            p_values[later, j] = self._grade_steps(first + _SIDES, age[later], mark[later], taught[later])
        return p_values

    def _grade_steps(self, first: int, age: IntArray, marks: FloatArray, taught: BoolArray) -> FloatArray:
        """By the steps at the age that is a power of two and at the one after it, whichever is less surprised: steps of
        what wanders grow with age. In one call, so that each row is held against what was known before it."""
        group = np.minimum(np.log2(age).astype(np.int64), _AGES - 1)
        exact = age == 2**group
        after = np.where(exact, group, np.minimum(group + 1, _AGES - 1))
        pasts = first + np.stack([after, group], axis=1).ravel()
        learnt = np.stack([np.zeros(len(age), dtype=np.bool_), exact & taught], axis=1).ravel()
        both: FloatArray = self._grade(pasts, np.repeat(marks, 2), learnt).reshape(-1, 2).max(axis=1)
        return both

    def _grade(self, pasts: IntArray | int, marks: FloatArray, keep: BoolArray) -> FloatArray:
        which = np.broadcast_to(np.asarray(pasts, dtype=np.int64), marks.shape)
        return self._pasts.grade(np.ascontiguousarray(which), marks, learn=True, keep=keep)

    def save(self) -> SlotState:
        """What is of no series: the pasts."""
        return self._pasts.extract(self._every)

    def load(self, state: SlotState) -> None:
        """The inverse. Raises ``StateMismatchError``."""
        self._pasts.insert(self._every, state)


def _filled(scores: Scores, rows: IntArray, contributions: FloatArray, p_values: FloatArray) -> Scores:
    """The scores with other ones at ``rows``: the features' surprises, and their sum."""
    return replace(
        scores,
        score=_with(scores.score, rows, contributions.sum(axis=1)),
        p_value=_with(scores.p_value, rows, p_values),
        contributions=_with(scores.contributions, rows, contributions),
    )


def _with(column: NDArray[_Number], rows: IntArray, there: NDArray[_Number] | int) -> NDArray[_Number]:
    changed = column.copy()
    changed[rows] = there
    return changed
