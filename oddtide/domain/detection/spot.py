"""SPOT: the tails of a series, learnt as it flows, say how improbable a reading is.

Far from the middle almost every distribution looks alike: what lies beyond a high threshold follows a *generalised
Pareto* law, of which two numbers, shape and scale, have to be learnt (Pickands 1975). Fitted to the excesses that a
series has shown, it says how probable readings are that it has *not* shown, down to one in a million. That is SPOT;
with a moving mean taken off first, so that a drifting level does not matter, it is DSPOT (Siffer, Fouque, Termier,
Largouet, "Anomaly detection in streams with extreme value theory", KDD 2017). ``depth`` is how many readings the mean
reaches back (as an exponential one, which needs no memory of them); 0 is SPOT.

The first ``depth + calibration`` readings set two thresholds, with ``share`` of them beyond each. From then on the
p-value of a reading beyond its threshold is the share of readings there times what the tail says of the excess, twice
that since both sides are watched (``tails = "upper"`` or ``"lower"``: once). Between the thresholds p falls evenly in
its logarithm from 1 at the centre: an order, no calibrated figure. The score is the surprise, ``-log p`` (natural).

What is ours. *Thresholds move*: each, and the centre (a median), follows its quantile by Newton steps, and the share
beyond is counted; SPOT's stay where the first readings put them. *The newest* ``peaks`` *excesses* are kept per side.
*The fit* is the profile likelihood on a fixed grid (Zhang and Stephens, Technometrics 2009) with a prior against tails
that end, and a fit is believed only as far as the number of excesses supports (``spot_tail``). The paper's Grimshaw
search costs more; probability-weighted moments cost as much as ours and were less true: see below.

Policies. A reading with a p-value below 1e-4 (:data:`EXTREME`) is *held back*: the first of an excursion is learnt as
if it had lain just at 1e-4, so that one spike does not blind the detector to the next, while spikes that return are
ordinary after a few; those that follow on the same side are not learnt at all. After ``patience`` in a row the level
moves to their mean and the tails come along, so that a level shift is followed after at most about that many readings.
What is less far out is learnt at the ordinary pace. A side with fewer than 5 excesses has no scale yet: there
they count whole. A missing feature (NaN) contributes 0 and is not learnt; magnitudes beyond 1e150 are taken as 1e150.
A constant series has no tails: any change that exceeds one millionth of the level is far out.

*Coherent.* ``expected`` is the centre, ``lower`` and ``upper`` are where the p-value of that feature alone reaches
``1 - band`` (NaN on a side not watched). Several features are judged one by one: the driver is the one with the
smallest p-value, whose score is the row's; the row's p-value is the driver's times the number judged (Bonferroni), its
contributions are the score shared out by surprise.

Measured. How often p-values at most q come up, divided by q (1 is perfect, below it cautious), defaults, 400 series of
5,000 readings, everything after the warm-up:

================  =====  =====  =====  =====
null              1e-2   1e-3   1e-4   1e-5
================  =====  =====  =====  =====
Gaussian          0.86   0.51   0.60   1.8
exponential       0.89   0.62   0.89   3.2
Student t, 3      0.93   0.94   1.53   3.4
lognormal         0.95   0.85   1.42   4.9
uniform           0.69   0.26   0.25   0.6
AR(1), 0.5        0.86   0.54   0.63   1.8
AR(1), 0.9        0.93   0.62   0.69   2.1
AR(1), 0.97       1.03   0.67   0.81   2.3
================  =====  =====  =====  =====

So the tolerance is: within 1.6 times the nominal rate down to 1e-4, within 5 times at 1e-5. At 1e-6, which no 128
excesses can vouch for, it was 10 to 14 times on Gaussian noise. The fit's constants were chosen on the same eight laws
with other random numbers. Probability-weighted moments in the fit's place (the other constants left as they are) were
off by up to 3.2 times at 1e-4 and 15 times at 1e-5. A single reading 6 sigmas out in Gaussian noise falls below 1e-4 in
86 % of series after 1,500 readings, below 1e-6 in 41 %. The 99.9 % band holds 99.91 to 99.97 % of these nulls. On the
30 NAB series at hand a threshold of 1e-6 hits 14 of 57 windows with 17 readings outside them (NAB's standard score
20.6; ``ewma``: 22, 33 and 33.0); keeping only new maxima within 100 readings, at the best threshold, 55.0 (``ewma``:
45.0). ``depth`` and ``patience`` were chosen with these series in view, so that others will show less.

Not guaranteed: anything about seasons, or p-values where the distribution changes faster than ``peaks / share``
readings (about 2,500) forget the old one. A series that is constant between bursts suits ``depth = 0`` better: after a
burst the moving mean comes back slowly, and that way back is no anomaly.

State per series with the defaults: 2.2 KiB a feature. Cost: about 0.4 microseconds a reading and feature, fits included
(2.5 million readings a second on one core with 1,000 series, measured on a busy machine).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oddtide.domain.detection.charted import Charted, Told
from oddtide.domain.detection.ports import DetectorSpec, Rows
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.detection.spot_tail import CELL, EXTREME, TAIL, run_tails
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import SlotColumns

__all__ = ["EXTREME", "Spot", "SpotSettings"]

_REVISION = 1


@dataclass(frozen=True, slots=True)
class SpotSettings:
    """``calibration``: readings that set the first thresholds; ``share``: of readings beyond each threshold;
    ``peaks``: newest excesses kept per side; ``depth``: readings that the moving mean reaches back (0: none);
    ``patience``: extreme readings in a row on one side until the level moves to them; ``tails``: ``both``, ``upper``
    or ``lower``; ``band``: the share of ordinary readings inside ``lower .. upper``."""

    calibration: int = 200
    share: float = 0.05
    peaks: int = 128
    depth: int = 60
    patience: int = 10
    tails: str = "both"
    band: float = 0.999

    def __post_init__(self) -> None:
        check_range("calibration", self.calibration, 20, 1_000_000)
        check_range("share", self.share, 0.001, 0.25)
        check_range("peaks", self.peaks, 10, 1_000_000)
        check_range("depth", self.depth, 0, 1_000_000)
        check_range("patience", self.patience, 2, 1_000_000)
        check_range("band", self.band, 0.5, 1.0 - 1e-12)
        if self.tails not in {"both", "upper", "lower"}:
            raise ConfigurationError(f"Parameter tails is {self.tails!r}.", remedy="It takes both, upper or lower.")


class Spot(Charted):
    """The detector ``spot``. Scores are surprises, ``-log p``. Deterministic; no randomness."""

    def __init__(self, features: tuple[str, ...], settings: SpotSettings | None = None) -> None:
        self._features = features
        self._settings = chosen = settings or SpotSettings()
        self._version = version_of("spot", _REVISION, chosen, features)
        upper, lower = float(chosen.tails != "lower"), float(chosen.tails != "upper")
        sizes = chosen.depth, chosen.calibration, chosen.patience, chosen.peaks
        self._options = (*sizes, chosen.share, upper, lower, upper + lower, 1.0 - chosen.band)
        d, room = len(features), max(2 * chosen.peaks, chosen.calibration + chosen.calibration % 2)
        blanks = {
            "cells": np.zeros((d, CELL)),
            "tails": np.zeros((d, 2, TAIL)),
            "peaks": np.zeros((d, room)),
            "seen": np.zeros((), dtype=np.int64),
        }
        self._warm_up = chosen.depth + chosen.calibration
        self._columns = SlotColumns("spot", blanks)

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> Spot:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, SpotSettings))

    def _fold(self, rows: Rows, slots: IntArray, values: FloatArray, told: Told, *, learn: bool) -> None:
        own = self._columns
        state = own["cells"], own["tails"], own["peaks"], own["seen"]
        room = np.empty((2, self._settings.calibration))
        run_tails(*state, slots, values, learn, self._options, room, told.out, told.seen, told.contributions, told.band)
