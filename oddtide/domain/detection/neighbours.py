"""Neighbours: how far is this reading from the past readings that are most like it?

The oldest idea of what an outlier is (Knorr, Ng, VLDB 1998; Ramaswamy, Rastogi, Shim, SIGMOD 2000: distance to the
nearest neighbours), on a *sample* of the past instead of all of it. That loses nothing: with a small random sample,
what is strange is far from all of it, and crowds of strange readings leave few traces in it (Sugiyama, Borgwardt,
"Rapid distance-based outlier detection via sampling", NIPS 2013; Pang, Ting, Albrecht, "LeSiNN", ICDM workshops 2015).
It needs no shape of the data (several groups, a feature that only takes a few values, flags of 0 and 1 beside numbers),
nothing to be trained and hardly any warm-up, which makes it the detector for *rows*: readings of many features that do
not hang together in time.

*Distance.* A feature's difference counts in standard deviations, bounded smoothly by ``most``: a
value beyond everything makes a reading strange once, not beyond comparison, and a feature with wild tails does not
drown the others. Features add up (their mean is taken, over those present). The score is the mean distance to the
nearest quarter (``share``) of the sample: with fewer neighbours, a few strange readings in the sample hide all like
them; with all, only the distance from the middle is left.

*Sample.* ``samples`` readings, drawn by lot so that any of the last ``horizon`` is about as likely to be among them
(reservoir sampling, Vitter 1985; the past fades exponentially after ``horizon``). What becomes common becomes ordinary,
in proportion to how long the past is.

*Contributions* are the parts of the mean; they add up to the score exactly. *Expected* is the mean of the nearest
readings: the nearest normal pattern. There is no band.

*Time.* Readings that hang together in time are looked at one by one all the same, so what is strange about their order
or lasts without being extreme isn't seen. With ``rows = "unordered"`` such a series is left to the detectors beside it:
its readings count as less than a warm-up. Whether they do hang together is asked of the series itself (``order``, from
its 96th reading on); ``mahalanobis`` asks the same with ``rows = "ordered"``: of the two together one speaks.

*Missing* features have no say; in the sample they stand at their mean. Units and zero points change nothing beyond
rounding: a feature is kept in single precision as the difference from its first value. A feature that was constant has
one millionth of its level as its sigma. Beyond 1e150, or 3e38 from the first value, all are alike.

The p-value is calibrated by the series' own past scores (``calibration``) as soon as there are four; the eighth reading
is the first to have one. On nulls of 2 and 8 features (Gaussian, Student's t of 3 degrees of freedom, autocorrelated by
.9; 100 series of 2,500 readings each) the share of p-values below 1e-2, 1e-3 and 1e-4 was 0 to .8, 0 to .7 and 0 to .5
times that, young or old: it is on the cautious side.

Quality, with the defaults, by ``python -m benchmarks.quality --only adbench``: mean ROC/AP over 19 tables in one pass,
every row counted, .737/.417; the best of PyOD's in batch has .746/.435. What was tried and changed nothing by more than
the choice of the seed does (.002 to .003): 64 to 192 samples, Euclidean or bounded distance, other scales and bounds,
readings that are strange left out of the sample, histograms and tails of each feature added up beside it.

State per series: 416 bytes a feature (384 of them sample), 16, and the calibration's; with ``rows = "unordered"``
56 bytes a feature and 16 more (4,828 and 12,852 bytes for 8 and 25 features). Cost on one busy core, scored and learnt,
1,000 series: .9, 3.6 and 8 microseconds a reading with 1, 8 and 25 features. Deterministic given ``seed``, which every
series shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.calibrated import Calibrated, silenced
from oddtide.domain.detection.calibration import MEMORY, Calibration
from oddtide.domain.detection.neighbours_sample import CELL, run_sample
from oddtide.domain.detection.order import Order
from oddtide.domain.detection.ports import DetectorSpec, Rows, Scores
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.detection.slots import check_rows, columns
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray
from oddtide.domain.slots import SlotColumns

__all__ = ["Neighbours", "NeighboursSettings"]

_REVISION = 1
#: Readings before one is measured, and scores before one has a p-value.
_BEGIN, _PAST_NEEDED = 3, 4


@dataclass(frozen=True, slots=True)
class NeighboursSettings:
    """``samples``: past readings kept; ``share`` of them that a reading is held against, the nearest; ``most``: sigmas
    by which a feature counts at most; ``horizon``: readings that the past reaches back; ``rows``: ``any``, or
    ``unordered`` to leave series whose readings hang together in time to others; ``calibration``: past scores that
    count at most; ``seed``: draws the sample."""

    samples: int = 96
    share: float = 0.25
    most: float = 4.0
    horizon: int = 16_384
    rows: str = "any"
    calibration: int = MEMORY
    seed: int = 1

    def __post_init__(self) -> None:
        check_range("samples", self.samples, 4, 16_384)
        check_range("share", self.share, 1e-6, 1.0)
        check_range("most", self.most, 0.1, 1e6)
        check_range("horizon", self.horizon, self.samples, 100_000_000)
        check_range("seed", self.seed, 0, 2**63 - 1)
        if self.rows not in {"any", "unordered"}:
            raise ConfigurationError(f"Parameter rows is {self.rows!r}.", remedy="It takes any or unordered.")


class Neighbours(Calibrated):
    """The detector ``neighbours``. Deterministic given ``seed``, which every series shares."""

    def __init__(self, features: tuple[str, ...], settings: NeighboursSettings | None = None) -> None:
        self._settings = chosen = settings or NeighboursSettings()
        self._features = features
        self._version = version_of("neighbours", _REVISION, chosen, features)
        among = max(int(chosen.share * chosen.samples), 1)
        self._options = _BEGIN, among, chosen.most, chosen.horizon, np.uint64(chosen.seed)
        self._calibration = Calibration(chosen.calibration, minimum=_PAST_NEEDED)
        d = len(features)
        blanks: dict[str, NDArray[Any]] = {
            "sample": np.zeros((d, chosen.samples), dtype=np.float32),
            "cells": np.zeros((CELL, d)),
            "counts": np.zeros(2, dtype=np.int64),
        }
        self._columns = SlotColumns("neighbours", blanks)
        self._order = Order(d, chosen.horizon) if chosen.rows == "unordered" else None

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> Neighbours:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, NeighboursSettings))

    @property
    def warm_up(self) -> int:
        """Readings to measure the first by, and the scores that calibration needs."""
        return _BEGIN + _PAST_NEEDED

    def _run(self, rows: Rows, *, learn: bool) -> Scores:
        n, d = len(rows), len(self._features)
        check_rows(rows, len(self._columns), d)
        slots, values = columns(rows)
        own, samples, among = self._columns, self._settings.samples, self._options[1]
        state = own["sample"], own["cells"], own["counts"]
        room = np.empty(d), np.empty(samples), np.empty(among, dtype=np.int64)
        raw, seen, shares, expected = np.empty(n), np.empty(n, dtype=np.int64), np.zeros((n, d)), np.empty((n, d))
        silent = np.zeros(n, dtype=np.bool_)
        if self._order is not None:
            silent = self._order.ask(slots, values, learn=learn)
        with np.errstate(over="ignore"):  # random bits, where it runs uncompiled
            run_sample(state, slots, values, self._options, learn, *room, raw, silent, seen, shares, expected)
        p_value = self._calibration.grade(slots, raw, learn=learn)
        told = (seen >= self.warm_up) & ~np.isnan(raw)
        scores = Scores(np.where(told, raw, 0.0), np.where(told, p_value, 1.0), _said(told, shares), seen, expected)
        return silenced(scores, silent, self.warm_up) if silent.any() else scores


def _said(told: NDArray[np.bool_], shares: FloatArray) -> FloatArray:
    """(n, d) contributions: none where nothing is said."""
    contributions: FloatArray = np.where(told[:, None], shares, 0.0)
    return contributions
