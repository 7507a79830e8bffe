"""Random cut forest: how much would the picture of the readings so far have to change to hold this one too?

Guha, Mishra, Roy, Schrijvers, "Robust random cut forest based anomaly detection on streams", ICML 2016. A tree cuts
the box around a sample of points at random, a wide side more often than a narrow one, then each half, until every point
is alone. A new point that lies apart is cut off near the root, and all that the tree said of those beside it moves one
step down: they are *displaced*. Collusive displacement counts, on the way from the point up to the root, the most that
would be displaced for each one that leaves with it, so that a few strange readings alike do not hide one another. Trees
take points in and let points go with the same odds as if they had been drawn anew over what is left (a test says so).

What is ours. *Nothing is put in to be scored*: the score is the expectation over all cuts that putting it in might
draw, on one walk down each tree. That changes nothing, and a few trees do the work of many. *In bits*: the average over
trees is of ``log2(1 + displacement)``, as a share of the largest there can be, hence in [0, 1]. Against plain
displacement, the mean AUC on a part of the labelled tables and series at hand went from .692 to .695 (ADBench), .544
to .585 (SKAB) and .544 to .542 (NAB), with a horizon of 1,024. *One sample for all trees*, each with cuts of its own:
points lie in memory once. *A long memory in a small sample*: of ``horizon`` readings ``samples`` go in, by lot, each in
place of the oldest. Slow anomalies need it (horizon 1,024 to 4,096: SKAB .58 to .76, NAB .54 to .58), and it makes the
forest fast. ``horizon = samples`` is the paper's sliding window.

Against the package rrcf (30 trees, 128 points, sliding window, the same 16,242 readings of nine ADBench tables, three
NAB series and a SKAB file, on one busy core): mean AUC .612 to its .599, 34,600 readings a second to its 242, 143
times as many; with the defaults .636 and 178,000.

*Features together.* Each is measured by its spread (standard deviation) over the sample, once when that is full and at
every full turn of it. So units change nothing beyond rounding (where the spread is not below a millionth of the level).
A feature's contribution is what the cuts on it would displace; what an equal of a known point is worth is shared
likewise.

*Shapes.* With ``shingle`` above 1 a point is that many readings in a row, so that a shape never seen stands out whose
values are ordinary. Dimensions are then features times ``shingle``.

*Missing.* A feature that is missing is never cut off: it contributes 0, with its shingle; at a cut on it the reading
goes with the crowd. In the sample it stands still at its last value. One that was never there has no say before its
spread is known, at the next turn. A reading with no feature at all is neither scored nor learnt.

The p-value is calibrated by the series' own past scores (``calibration``), on the scale ``-log(1 - score)``. On young
series (``benchmarks.quality``) p-values below 1e-2, 1e-3, 1e-4 and 1e-5 turned up .7 to .9, .6 to 1.4, .3 to 1.1 and 0
to .1 times as often as they say on independent, seasonal and heavy-tailed readings, 1.2, 2.3, 2.8 and 1.5 times on
autocorrelated ones (.9). A score near 1 says "apart from everything", not how far: of readings six standard deviations
out one in five has a p-value below 1e-4, so a threshold of 1e-6, right for ``ewma``, is strict here.

Not guaranteed: anything about the time between readings. A sample is young for long: the first ``samples`` readings are
its first content and leave one by one, so a day's course is known only after some days. A new level is called strange
until some of the sample has seen it.

Random numbers are SplitMix64 of (``seed``, readings learnt, tree, step), so batches never matter and a saved state goes
on to the bit. State per series with the defaults and one feature: 25.5 KiB (24 for the trees, 1 for past scores); four
bytes a feature, tree and point more. Measured on one busy core: 204,000 readings a second over 1,000 series, 289,000
over one; with eight features 48,500.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.calibrated import Calibrated
from oddtide.domain.detection.calibration import MEMORY, Calibration
from oddtide.domain.detection.ports import DetectorSpec, Rows, Scores
from oddtide.domain.detection.random_cut_trees import BOX, COUNTS, run_trees
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.detection.slots import check_rows, columns, shared_out
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.slots import SlotColumns

__all__ = ["RandomCutForest", "RandomCutForestSettings"]

_REVISION = 2
#: More dimensions than this are refused: positions of features are small integers.
_WIDEST = 10_000
#: Scores nearer to 1 than this count as this far from it.
_FARTHEST = 1e-9


@dataclass(frozen=True, slots=True)
class RandomCutForestSettings:
    """``trees``; ``samples``: points that each holds; ``horizon``: readings that the sample stretches over (as many as
    ``samples``: the newest ones); ``shingle``: readings in a row that make a point; ``calibration``: past scores that
    count at most; ``seed``: draws the cuts."""

    trees: int = 16
    samples: int = 64
    horizon: int = 4_096
    shingle: int = 1
    calibration: int = MEMORY
    seed: int = 1

    def __post_init__(self) -> None:
        check_range("trees", self.trees, 1, 1_000)
        check_range("samples", self.samples, 8, 16_384)
        check_range("horizon", self.horizon, self.samples, 100_000_000)
        check_range("shingle", self.shingle, 1, 1_000)
        check_range("seed", self.seed, 0, 2**63 - 1)


class RandomCutForest(Calibrated):
    """The detector ``random_cut_forest``. Deterministic given ``seed``, which every series shares."""

    def __init__(self, features: tuple[str, ...], settings: RandomCutForestSettings | None = None) -> None:
        self._settings = chosen = settings or RandomCutForestSettings()
        self._features = features
        self._version = version_of("random_cut_forest", _REVISION, chosen, features)
        self._plan = (np.uint64(chosen.seed), chosen.samples / chosen.horizon)
        self._calibration = Calibration(chosen.calibration)
        trees, samples, wide = chosen.trees, chosen.samples, len(features) * chosen.shingle
        if wide > _WIDEST:
            raise ConfigurationError(
                f"{len(features)} features with shingle {chosen.shingle} are {wide} dimensions.",
                remedy=f"random_cut_forest takes up to {_WIDEST}.",
            )
        small = np.dtype(np.int16)
        blanks: dict[str, NDArray[Any]] = {
            "points": np.zeros((samples, wide)),
            "scales": np.zeros(wide),
            "copies": np.zeros(samples, dtype=small),
            "nodes": np.zeros((trees, samples - 1, BOX + 2 * wide), dtype=small),
            "cuts": np.zeros((trees, samples - 1)),
            "ends": np.zeros((trees, 2), dtype=small),
            "above": np.zeros((trees, samples), dtype=small),
            "ring": np.zeros(samples, dtype=small),
            "recent": np.zeros(wide),
            "counts": np.zeros(COUNTS + len(features), dtype=np.int64),
        }
        self._columns = SlotColumns("random_cut_forest", blanks)

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> RandomCutForest:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, RandomCutForestSettings))

    @property
    def warm_up(self) -> int:
        """A full sample, and the scores that calibration needs."""
        return self._settings.samples + self._settings.shingle - 1 + self._calibration.minimum

    def _run(self, rows: Rows, *, learn: bool) -> Scores:
        n, d = len(rows), len(self._features)
        check_rows(rows, len(self._columns), d)
        slots, values = columns(rows)
        raw, against, seen = np.empty(n), np.zeros((n, d)), np.empty(n, dtype=np.int64)
        own = self._columns
        forests = (own["points"], own["scales"], own["copies"], own["nodes"], own["cuts"], own["ends"], own["above"])
        work = np.empty((2, d * self._settings.shingle))
        run_trees(
            self._plan,
            forests,
            own["ring"],
            own["recent"],
            own["counts"],
            slots,
            values,
            learn,
            work,
            raw,
            against,
            seen,
        )
        share = np.minimum(raw / math.log2(1.0 + self._settings.samples), 1.0)
        p_value = self._calibration.grade(slots, -np.log(np.maximum(1.0 - share, _FARTHEST)), learn=learn)
        valid = (seen >= self.warm_up) & ~np.isnan(raw)
        score = np.where(valid, share, 0.0)
        return Scores(score, np.where(valid, p_value, 1.0), shared_out(score, against, values), seen)
