"""Mahalanobis distance: do the features, taken together, lie where this series' reference says they should?

Two features that always rise together are strange when one rises alone, though each may be well within its own range.
The distance of Mahalanobis (1936), in the chart of Hotelling (1947) ``T2 = (x - m)' S^-1 (x - m)``, sees that. The
``mean`` and covariance of the first ``reference`` readings of a series stay as they were: a *frozen reference*, so a
fault that lasts is as strange on its last day as on its first, and nothing is absorbed in silence. The price is that a
series that has moved for good stays strange until it is told to forget (drift adaptation) or ``adapt`` is above 0: then
mean and covariance follow with that weight, an outlier by no more than ``clip`` sigmas a feature (Huber 1964).

*Smoothed.* What is measured is not a reading but the exponentially weighted mean of readings (the chart of Lowry,
Woodall, Champ and Rigdon, Technometrics 1992), its reference being that of the smoothed values: small faults that last
stand out, a single spike counts by a share ``smooth``.

*Spikes.* So beside it stands a chart of single readings, as Lucas and Saccucci (Technometrics 1990) advise for an
exponentially weighted mean: how far is the feature that is farthest from what the others lead to expect of it, in
sigmas of what that leaves over? It is calibrated by its own past and gets the share ``spikes`` of the p-value (weighted
Bonferroni: Genovese, Roeder, Wasserman, Biometrika 2006): the p-value is the smaller of that of the distance over
``1 - spikes`` and that of the reading over ``spikes``. Score, and contributions unless the single reading is the
stranger of the two, are the distance's. On SKAB .929 became .934 by it, on SMAP/MSL .459 .476.

*Sane.* The correlation matrix is shrunk towards independence by the oracle approximating share (Chen, Wiesel, Eldar and
Hero, IEEE Trans. Signal Processing 2010), at least by ``shrink``: features that copy one another, or outnumber the
readings, do no harm. A feature that was constant has one millionth of its level as its sigma (:data:`FLOOR`). And as
``n`` readings cannot tell that anything is rarer than one in ``n``, a feature's distance is bounded smoothly by
``sqrt(n)`` sigmas: ``z / sqrt(1 + z**2 / n)``. One command flag that was never set cannot drown the rest: on SMAP/MSL
that alone is worth .21 of VUS-PR.

*Score.* How many sigmas of a single Gaussian feature would be as rare as this distance for as many features: comparable
whatever their number; with one feature just ``|z|``.

*Contributions.* ``T2`` is the sum of squares of ``S^-1/2 (x - m)`` with the symmetric root, each entry of which is as
close to its own feature as can be (the corr-max transformation of Garthwaite and Koch, Aust. N. Z. J. Stat. 2016);
contributions are the score in these shares. A feature that breaks with its twin shares the blame with it: from
the two alone nobody can tell which is wrong.

*Expected.* What the other features, smoothed, lead to expect of this one (its conditional mean under the reference; the
reference's mean where there is no other); ``lower`` and ``upper`` hold the share ``band`` of what that leaves over,
learnt per feature. They are of the reading itself, not of its smoothed value, and explain; the score does not follow
from them.

*P-value.* First by Hotelling's F law, for as many independent readings as the autocorrelation of the reference says it
is worth; from 50 kept scores on by the series' own past (``calibration``), of which one in so many is kept that they
are news to each other. A reference that is worth few independent readings allows no tiny p-value until then: on SKAB
none falls below 1e-6, in 3 of 17 files one of a fault below 1e-4; they rank as well as scores. Measured once the past
is known on Gaussian nulls (8 and 38 features, independent and autocorrelated by .9, .99; 40 and 12 series of 12,000
readings, the first 3,000 left out), the share of p-values below 1e-2, 1e-3, 1e-4 and 1e-5 is .5 to 1.0, 0 to .9, 0 to
1.6 and 0 times that; with Student's t of 4 degrees of freedom .7, 1.2, 3.6 and 4.4 times at most. Before it is known,
at most 3 times that to 1e-4, and 8 times at 1e-5, save for one feature autocorrelated by .99 and not smoothed (3, 6, 16
and 42 times). A band of 95 % held 94.9 to 96.0 % of Gaussian nulls, 94.2 to 94.4 % of the heavy-tailed.

*What lasts* does not become part of that past, however long: of scores in a row whose p-values are below ``hold`` only
the first is learnt (VUS-PR by p-values on SMAP/MSL .42 without that, .46 with it; the nulls are as before). The price
is that of the frozen reference: of the 9,005 scored readings of SKAB's clean run, which drifts, 8,786 have a p-value of
at most 1e-2 and 7,271 of 1e-6; with ``hold = 0`` 1,925 and none. It ends when a person accepts the new level, when
drift adaptation makes the detector forget, or with ``adapt``.

*Order.* All this is for series. Rows that have nothing to do with the one before are smoothed into nothing: with
``rows = "ordered"`` the detector leaves series whose readings do not hang together in time (``order``) to those beside
it, and counts as warming up there. Costs 56 bytes a feature and 16 more.

A missing feature has no say: the distance is that of the others alone, exactly, and it contributes 0. While the
reference is learnt it counts as unchanged. A feature that the reference never saw never has a say. Time does not
count, only the order of readings.

State per series, all in arrays: ``8 d**2 + 72 d + 56`` bytes, and 2 KiB of past scores: 2,176 bytes for one feature,
3,184 for 8, 16,384 for 38. Cost on one core of a busy machine, scored and learnt, 1,000 series (38 features: 100): 0.2,
0.6 and 1.7 microseconds a reading with 1, 8 and 38 features; 10 while a reference of 38 is learnt, 2.7 where 5 % of 38
are missing. While the reference is learnt its matrix is factored eight times, with ``adapt`` once in ``4 d`` readings
after that. One takes .7 ms for 38 features, 10 for 100, over a second for 256, and everything else waits: more than 128
are refused.

Quality, with the defaults: mean VUS-PR over the files, SKAB after row 400 .929 (ROC
.923), SMAP/MSL .449 (.762); the raw frozen T2 that it grew from has .806 and .278.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oddtide.domain.detection.calibrated import Calibrated, silenced
from oddtide.domain.detection.calibration import MEMORY, Calibration
from oddtide.domain.detection.mahalanobis_laws import apply_laws
from oddtide.domain.detection.mahalanobis_space import FARTHEST, FLOOR, LAW, ROWS, run_space
from oddtide.domain.detection.order import Order
from oddtide.domain.detection.ports import DetectorSpec, Rows, Scores
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.detection.slots import check_rows, columns
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray
from oddtide.domain.slots import SlotColumns
from oddtide.domain.statistics.pvalues import gaussian_quantile

__all__ = ["FARTHEST", "FLOOR", "MOST_FEATURES", "Mahalanobis", "MahalanobisSettings"]

_REVISION = 2
#: More features are refused: factoring their correlation matrix would hold up everything else.
MOST_FEATURES = 128


@dataclass(frozen=True, slots=True)
class MahalanobisSettings:
    """``reference``: readings that mean and covariance are learnt from; ``warm_up``: readings before scores are valid
    (until the reference is whole, by what there is of it); ``smooth``: weight of a reading in its smoothed value (1:
    none); ``adapt``: weight of a reading in the reference once that is whole (0: frozen); ``clip``: most sigmas a
    feature by which it then counts; ``shrink``: least share of shrinkage; ``band``: share of ordinary readings inside
    ``lower .. upper``; ``calibration``: past scores that count at most; ``hold``: of scores in a row with p-values
    below it the first is learnt by calibration (0: all are, so that what lasts becomes ordinary); ``spikes``: share of
    the p-value that is for single readings (0: none); ``rows``: ``any``, or ``ordered`` to leave series whose readings
    do not hang together in time to others."""

    reference: int = 400
    warm_up: int = 100
    smooth: float = 0.04
    adapt: float = 0.0
    clip: float = 3.0
    shrink: float = 0.1
    band: float = 0.999
    calibration: int = MEMORY
    hold: float = 1e-3
    spikes: float = 0.1
    rows: str = "any"

    def __post_init__(self) -> None:
        check_range("reference", self.reference, 2, 1_000_000)
        check_range("warm_up", self.warm_up, 2, 1_000_000)
        check_range("smooth", self.smooth, 1e-4, 1.0)
        check_range("adapt", self.adapt, 0.0, 0.5)
        check_range("clip", self.clip, 0.5, 1e6)
        check_range("shrink", self.shrink, 1e-6, 1.0)
        check_range("hold", self.hold, 0.0, 1.0)
        check_range("spikes", self.spikes, 0.0, 0.9)
        check_range("band", self.band, 0.5, 1.0 - 1e-12)
        if self.rows not in {"any", "ordered"}:
            raise ConfigurationError(f"Parameter rows is {self.rows!r}.", remedy="It takes any or ordered.")
        if self.warm_up > self.reference:
            raise ConfigurationError(
                f"Parameter warm_up is {self.warm_up}, more than reference, {self.reference}.",
                remedy="Scores are valid at the latest when the reference is whole: lower warm_up or raise reference.",
            )


class Mahalanobis(Calibrated):
    """The detector ``mahalanobis``. Deterministic; no randomness."""

    def __init__(self, features: tuple[str, ...], settings: MahalanobisSettings | None = None) -> None:
        if len(features) > MOST_FEATURES:
            raise ConfigurationError(
                f"Detector mahalanobis was given {len(features)} features, it takes {MOST_FEATURES}.",
                remedy="Take loda for so many, or name fewer features.",
            )
        self._features = features
        self._settings = chosen = settings or MahalanobisSettings()
        self._version = version_of("mahalanobis", _REVISION, chosen, features)
        half = gaussian_quantile(1.0 - chosen.band)
        self._options = (
            chosen.warm_up, chosen.reference, chosen.smooth, chosen.adapt, chosen.clip, chosen.shrink, half
        )  # fmt: skip
        self._calibration = Calibration(chosen.calibration, hold=chosen.hold)
        d = len(features)
        blanks = {
            "cells": np.zeros((ROWS, d)),
            "matrix": np.zeros((d, d)),
            "law": np.zeros(LAW),
            "counts": np.zeros(3, dtype=np.int64),
        }
        self._columns = SlotColumns("mahalanobis", blanks)
        self._spikes = Calibration(chosen.calibration, name="spikes") if chosen.spikes > 0.0 else None
        self._order = Order(d) if chosen.rows == "ordered" else None

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> Mahalanobis:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, MahalanobisSettings))

    @property
    def warm_up(self) -> int:
        """Readings of a series to learn before its scores are valid."""
        return self._settings.warm_up

    def _run(self, rows: Rows, *, learn: bool) -> Scores:
        n, d = len(rows), len(self._features)
        check_rows(rows, len(self._columns), d)
        slots, values = columns(rows)
        own = self._columns
        found, shares, band = np.empty((n, 5)), np.zeros((n, d)), np.empty((3, n, d))
        seen, told = np.empty(n, dtype=np.int64), np.empty((n, 2))
        room = np.empty((6, d)), np.empty((2, d, d))
        state = own["cells"], own["matrix"], own["law"], own["counts"]
        run_space(state, slots, values, self._options, learn, *room, found, seen, shares, band)
        apply_laws(found, told)
        score = np.nan_to_num(told[:, 0])
        news = found[:, 4] > 0.0
        p_value = self._calibration.grade(slots, told[:, 0] ** 2, learn=learn, keep=news, otherwise=told[:, 1])
        if self._spikes is not None:
            away, part = _away(values, band, self._options[6]), self._settings.spikes
            alone = self._spikes.grade(slots, np.fmax.reduce(away, axis=1), learn=learn) / part
            p_value = np.minimum(p_value / (1.0 - part), 1.0)
            shares = np.where((alone < p_value)[:, None], np.nan_to_num(away) ** 2, shares)
            p_value = np.minimum(p_value, alone)
        contributions = _contributions(score, shares, values)
        scores = Scores(score, p_value, contributions, seen, band[0], band[1], band[2])
        if self._order is None:
            return scores
        return silenced(scores, ~self._order.ask(slots, values, learn=learn), self.warm_up)


def _away(values: FloatArray, band: FloatArray, half: float) -> FloatArray:
    """(n, d) how many sigmas of what the others leave over each reading itself is from what they lead to expect; NaN
    where that is not known."""
    with np.errstate(invalid="ignore", over="ignore"):
        sigma = np.maximum(np.maximum((band[2] - band[0]) / half, FLOOR * np.abs(band[0])), 1e-150)
        away: FloatArray = np.minimum(np.abs(values - band[0]) / sigma, FARTHEST)
    return away


def _contributions(score: FloatArray, shares: FloatArray, values: FloatArray) -> FloatArray:
    """(n, d): the score in ``shares``; evenly over the features present where they say nothing."""
    weights = np.where(shares.sum(axis=1, keepdims=True) > 0, shares, ~np.isnan(values))
    total = weights.sum(axis=1, keepdims=True)
    contributions: FloatArray = score[:, None] * (weights / np.maximum(total, 1e-300))
    return contributions
