"""Small counts: how many errors, orders, restarts there are, mostly none, and what would be too many or too few.

A count has no sigma. Three where there is one a minute on average is nothing, three where there has been one in a month
is news, and an hour of zeros is news only where there should have been some. ``counts`` learns per series the law of
such numbers and says how improbable each is, with nothing pretended to be continuous. Binary features (0 and 1) are the
smallest counts of all: then it says how rare the state is, and how rare that it lasts so long.

*A hurdle* (Mullahy, Journal of Econometrics 1986): how often it is zero (a beta-Bernoulli law with ``memory``), and,
where it isn't, how large (a negative binomial law of the size beyond one: a Poisson law whose rate is itself a gamma
variable). So zeros may be as many as they like. Mean and variance of sizes are remembered over ``sizes`` of them, with
the doubt that few leave; an outlier counts for at most 4 sigmas, twice as many for each more in a row.

*Runs.* How probably zeros, or counts above zero, go on for as long as they have now: a geometric law whose parameter is
known as well as the runs that have ended tell it. Zeros that come in clumps are ordinary then; a series that has fallen
to zero for good is strange from some moment on, until the run is ``sizes`` long: then it is learnt, and counted anew.

*P-value*: twice the smallest of how probable it is to be as large, as small, and to go on as long. The first two are
middle p-values (half of the reading's own probability counts; Lancaster, JASA 1961): a discrete law cannot make every
p-value come up at its rate, and these are right on average. Below 0.01 it is no smaller than the series' own rare
readings make it (how often they come, and how far they go, is learnt). The score is the surprise, ``-log p``.
``lower`` and ``upper`` are the least and the largest count whose size alone is no rarer than ``1 - band``; runs have no
band. A band holds its share at least. ``expected`` is the mean.

*It says nothing* (score 0, p-value 1, no band, ``seen`` below the warm-up, so that an ensemble does not count it) of a
series that isn't one of small counts: unless the last ``warm_up`` values were whole and not negative; where they are
above ``largest`` on average when they aren't zero (other detectors do well there); where they are too even to be counts
(constant, or a variance below 0.3 of the mean, with hardly a zero); and where few are zero and each is near the one
before (correlated by more than about 0.7: the length of a queue). One value that is no count, and it begins
anew. What only grows should be declared a counter (``FeatureRule.counter``): its rate is another thing.

Measured, 200 series of 2,000 readings, p-values of at most 1e-2, 1e-3 and 1e-4 come up so many times as often as they
should: Poisson with mean 0.1, 3 and 30 1.0, 0.7 and 0.6; 0.7, 0.5 and 0.2; 0.6, 0.3 and 0.1. Negative binomial with
mean 3 and 10, power 1 and 0.5 1.0, 0.8 and 0.7; 1.1, 1.0 and 1.3. Four fifths zeros, else Poisson 5: 0.9, 0.6 and 0.2.
One in a hundred 1, else 0: 0.3, 0.1 and 0.6; in clumps 1.1, 1.4 and 0.3. Whole parts of a lognormal law, whose tail no
negative binomial has: 1.2, 2.1 and 7.1. A 95 % band held 95 to 98 %, of rare ones 99 to 100 %.

Several features are judged one by one: the smallest p-value drives, Bonferroni over those judged, contributions by
surprise. A missing feature (NaN) contributes 0 and is not learnt. Time does not count, only the order of readings.

Not guaranteed: anything about seasons (they widen the law), or about counts that follow one another smoothly.

State per series: 8 bytes, and 176 a feature. Cost: 0.1 to 0.8 microseconds a reading and feature (rare ones least;
1.3 to 9 million readings a second on one core with 200 series, load 18).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oddtide.domain.detection.charted import Charted, Told
from oddtide.domain.detection.count_laws import CELL, FARTHEST, run_counts
from oddtide.domain.detection.ports import DetectorSpec, Rows
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import SlotColumns

__all__ = ["FARTHEST", "Counts", "CountsSettings"]

_REVISION = 1


@dataclass(frozen=True, slots=True)
class CountsSettings:
    """``warm_up``: whole numbers in a row before scores are valid; ``memory``: readings over which how often it is zero
    is remembered; ``sizes``: the same for how large it is where it isn't, and the longest run; ``largest``: mean of
    sizes above which nothing is said; ``band``: the share of ordinary readings inside ``lower .. upper``, at least."""

    warm_up: int = 50
    memory: int = 5_000
    sizes: int = 200
    largest: float = 50.0
    band: float = 0.999

    def __post_init__(self) -> None:
        check_range("warm_up", self.warm_up, 10, 1_000_000)
        check_range("memory", self.memory, 10, 1_000_000_000)
        check_range("sizes", self.sizes, 10, 1_000_000_000)
        check_range("largest", self.largest, 1.0, 1e6)
        check_range("band", self.band, 0.5, 1.0 - 1e-9)


class Counts(Charted):
    """The detector ``counts``. Scores are surprises, ``-log p``. Deterministic; no randomness."""

    def __init__(self, features: tuple[str, ...], settings: CountsSettings | None = None) -> None:
        self._features = features
        self._settings = chosen = settings or CountsSettings()
        self._version = version_of("counts", _REVISION, chosen, features)
        self._options = (
            float(chosen.warm_up), float(chosen.memory), float(chosen.sizes), chosen.largest, 1.0 - chosen.band
        )  # fmt: skip
        blanks = {"cells": np.zeros((len(features), CELL)), "seen": np.zeros((), dtype=np.int64)}
        self._warm_up = chosen.warm_up
        self._columns = SlotColumns("counts", blanks)

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> Counts:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, CountsSettings))

    def _fold(self, rows: Rows, slots: IntArray, values: FloatArray, told: Told, *, learn: bool) -> None:
        own = self._columns
        state = own["cells"], own["seen"]
        run_counts(
            *state, slots, values, learn, self._options, np.empty(5), told.out, told.seen, told.contributions, told.band
        )
