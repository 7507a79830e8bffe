"""LODA: has anything like this reading been seen, when looked at along many random cuts?

Pevny, "Loda: Lightweight on-line detector of anomalies", Machine Learning 102, 2016. A cut adds up a few of the
features, about the root of their number, with random weights; a histogram counts where readings fall along it. One
histogram sees little, the mean of many a great deal, and each costs a few additions: for many features, and for shapes
that are no ellipsoid. The score is the mean surprise, minus the logarithm of the density, over the cuts.

What is ours: the cuts, drawn from ``seed``, are the same for all series; counts are per series. A series begins with
three windows: the first gives the features' means and sigmas, the second those of the cuts, the third the first counts;
no reading is kept. Bins are equally wide on the scale ``v / (1 + |v|)``, ``v`` in ``spread`` sigmas of the cut: narrow
in the middle, wider and wider outside, so nothing falls beyond them. An even spread over that scale counts as ``prior``
readings, hence what is farther out is stranger even where nothing was ever seen. Whenever a histogram holds twice its
``memory`` all its counts are halved: what is seen often becomes ordinary in time. What changes for good is learnt as
normal, as in any detector with a memory; ``mahalanobis`` is the one that does not.

Contributions are the paper's: how much more surprised the cuts with a feature are than those without it, as a
t-statistic; the score is shared out by its positive part, evenly where no feature has any.

A missing feature leaves out the cuts that look at it; a reading that leaves no cut whole is not scored. A feature that
the first window never saw counts as missing for good; with two features, where every cut looks at both, nothing is
scored then. Rescaling a feature changes nothing; moving it neither, unless
its first window was constant (its sigma is then one millionth of its level). Time does not count.

The p-value is calibrated by the series' own past scores (``calibration``). On nulls (8 and 38 features,
independent, autocorrelated by .9 and .99, and Student's t with four degrees of freedom; 40 and 12 series of 12,000
readings, the first 3,000 left out) the share of p-values below 1e-2, 1e-3, 1e-4 and 1e-5 was .5 to .9, .2 to .9, 0 to
1.3 and 0 to 1.9 times that. One feature needs only one cut, whose steps make tails rough: young series
(``benchmarks.quality``) have .5 to .8, 1 to 2.1, .4 to 6 and 0 to 8 times as many. Take ``ewma`` there.

State per series with the defaults: 1 KiB of past scores, 112 bytes a cut, 24 a feature and 16 more (1,164,
6,820 and 7,540 bytes for 1, 8 and 38 features). Cost on one core of a busy machine, scored and learnt: 0.2, 2.1 and
2.9 microseconds a reading.

Quality, with the defaults. 13 public ADBench tables (those of at least 400 rows, shuffled, up to 10,000 rows, one pass,
after row 310): mean ROC/AP .731/.444, where ``half_space_trees`` has .688/.335 on the same rows. By
``benchmarks.quality``, over all 19 tables from the first row on: .650/.337 against .615/.258. VUS-PR on SKAB after
row 400 .764; on SMAP/MSL .236, where a mean with a frozen reference does far better. Beside river's LODA:
``python -m benchmarks.detectors``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.calibrated import Calibrated
from oddtide.domain.detection.calibration import MEMORY, Calibration
from oddtide.domain.detection.loda_cuts import FEATURE, SPOT, draw_cuts, run_cuts
from oddtide.domain.detection.ports import DetectorSpec, Rows, Scores
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.detection.slots import check_rows, columns
from oddtide.domain.readings import FloatArray
from oddtide.domain.slots import SlotColumns

__all__ = ["Loda", "LodaSettings"]

_REVISION = 2


@dataclass(frozen=True, slots=True)
class LodaSettings:
    """``cuts``: random projections (one for one feature); ``bins`` of each; ``window``: readings for each of three
    beginnings (features' scales, cuts' scales, the first counts); ``memory``: about how many readings the counts
    remember; ``prior``: readings that the even spread counts as; ``spread``: sigmas of a cut that half of the bins
    cover; ``bound``: most sigmas of the first window by which a feature counts; ``calibration``: past scores that
    count at most; ``seed``: draws the cuts."""

    cuts: int = 50
    bins: int = 20
    window: int = 50
    memory: int = 1000
    prior: float = 1.0
    spread: float = 2.0
    bound: float = 100.0
    calibration: int = MEMORY
    seed: int = 1

    def __post_init__(self) -> None:
        check_range("cuts", self.cuts, 1, 10_000)
        check_range("bins", self.bins, 4, 1_000)
        check_range("window", self.window, 4, 1_000_000)
        check_range("memory", self.memory, 10, 1_000_000)
        check_range("prior", self.prior, 1e-6, 1e6)
        check_range("spread", self.spread, 0.01, 100.0)
        check_range("bound", self.bound, 1.0, 1e6)
        check_range("seed", self.seed, 0, 2**63 - 1)


class Loda(Calibrated):
    """The detector ``loda``. Deterministic given ``seed``, which every series shares."""

    def __init__(self, features: tuple[str, ...], settings: LodaSettings | None = None) -> None:
        self._settings = chosen = settings or LodaSettings()
        self._features = features
        self._version = version_of("loda", _REVISION, chosen, features)
        d = len(features)
        self._cuts = on, _by = draw_cuts(chosen.cuts, d, chosen.seed)
        self._options = chosen.window, chosen.memory, chosen.prior, chosen.spread, chosen.bound
        self._calibration = Calibration(chosen.calibration)
        blanks: dict[str, NDArray[Any]] = {
            "features": np.zeros((FEATURE, d)),
            "spots": np.zeros((SPOT, len(on))),
            "bins": np.zeros((len(on), chosen.bins), dtype=np.float32),
            "counts": np.zeros(2, dtype=np.int64),
        }
        self._columns = SlotColumns("loda", blanks)

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> Loda:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, LodaSettings))

    @property
    def warm_up(self) -> int:
        """The three windows to begin with."""
        return 3 * self._settings.window

    def _run(self, rows: Rows, *, learn: bool) -> Scores:
        n, d = len(rows), len(self._features)
        check_rows(rows, len(self._columns), d)
        slots, values = columns(rows)
        surprise, against, seen = np.empty(n), np.zeros((n, d)), np.empty(n, dtype=np.int64)
        own = self._columns
        state = own["features"], own["spots"], own["bins"], own["counts"]
        run_cuts(self._cuts, state, slots, values, self._options, learn, np.empty((4, d)), surprise, against, seen)
        p_value = self._calibration.grade(slots, surprise, learn=learn)
        score = np.nan_to_num(surprise)
        return Scores(score, p_value, _shares(score, against, values), seen)


def _shares(score: FloatArray, against: FloatArray, values: FloatArray) -> FloatArray:
    """(n, d) contributions: the score by what speaks against each feature; evenly over those present if none."""
    against = np.where(np.isnan(values), 0.0, against)
    weights = np.where(against.sum(axis=1, keepdims=True) > 0, against, ~np.isnan(values))
    total = weights.sum(axis=1, keepdims=True)
    shares: FloatArray = score[:, None] * (weights / np.maximum(total, 1e-300))
    return shares
