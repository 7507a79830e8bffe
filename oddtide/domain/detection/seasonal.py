"""What this hour is usually like: the cycle of the day and of the week, found by itself.

A reading of 500 is nothing at noon and everything at four in the morning. ``seasonal`` learns per series what each time
of day, and each hour of the week, is usually like, and judges a reading against that. It follows the clock on the wall:
``time_zone`` names whose (daylight saving included), and ``holidays`` are judged as Sundays, or by a profile of their
own (``holidays_as``). Time is the reading's own, so that sampling may be as irregular as it likes, between a second and
an hour apart; more than an hour counts as an hour, so that sparser series take longer.

*Three models* run side by side, each predicting every reading before it learns it: a level that moves with a day's
memory; the same with a profile of the day (``bins``, read by linear interpolation) on top; and with an hour's departure
from that profile on each day of the week on top of that, shrunk while it has seen few such hours. The season is real
if it explains: the second model speaks when its squared errors, over the last week and on readings it had not learnt,
are at least the share ``explained`` below the level's (half of that to stay), and after ``cycles`` days, one of which
only taught; the third when it is 5 % below the second, after two weeks. Until then, and for a series without a season,
the detector *says nothing*: score 0, p-value 1, no band, and ``seen`` stays below the warm-up, so that an ensemble does
not count it. ``season`` = ``daily`` or ``weekly`` spares it the proof.

*No echo.* What a stay in a bin taught is put in after the series has left it. Otherwise a slow series (a random walk)
would be predicted well by what was heard a moment ago, and would seem to have a season. Measured, over a month: found
in 2 % of strongly autocorrelated series (at some time; 0 % at the end), in up to 17 % of random walks at some time.

*Robust.* An error counts for at most ``clip`` sigmas. A level shift stays strange: the level follows by at most
``clip`` sigmas a day, a limit that doubles with every three hours of readings beyond it, so that a shift of ten sigmas
is normal again after about two days. Sigma has a memory of two weeks and, for each bin, a ratio to it.

*Honest p-values.* As in ``ewma`` the distance is stretched so that one in twenty exceeds 1.96, and the p-value is the
larger of the Gaussian one and of a tail learnt beyond 3, here a Pareto one by Hill's estimate (Hill, Annals of
Statistics 1975), in predictive form for as many distances as it has seen. An excursion that lasts counts less and less,
so that one bad night does not make the next one ordinary. ``lower`` and ``upper`` are where the p-value of that feature
alone reaches ``1 - band``.

Measured, defaults, half-hourly nulls of ``benchmarks.quality`` (300 series, three weeks): on a daily sine of three
sigmas p-values of at most 1e-2, 1e-3 and 1e-4 come up 1.1, 1.1 and 1.1 times as often as they should, and a single
reading six sigmas off gets one of at most 1e-4 in 88 % of series (``ewma``: 11 to 19 %); with a sigma that changes by
e**2 over the day 1.5, 1.8 and 1.9 times; with AR(1) noise of 0.9 on the sine 1.0, 0.8 and 0.2 times. Heavy tails are
underrated: 1.7, 4 and 15 times with Student's t of three degrees of freedom and no season. A 95 % band held 94 to 96 %.
A sine of one sigma (a third of the variance) is found after one to two weeks, of two sigmas in three days, of 0.7
sigmas never.

Several features are judged one by one, as ``ewma`` does: the smallest p-value drives, Bonferroni over those judged,
contributions by surprise. A missing feature (NaN) contributes 0 and is not learnt. A reading that is late, or at the
time of the newest, is scored and not learnt. Magnitudes beyond 1e30 are taken as 1e30.

Not guaranteed: anything about cycles of other lengths, or about shapes sharper than a bin; a profile has a memory of
three weeks (a week's hours: eight weeks), and a longer trend than a day's is lagged behind. The version names the
calendar's contents: another release of the zone database or of the holidays may say otherwise.

State per series with the defaults: 2.4 KiB a feature. Cost: about 0.15 microseconds a reading and feature (6 million a
second on one core with 300 series), and 0.3 for the calendar; a time zone other than UTC or holidays 0.1 more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.charted import Charted, Told
from oddtide.domain.detection.local_time import KINDS, LocalTime, read_dates
from oddtide.domain.detection.ports import DetectorSpec, Rows
from oddtide.domain.detection.seasonal_profile import CELL, FARTHEST, FLOOR, HOURS, MODEL, ROOM, run_profile
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import SlotColumns
from oddtide.domain.statistics.pvalues import gaussian_quantile

__all__ = ["FARTHEST", "FLOOR", "MODEL", "Seasonal", "SeasonalSettings"]

_REVISION = 1
_FORCED = {"found": 0.0, "daily": 1.0, "weekly": 2.0}


@dataclass(frozen=True, slots=True)
class SeasonalSettings:
    """``time_zone``: whose clock the cycle follows (IANA name); ``holidays``: dates as ISO writes them, or a country
    (``DE``, ``US-CA``) of the library ``holidays``; ``holidays_as``: ``sunday``, or ``own`` for a profile of their own;
    ``season``: ``found`` (or not) by itself, ``daily`` or ``weekly`` where it is known that there is one;
    ``explained``: share of the variance that a season must explain to be one; ``cycles``: days before that is
    believed; ``bins`` of a day; ``warm_up``: readings before scores are valid; ``clip``: most sigmas by which one
    reading counts; ``band``: the share of ordinary readings inside ``lower .. upper``."""

    time_zone: str = "UTC"
    holidays: object = ()
    holidays_as: str = "sunday"
    season: str = "found"
    explained: float = 0.2
    cycles: int = 3
    bins: int = 48
    warm_up: int = 30
    clip: float = 3.0
    band: float = 0.999

    def __post_init__(self) -> None:
        check_range("explained", self.explained, 0.01, 0.99)
        check_range("cycles", self.cycles, 2, 1_000)
        check_range("bins", self.bins, 4, 1_440)
        check_range("warm_up", self.warm_up, 2, 1_000_000)
        check_range("clip", self.clip, 0.5, 1e6)
        check_range("band", self.band, 0.5, 1.0 - 1e-12)
        _check_choice("holidays_as", self.holidays_as, ("sunday", "own"))
        _check_choice("season", self.season, _FORCED)
        if not isinstance(self.holidays, list | tuple):
            raise ConfigurationError(
                f"Parameter holidays is {self.holidays!r}.", remedy="Give a list of dates, or a country's code."
            )


def _check_choice(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ConfigurationError(f"Parameter {name} is {value!r}.", remedy=f"It takes {', '.join(known)}.")


class Seasonal(Charted):
    """The detector ``seasonal``. Scores in sigmas; deterministic, no randomness. The calendar is part of the version:
    another zone database may say otherwise."""

    def __init__(self, features: tuple[str, ...], settings: SeasonalSettings | None = None) -> None:
        self._features = features
        self._settings = chosen = settings or SeasonalSettings()
        dates = read_dates(chosen.holidays) if isinstance(chosen.holidays, list | tuple) else ()
        self._clock = LocalTime(chosen.time_zone, dates, own_kind=chosen.holidays_as == "own")
        content = {**asdict(chosen), "calendar": self._clock.contents}
        self._version = version_of("seasonal", _REVISION, content, features)
        level = 1.0 - chosen.band
        self._options = (
            level,
            gaussian_quantile(level),
            float(chosen.cycles),
            chosen.explained,
            _FORCED[chosen.season],
        )
        d, kinds = len(features), KINDS if chosen.holidays_as == "own" else KINDS - 1
        blanks: dict[str, NDArray[Any]] = {
            "cells": np.zeros((d, CELL)),
            "means": np.zeros((d, chosen.bins)),
            "shapes": np.zeros((d, chosen.bins, 2), dtype=np.float32),
            "weeks": np.zeros((d, kinds * HOURS, 2), dtype=np.float32),
            "seen": np.zeros((), dtype=np.int64),
        }
        self._warm_up = chosen.warm_up
        self._columns = SlotColumns("seasonal", blanks)

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> Seasonal:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, SeasonalSettings))

    def _fold(self, rows: Rows, slots: IntArray, values: FloatArray, told: Told, *, learn: bool) -> None:
        times = np.ascontiguousarray(rows.times, dtype=np.int64)
        own = self._columns
        state = own["cells"], own["means"], own["shapes"], own["weeks"], own["seen"]
        learning = learn, self._settings.clip, self._settings.warm_up
        ahead, tally, when = np.empty(ROOM), np.empty(4), self._clock.of(times)
        run_profile(
            state, slots, times, when, values, learning, self._options, ahead, tally, told.out, told.seen,
            told.contributions, told.band,
        )  # fmt: skip
