"""Several detectors on one stream: one p-value, and whose word counted.

Raw scores of different detectors cannot be added; how improbable each finds a reading can. A member's *surprise* is
``-log10`` of its p-value: 0 where it saw nothing, 3 for one in a thousand. The ensemble averages surprises; the
geometric mean of p-values is one again however they depend on one another, but for a factor (Vovk, Wang, "Combining
p-values via averaging", Biometrika 2020). What is ours:

*Views.* Members that ask the same question count as one. There are two: of *values* (is this number strange?) and of
*shapes* (has the series ever moved like this? ``discord``; who talks to whom, ``midas``, which no value shows either,
is heard with them). They weigh the same, each as far as its members are relevant: a search for patterns says of itself
how much it has to say of a series.

*Agreement.* Within a view the mean is that of square roots, squared: a member that is alone among four counts a
sixteenth of its surprise, two that agree a quarter. What one way of looking finds strange and no other does is mostly
a weakness of that way. No surprise counts for more than 10.

*A record is no anomaly.* Whoever judges a value by ``n`` past ones finds one in ``n`` readings as strange as anything
before: surprise ``log10 n``. Of what such a member says only what goes beyond half of that counts: so the longer a
series is known, the less its mere records are worth, and what is far out stays far out.

*Nearly twice the mean* (1.8 times) of the views is the surprise of the whole. Counted once, alarms hardly ever come; so
counted p-values are near what they promise where nothing is wrong (independent, autocorrelated and seasonal nulls:
``docs/benchmarks.md``).

*Not far beyond the series' own past.* How often members are wrong at once differs from series to series (heavy tails,
above all). A :class:`Calibration` grades the surprise by those the series has had, and what it leaves counts at most
twice. It must be cautious, since it assumes nothing of the tail: after 2,000 calm readings it leaves surprise 6 of
whatever comes, were it fifty standard deviations off, and 4 of eight. Held to that alone no spike would ever be an
alarm; the members know their tails better.

*One alone.* Where only one member is mature there is nothing to combine, and its p-value is the verdict's: grading once
more what has been graded only loses (of ``auto`` on SKAB .09 of VUS-PR).

Only *mature* members count: one that is warming up, or has found out that it has nothing to say of this series (it
looks for seasons where there are none), stays out of the mean and does not cost the others anything. The *driver* is
the mature member that weighs most, by its relevance times its surprise as counted (of equals the smallest p-value, then
the first; the first of all while none is mature): score on its own scale and contributions are the driver's.

*Expected value and band* are those of the mature member whose band is the narrowest, whoever drives: so a band of 95 %
holds about as much of what is to come, where that of the driver, who is chosen by what came, would hold far less. One
feature may have its band from one member, the next from another; where nobody has a band, the driver's expected value
is shown.

Rows are judged one by one, in the order of the log, by what was known before: batches never matter. Rows under planned
work are judged and not learnt. Bytes per series: those of a calibration. A stream with one detector has no such stage.

Chosen by measurement, of a few plain rules (sum, mean, Fisher's method, the largest; with and without each of the
above), on the 30 NAB and 50 UCR series at hand; each step named above is worth 3 to 10 points of NAB's standard score
or .1 of UCR's accuracy there. Not guaranteed: p-values that hold on every kind of series.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.calibration import Calibration
from oddtide.domain.detection.ports import Scores
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import SlotState
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


#: Kinds of detectors that look at shapes, or at labels; all others look at values.
_OF_SHAPES = frozenset({"discord", "midas"})
#: No member's surprise counts for more.
_MOST = 10.0
_HALF = 0.5
#: What the mean of the views counts, and what the series' own past leaves.
_COUNTS, _LEAVES = 1.8, 2.0


@bare_kernel
def _weigh(
    p_values: FloatArray,
    seen: IntArray,
    needed: IntArray,
    relevance: FloatArray,
    shapes: BoolArray,
    driver: IntArray,
    asked: IntArray,
    surprise: FloatArray,
) -> None:
    """(k, n) of what k members say of n rows: who drives each row, how many were asked, and the surprise of all (NaN:
    none is mature)."""
    members, rows = p_values.shape
    for i in range(rows):
        best, count, most = 0, 0, 0.0
        weights = said = 0.0  # of the view of values: the sum of weights, and of weighted roots of surprises
        weights_of_shapes = said_of_shapes = 0.0
        values = shapes_asked = 0
        for k in range(members):
            if seen[k, i] < needed[k] or relevance[k, i] == 0.0:
                continue
            count += 1
            own = min(-math.log10(p_values[k, i]), _MOST)
            weight = relevance[k, i]
            if shapes[k]:
                shapes_asked += 1
                weights_of_shapes += weight
                said_of_shapes += weight * math.sqrt(own)
            else:
                if own > 0.0:
                    own = max(own - _HALF * math.log10(seen[k, i] + 1.0), 0.0)
                values += 1
                weights += weight
                said += weight * math.sqrt(own)
            ahead = weight * own - most
            if count == 1 or ahead > 0.0 or (ahead == 0.0 and p_values[k, i] < p_values[best, i]):
                best, most = k, weight * own
        total = heard = 0.0
        if weights > 0.0:
            heard += weights / values
            total += weights / values * (said / weights) ** 2
        if weights_of_shapes > 0.0:
            heard += weights_of_shapes / shapes_asked
            total += weights_of_shapes / shapes_asked * (said_of_shapes / weights_of_shapes) ** 2
        driver[i], asked[i] = best, count
        surprise[i] = math.nan if count == 0 else _COUNTS * total / max(heard, 1e-9)


class Ensemble:
    """The verdicts of a partition's detectors, each row's as one."""

    def __init__(self, kinds: Sequence[str]) -> None:
        """``kinds``: of its detectors, in their order."""
        self._shapes = np.array([kind in _OF_SHAPES for kind in kinds])
        self._calibration = Calibration()

    def combine(self, slots: IntArray, parts: Sequence[Scores], needed: Sequence[int], taught: BoolArray) -> Combined:
        """The verdicts of several detectors over the same rows (of ``slots``, in log order), as one. ``needed`` holds
        each detector's warm-up; where ``taught`` (n,) is true the row is learnt."""
        warm_ups = np.asarray(needed, dtype=np.int64)
        n = len(slots)
        p_values, seen = np.stack([part.p_value for part in parts]), np.stack([part.seen for part in parts])
        relevance = np.ones((len(parts), n))
        for own, part in zip(relevance, parts, strict=True):
            if part.relevance is not None:
                own[:] = part.relevance
        driver, asked, surprise = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.empty(n)
        _weigh(p_values, seen, warm_ups, relevance, self._shapes, driver, asked, surprise)
        rows, several = np.arange(n), asked > 1
        said = np.where(several, np.maximum(10.0**-surprise, 1e-300), 1.0)
        graded = self._calibration.grade(slots, surprise, learn=True, keep=taught & several, otherwise=said)
        of_one = np.where(asked == 1, p_values[driver, rows], 1.0)
        expected, lower, upper = _narrowest(parts, seen >= warm_ups[:, None], driver)
        scores = Scores(
            score=np.stack([part.score for part in parts])[driver, rows],
            p_value=np.where(several, np.maximum(graded**_LEAVES, said), of_one),
            contributions=np.stack([part.contributions for part in parts])[driver, rows],
            seen=seen[driver, rows],
            expected=expected,
            lower=lower,
            upper=upper,
        )
        return Combined(scores, driver, warm_ups[driver])

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


def _narrowest(
    parts: Sequence[Scores], mature: BoolArray, driver: IntArray
) -> tuple[FloatArray | None, FloatArray | None, FloatArray | None]:
    """(n, d) expected values and bands: of each value by the mature member that has the narrowest band; where none has
    one, expected is the driver's."""
    expected, lower, upper = (
        _stacked([getattr(part, name) for part in parts]) for name in ("expected", "lower", "upper")
    )
    if expected is None:
        return None, None, None
    if lower is None or upper is None:
        chosen = np.broadcast_to(driver[:, None], expected.shape[1:])
    else:
        with np.errstate(over="ignore"):  # of two huge bounds
            width = np.where(mature[:, :, None] & ~np.isnan(expected), upper - lower, np.nan)
        width = np.where(np.isnan(width), np.inf, width)
        chosen = np.where(np.isinf(width).all(axis=0), driver[:, None], width.argmin(axis=0))
    there = chosen[None]
    return _at(expected, there), _at(lower, there), _at(upper, there)


def _at(block: FloatArray | None, there: IntArray) -> FloatArray | None:
    if block is None:
        return None
    taken: FloatArray = np.take_along_axis(block, there, axis=0)[0]
    return taken


def _stacked(columns: Sequence[FloatArray | None]) -> FloatArray | None:
    """(k, n, d), NaN for a member that has none; None where none has any."""
    present = next((column for column in columns if column is not None), None)
    if present is None:
        return None
    none_yet = np.full_like(present, np.nan)
    stacked: FloatArray = np.stack([none_yet if column is None else column for column in columns])
    return stacked
