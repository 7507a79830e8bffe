"""When a strange reading may raise an alarm: the rules that people add to "its p-value is small enough".

*Direction* and *least effect*: only readings above (or below) what was expected, or at least so far from it, count; a
change of a hundredth of a degree may be certain and still be of no interest. *Least duration*: so many readings of a
series in a row must be strange; the least strange of them is what counts. *Refractory period*: after a reading that
could raise an alarm, for so many readings of its series only a clearly stranger one can, whose p-value is less than a
third; else one incident is a hundred alarms, or ten while it grows.

What is left is a p-value too, the *alarm p-value*: that of the reading, or 1 where it may raise no alarm. The threshold
is held against it, and ``-log10`` of it is the verdict's ``alarm_score``. No rule looks at the threshold, so that a
threshold may be swept over alarm scores afterwards, and gives the alarms that it would have given at the time (the
refractory period is one of record peaks for that reason: a fixed silence after each alarm would depend on which ones
were raised). What may be lost to a reading before it, which was not strange enough itself, is less than half a unit of
surprise from the threshold.

A reading of which nothing was expected has no direction and no effect: these two rules let it pass. Under planned work,
while warming up, and where every feature is missing the p-value is 1, which also ends a run of strange readings.

Per series 24 bytes, and 8 for each reading of the least duration but one. Deterministic, in the order of the log.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.ports import Scores
from oddtide.domain.detection.settings import check_range
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import InColumns, SlotColumns
from oddtide.domain.statistics.kernels import bare_kernel

__all__ = ["AlarmRules", "Alarms"]

_DIRECTIONS = ("both", "above", "below")
# Per series: readings judged, and how many of the refractory period are left.
_COUNT, _LEFT = range(2)
#: A reading that ends a refractory period has a p-value below this share of the last peak's (half a unit of surprise).
_STRANGER = 10.0**-0.5


@dataclass(frozen=True, slots=True)
class AlarmRules:
    """``direction``: both, above or below the expected value; ``min_effect``: least distance from it, in the unit of
    the feature that contributes most; ``min_duration``: strange readings in a row; ``refractory``: readings of the
    series after one that could raise an alarm. The defaults rule nothing out."""

    direction: str = "both"
    min_effect: float = 0.0
    min_duration: int = 1
    refractory: int = 0

    def __post_init__(self) -> None:
        if self.direction not in _DIRECTIONS:
            raise ConfigurationError(
                f"The direction of alarms is {self.direction!r}.", remedy=f"It is one of {', '.join(_DIRECTIONS)}."
            )
        check_range("min_effect", self.min_effect, 0.0, 1e300)
        check_range("min_duration", self.min_duration, 1, 1_000)
        check_range("refractory", self.refractory, 0, 1_000_000_000)

    @property
    def active(self) -> bool:
        """Whether they rule anything out."""
        return self != AlarmRules()

    def eligible(self, values: FloatArray, scores: Scores) -> NDArray[np.bool_]:
        """(n,) mask of the readings whose direction and effect are of interest. ``values`` is (n, d)."""
        wanted = self.in_direction(values, scores)
        if scores.expected is not None and self.min_effect > 0.0:
            distance = _distance(values, scores.expected, scores.contributions)
            wanted &= np.isnan(distance) | (np.abs(distance) >= self.min_effect)
        return wanted

    def in_direction(self, values: FloatArray, scores: Scores) -> NDArray[np.bool_]:
        """(n,) mask of the readings whose direction is of interest."""
        if scores.expected is None or self.direction == "both":
            return np.ones(len(values), dtype=np.bool_)
        distance = _distance(values, scores.expected, scores.contributions)
        wanted: NDArray[np.bool_] = np.isnan(distance) | (distance > 0 if self.direction == "above" else distance < 0)
        return wanted


def _distance(values: FloatArray, expected: FloatArray, contributions: FloatArray) -> FloatArray:
    """(n,) how far above what was expected the feature lies that contributes most; NaN where nothing was."""
    rows, main = np.arange(len(values)), contributions.argmax(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):  # of two huge numbers, or of none
        distance: FloatArray = values[rows, main] - expected[rows, main]
    return distance


@bare_kernel
def _judge(
    recent: FloatArray,
    peaks: FloatArray,
    counts: IntArray,
    slots: IntArray,
    p_values: FloatArray,
    refractory: int,
    out: FloatArray,
) -> None:
    """Rows in order: the alarm p-value of each into ``out``. A recent p-value of 0 stands for no reading yet."""
    before = recent.shape[1]
    for i in range(len(slots)):
        slot, sustained = slots[i], p_values[i]
        for k in range(before):
            earlier = recent[slot, k]
            sustained = max(sustained, earlier if earlier > 0.0 else 1.0)
        if before > 0:
            recent[slot, counts[slot, _COUNT] % before] = p_values[i]
        counts[slot, _COUNT] += 1
        silent = counts[slot, _LEFT] > 0
        counts[slot, _LEFT] -= silent
        if sustained == 1.0 or (silent and sustained >= _STRANGER * peaks[slot]):
            out[i] = 1.0
            continue
        out[i] = sustained
        if refractory > 0:
            peaks[slot] = sustained
            counts[slot, _LEFT] = refractory


class Alarms(InColumns):
    """The alarm p-values of a partition's readings, by their series' own past ones."""

    def __init__(self, rules: AlarmRules) -> None:
        self.rules = rules
        blanks = {
            "alarm_recent": np.zeros(rules.min_duration - 1),
            "alarm_peak": np.zeros(()),
            "alarm_counts": np.zeros(2, dtype=np.int64),
        }
        self._columns = SlotColumns("alarms", blanks)

    def judge(
        self, slots: IntArray, values: FloatArray, scores: Scores, untaught: NDArray[np.bool_] | None = None
    ) -> FloatArray:
        """(n,) alarm p-values of rows in log order. ``untaught`` are those under planned work."""
        barred = ~self.rules.eligible(values, scores)
        if untaught is not None:
            barred |= untaught
        p_values, out = np.where(barred, 1.0, scores.p_value), np.empty(len(slots))
        recent, peaks, counts = (self._columns[name] for name in ("alarm_recent", "alarm_peak", "alarm_counts"))
        _judge(recent, peaks, counts, slots, p_values, self.rules.refractory, out)
        return out
