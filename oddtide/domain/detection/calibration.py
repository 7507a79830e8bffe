"""From scores to p-values by a series' own past: for detectors that have no distribution of their own.

*Body.* If the past ``n`` scores and the new one are exchangeable, the share of them at least as large is a valid
p-value whatever the detector does (conformal: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005;
on streams Laxhammar, Falkman 2010). All of them would be too many to keep: an even sample of 64 to 128 stands for them,
one of each block of ``2**k`` scores; when it is full every other one by rank goes, as in the sketches of Munro,
Paterson (1980). Between two of them a p-value is interpolated.

*Tail.* Alone that could not fall below one in a hundred. What lies beyond a high threshold follows a generalised
Pareto law (Pickands 1975); it is fitted to the largest peaks, up to 64, and the p-value is the share of readings beyond
the threshold times the *predictive* probability of that excess, over what shape and scale may be: nine ratios of the
two with a normal prior for the shape that each stands for (-.05 with deviation .2, from -.3 to .8), what is left free
integrated out exactly. So few peaks make a cautious tail, and a larger score always has a smaller p-value: no floor at
``1 / (n + 1)``. Beyond ``(n + 1)**-4`` surprise counts by its logarithm only: that far nobody can see.

*One yardstick for long.* The order of p-values within a series follows that of its scores, nearly, since what they are
held against moves slowly. All that is known counts half whenever it counts for .6 of the series' life (not below 256
scores), or for ``memory`` scores: what was learnt counts half when the series is a little less than twice as old, at
the latest ``memory / 2`` scores on. So what a detector said while it knew little does not count for ever, and a change
of scale is learnt in proportion to how long things were otherwise.

*Runs.* Scores of a strange stretch echo one another. A run of scores beyond the threshold gives the tail one peak, its
largest (declustering: Davison, Smith 1990; Ferro, Segers 2003), at least one each 16 readings; the share of readings
beyond counts them all, so that a p-value is right per reading. While a run lasts it isn't held against itself.

*What was learnt of anomalies.* A peak counts for at most the score that the tail, as it is known, expects once in four
times the past: one wild score makes the tail little heavier, and a tail that is heavy moves out step by step. A stretch
that lasts fills the body by its share of the past and becomes ordinary as that grows: where at least four of the body
are as large, that is the p-value's floor; where a quarter of all is beyond the threshold, it is set anew.

*Held back.* A detector whose reference is frozen means that what is strange stays strange as long as it lasts. Its
calibration must not learn it either: with ``hold``, of a stretch of scores whose p-values are below that only the first
is learnt. Single strange scores are learnt all the same, so that a heavy tail is found out.

*When to believe it.* Not before ``minimum`` scores (p 1 until then). From then on p-values are right on average over
series of scores that go on as they did. Measured on series of 1,000 and 20,000 scores (150,000 to 800,000 in all):
shares below 1e-2 to 1e-5 are 0 to 1.1 times what they say for normal, squared normal, exponential, autocorrelated (.9)
and seasonal scores, the smaller the younger the series; up to 1.9, 3.5 and 4 times at 1e-3, 1e-4 and 1e-5 for Student's
t with three degrees of freedom; 2 to 3 times for autocorrelation of .97 squared, which a thousand scores show too
little of. Power has its price there: after 1,000 normal scores one of 6 has a p-value of 3e-5, one of 10 of 4e-6. A
score whose law changes with time (a detector that still learns; a sum to which one is added) is graded by what it was.

Score before learn: a score is graded by those before it. A positive factor changes nothing, a shift neither, beyond
rounding: scores are kept in single precision (7 digits), so they shouldn't be tiny differences on a huge level. Beyond
1e38 all are alike. Of equal past scores (all zero, or constant) any larger one is without example: its p-value is
small, as far as ``(n + 1)**-4`` and a little more. NaN is no score: p 1, not learnt. Deterministic; which score of a
block is kept is drawn from its number (SplitMix64).

State per series: 1,020 bytes, whatever ``memory``. Cost: 0.1 microseconds a score over 1,000 series, half of that over
one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.past_scores import BODY, NUMBERS, PEAKS, grade_by_past, grade_by_sample
from oddtide.domain.detection.settings import check_range
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import InColumns, SlotColumns

__all__ = ["MEMORY", "Calibration", "tail_p_values"]

#: For how many scores the past counts at most, unless told otherwise.
MEMORY = 32_768
#: The tail begins with so many scores.
_TAIL_FROM = 32


def tail_p_values(ordered: FloatArray, scores: FloatArray) -> FloatArray:
    """(n,) p-values of ``scores`` against a fixed sample of past scores, ascending (at least 2): conformal within
    them, beyond the largest by the tail through the largest sixteenth (8 to 512)."""
    p_values = np.empty(len(scores))
    grade_by_sample(ordered, scores, np.empty(NUMBERS), p_values)
    return p_values


class Calibration(InColumns):
    """Past scores per slot, which count for at most ``memory``. ``minimum`` scores are needed before a p-value is below
    1. ``hold``: of scores in a row with a p-value below it only the first is learnt. ``name`` tells
    two of one detector apart."""

    def __init__(self, memory: int = MEMORY, minimum: int = 50, hold: float = 0.0, name: str = "calibration") -> None:
        check_range("calibration", memory, 64, 1e9)
        self.memory, self.minimum, self._hold, self._name = memory, minimum, hold, name
        blanks: dict[str, NDArray[Any]] = {
            f"{name}_body": np.zeros(min(BODY, memory), dtype=np.float32),
            f"{name}_peaks": np.zeros(PEAKS, dtype=np.float32),
            f"{name}_numbers": np.zeros(NUMBERS),
        }
        self._columns = SlotColumns(name, blanks)

    def grade(
        self,
        slots: IntArray,
        scores: FloatArray,
        *,
        learn: bool,
        keep: NDArray[np.bool_] | None = None,
        otherwise: FloatArray | None = None,
    ) -> FloatArray:
        """(n,) p-values of (n,) scores in log order, each by those of its slot before it; NaN is no score (p 1).
        Where ``learn`` each is then learnt (with ``keep``: only where that is true; neighbours that echo each other
        make a poor past); otherwise nothing changes. ``otherwise``: the p-values while too few are known (else 1)."""
        p_values = np.ones(len(scores)) if otherwise is None else otherwise.copy()
        learning = np.full(len(scores), learn) if keep is None else keep & learn
        options = self.minimum, min(self.minimum, _TAIL_FROM), float(self.memory), self._hold
        own, name = self._columns, self._name
        state = own[f"{name}_body"], own[f"{name}_peaks"], own[f"{name}_numbers"]
        with np.errstate(over="ignore"):  # random bits, where it runs uncompiled
            grade_by_past(*state, slots, scores, options, learning, p_values)
        return p_values
