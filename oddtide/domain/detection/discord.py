"""Discord: has this series ever moved like this before?

The newest ``shingle`` values of a series are a *pattern*; its distance to the nearest earlier pattern says how new it
is. A pattern that has none like it is a *discord*; the distances in order of time are the left matrix profile (Yeh et
al., "Matrix Profile I", ICDM 2016; as a stream with a bounded past Lu, Wu, Mueen, Zuluaga, Keogh, "Matrix Profile
XXIV: scaling time series anomaly detection to trillions of datapoints" (DAMP), KDD 2022; by the k-th nearest Burnaev,
Ishimtsev, "Conformalized density- and distance-based anomaly detection in time-series data", 2016). This finds what
no limit on values finds: a heart beat that is well within its range and has the wrong shape.

What is ours, each chosen by measurement on the 50 UCR series at hand (does the largest score of the test part lie
within 100 readings of the anomaly; half of the archive, so other series will do a little worse):

*Patterns are centred, not z-normalised*: each loses its mean, and the distance is measured in the series' own unit
(mean absolute deviation from a slow level, Huberised). With 16 values and a history of 512, one scale: centred .66,
as they are .38, z-normalised .18 (it makes patterns of mere noise wherever nothing happens). So a new level is seen
when it is stepped to, not after.

*Several steps in time at once.* Each scale keeps as many values: every one, means of 2, means of 4. That looks back
``history << (scales - 1)`` readings for little memory, and the score is the mean distance over scales: .76, where
each alone has .66, and a plain history of 1,024 readings .68.

*Row-wise arithmetic.* No dot products carried along (they cost 16 bytes a value and gather rounding), no early
abandoning (a branch a candidate): the whole history is compared in plain loops over what lies side by side, several
candidates an instruction, twice as fast as abandoning early. Values are kept in single precision as distances from an
anchor near the newest ones, which moves along.

``score``: the mean over scales of the root mean square distance in units, summed over features, each of which has its
own history; ``contributions`` are its parts. ``neighbours`` above 1 takes the k-th nearest, so that an anomaly that
came ``k - 1`` times is still one. Patterns that overlap the newest one are no neighbours; neighbours may overlap each
other.

The p-value is by the series' own past scores (``calibration``), in whose order it finds 76 % of UCR's anomalies, as
many as the score does. Over the first 1,000 readings of a series (``benchmarks.quality``) p-values below 1e-2 to 1e-5
come at most .6 times as often as they say on independent, autocorrelated (.9) and seasonal noise: distances fall while
the history fills. On heavy tails (Student's t with three degrees of freedom) they come 2, 11, 40 and 75 times as often:
one wild value makes strange patterns for as long as it is in one, so that a thousand readings hold few examples.

``expected``: how the earlier pattern whose first ``shingle - 1`` values are nearest went on, moved to the newest
pattern's level. It is a forecast by analogy (Lorenz 1969), made without the value. No band: how far it misses is not
learnt. ``recall`` shows the earlier pattern that the newest one is compared with.

``relevance``: how much patterns have to say of this series. Where the nearest earlier pattern is usually within .15
units the series repeats itself, and a new pattern is news: 1. Towards .35 units (white noise has .7) it falls to .1: in
noise every pattern is new. An ensemble weighs the detector by it; its own score and p-value stay as they are.

*What is missing* (NaN) is left out: contribution 0, and the pattern closes over it. Times are not looked at. A long
gap or irregular readings may therefore show as one strange pattern. A constant series has distance 0; its unit is a
millionth of the level. Magnitudes beyond 1e30 are taken as 1e30, differences below 1e-30 as nothing. Change of units
changes nothing but the last of about 6 digits.

Limits: a pattern is strange until it is over, so alarms come in runs of up to ``shingle << (scales - 1)`` readings;
what is older than the history is forgotten. Not for features that only together are strange. What was kept before a
move of a million units or more cannot be told apart from the newest pattern finely enough, until it has left the
history.

State per series: 6.1 KiB a feature and 1 KiB of past scores with the defaults. Cost on one core: about 3.5
microseconds a reading and feature with a full history (290,000 readings/s), 1 while young (the first 300 readings of
1,000 series); 1 with ``shingle = 8, scales = 1, history = 256``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.calibrated import Calibrated
from oddtide.domain.detection.calibration import MEMORY, Calibration
from oddtide.domain.detection.discord_recall import nearest_pattern
from oddtide.domain.detection.discord_search import CELL, FARTHEST, FLOOR, HUGE, STEP, anchor_unit_count, run_search
from oddtide.domain.detection.ports import DetectorSpec, Pattern, Rows, Scores
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.detection.slots import check_rows, columns
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray
from oddtide.domain.slots import SlotColumns

__all__ = ["FARTHEST", "FLOOR", "Discord", "DiscordSettings"]

_REVISION = 3
# Usual distance of patterns, in units: at most this and the series repeats itself; at least that and it is noise.
_REPEATS, _NOISE = 0.15, 0.35
_LEAST = 0.1


@dataclass(frozen=True, slots=True)
class DiscordSettings:
    """``shingle``: values in a pattern; ``scales``: of every value, of means of 2, of 4, ...; ``history``: values kept
    at each scale (when full, the oldest quarter goes); ``neighbours``: which nearest pattern counts (1: the nearest);
    ``calibration``: past scores that count at most."""

    shingle: int = 16
    scales: int = 3
    history: int = 512
    neighbours: int = 1
    calibration: int = MEMORY

    def __post_init__(self) -> None:
        check_range("shingle", self.shingle, 3, 10_000)
        check_range("scales", self.scales, 1, 12)
        check_range("history", self.history, 16, 1_000_000)
        check_range("neighbours", self.neighbours, 1, 100)
        if self.history < 4 * self.shingle:
            raise ConfigurationError(
                f"A history of {self.history} is too short for a shingle of {self.shingle}.",
                remedy=f"Set history to {4 * self.shingle} or more.",
            )


class Discord(Calibrated):
    """The detector ``discord``. Scores in units of the series' own scale. Deterministic; no randomness."""

    def __init__(self, features: tuple[str, ...], settings: DiscordSettings | None = None) -> None:
        self._settings = chosen = settings or DiscordSettings()
        self._features = features
        self._version = version_of("discord", _REVISION, chosen, features)
        self._calibration = Calibration(chosen.calibration)
        d, scales = len(features), chosen.scales
        blanks: dict[str, NDArray[Any]] = {
            "past": np.zeros((d, scales, chosen.history), dtype=np.float32),
            "steps": np.zeros((d, scales, STEP)),
            "cells": np.zeros((d, CELL)),
            "seen": np.zeros((), dtype=np.int64),
        }
        self._columns = SlotColumns("discord", blanks)

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> Discord:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, DiscordSettings))

    @property
    def warm_up(self) -> int:
        """Two patterns at the coarsest scale, and the scores that calibration needs."""
        return (2 * self._settings.shingle << (self._settings.scales - 1)) + self._calibration.minimum

    def recall(self, rows: Rows) -> list[Pattern | None]:
        """The earlier pattern that is nearest to each row's newest one, at the scale and of the feature where that is
        furthest off; its distance is in units of the series' scale."""
        check_rows(rows, len(self._columns), len(self._features))
        return [self._recalled(slot, values) for slot, values in zip(rows.slots.tolist(), rows.values, strict=True)]

    def _recalled(self, slot: int, values: FloatArray) -> Pattern | None:
        found: Pattern | None = None
        for j, feature in enumerate(self._features):
            cell, steps = self._columns["cells"][slot, j], self._columns["steps"][slot, j]
            anchor, unit, count = anchor_unit_count(cell)
            if np.isnan(values[j]):
                continue
            pattern = nearest_pattern(
                feature, self._columns["past"][slot, j], steps[:, 0], steps[:, 1], count,
                min(max(float(values[j]), -HUGE), HUGE) - anchor,
                self._settings.shingle,
            )  # fmt: skip
            if pattern is not None and (found is None or pattern.distance / unit > found.distance):
                now, nearest = (tuple(each + anchor for each in side) for side in (pattern.now, pattern.nearest))
                found = replace(pattern, now=now, nearest=nearest, distance=pattern.distance / unit)
        return found

    def _run(self, rows: Rows, *, learn: bool) -> Scores:
        n, d = len(rows), len(self._features)
        check_rows(rows, len(self._columns), d)
        slots, values = columns(rows)
        (distance, expected, usual), seen = np.empty((3, n, d)), np.empty(n, dtype=np.int64)
        own = self._columns
        state = own["past"], own["steps"], own["cells"], own["seen"]
        chosen = self._settings
        room = (
            np.empty((2, chosen.history)),
            np.empty(chosen.neighbours),
            np.empty(chosen.scales),
            np.empty(chosen.scales),
        )
        run_search(*state, slots, values, chosen.shingle, learn, room, distance, expected, usual, seen)
        known = ~np.isnan(distance)
        raw = np.where(known, distance, 0.0)
        total = np.where(known.any(axis=1), raw.sum(axis=1), np.nan)
        p_value = self._calibration.grade(slots, total, learn=learn)
        valid = (seen >= self.warm_up) & ~np.isnan(total)
        return Scores(
            score=np.where(valid, total, 0.0),
            p_value=np.where(valid, p_value, 1.0),
            contributions=np.where(valid[:, None], raw, 0.0),
            seen=seen,
            expected=np.where(valid[:, None], expected, np.nan),
            relevance=np.clip((_NOISE - usual.mean(axis=1)) / (_NOISE - _REPEATS), _LEAST, 1.0),
        )
