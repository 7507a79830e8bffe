"""Half-space trees: is this combination of features where readings usually are?

Tan, Ting and Liu, "Fast anomaly detection for streaming data", IJCAI 2011. A tree halves the feature space at random,
``height`` times over, without looking at data. Readings of a window are counted in the nodes that they fall through
(their *mass*); the next window's are scored by the masses of the one before: a reading that falls where few fell is
strange. Scores lie in [0, 1): one minus the mass along the path (deeper counts double), as a share of the largest
possible, averaged over trees; the same definition as river's, and equal to it in quality (a test says so).

What is ours: one layout of trees for all series, drawn from ``seed``; counts per series in flat arrays. The paper
takes features in [0, 1]. Here each series' first window is kept aside, its smallest and largest value per feature (with
``margin`` on both sides) become 0 and 1, and the window is then counted. What lies outside later falls into the
outermost half-spaces. ``learn_range = false`` is for features that are in [0, 1] already.

The p-value is calibrated by the series' own past scores (``calibration``), on the scale ``-log(1 - score)``, on which
mass counts by ratio. It is cautious on young series (``benchmarks.quality``), but on autocorrelated ones (.9), where
p-values below 1e-4 and 1e-5 come 4 and 22 times too often. Contributions: on each path, a split whose half holds less
mass than half of its parent's speaks against the split's feature; the score is shared out by the sum of these log
ratios.

A missing feature goes down the more visited side and contributes 0; a reading with no feature at all is neither
scored nor learnt. State per series with the defaults: 20 KiB of counts, 1 KiB of past scores, 2 KiB per feature for
the first window. Cost: about a microsecond a reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oddtide.domain.detection.calibrated import Calibrated
from oddtide.domain.detection.calibration import MEMORY, Calibration
from oddtide.domain.detection.half_space_forest import plant, run_forest
from oddtide.domain.detection.ports import DetectorSpec, Rows, Scores
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.detection.slots import check_rows, columns, shared_out
from oddtide.domain.slots import SlotColumns

__all__ = ["HalfSpaceTrees", "HalfSpaceTreesSettings"]

_REVISION = 2


@dataclass(frozen=True, slots=True)
class HalfSpaceTreesSettings:
    """``trees``, ``height`` and ``window`` (readings per count) as in the paper; ``margin``: how far beyond the first
    window's range a feature's range reaches, as a share of it; ``calibration``: past scores that
    count at most;
    ``learn_range``: false where features are in [0, 1] already; ``seed``: draws the trees."""

    trees: int = 10
    height: int = 8
    window: int = 250
    margin: float = 0.15
    learn_range: bool = True
    calibration: int = MEMORY
    seed: int = 1

    def __post_init__(self) -> None:
        check_range("trees", self.trees, 1, 1_000)
        check_range("height", self.height, 1, 15)
        check_range("window", self.window, 10, 30_000)
        check_range("margin", self.margin, 0.0, 10.0)
        check_range("seed", self.seed, 0, 2**63 - 1)


class HalfSpaceTrees(Calibrated):
    """The detector ``half_space_trees``. Deterministic given ``seed``, which every series shares."""

    def __init__(self, features: tuple[str, ...], settings: HalfSpaceTreesSettings | None = None) -> None:
        self._settings = chosen = settings or HalfSpaceTreesSettings()
        self._features = features
        self._version = version_of("half_space_trees", _REVISION, chosen, features)
        on, at = plant(chosen.trees, chosen.height, len(features), chosen.seed)
        self._trees = (on, at, chosen.height, chosen.window, chosen.margin)
        self._calibration = Calibration(chosen.calibration)
        d, kept = len(features), chosen.window if chosen.learn_range else 0
        blanks = {
            "masses": np.zeros((2, chosen.trees, 2 ** (chosen.height + 1) - 1), dtype=np.int16),
            "limits": np.array([np.zeros(d), np.ones(d)]),
            "first": np.zeros((kept, d)),
            "counts": np.zeros(2, dtype=np.int64),
        }
        self._columns = SlotColumns("half_space_trees", blanks)

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> HalfSpaceTrees:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, HalfSpaceTreesSettings))

    @property
    def warm_up(self) -> int:
        """One window to count, and the scores that calibration needs."""
        return self._settings.window + self._calibration.minimum

    def _run(self, rows: Rows, *, learn: bool) -> Scores:
        n, d = len(rows), len(self._features)
        check_rows(rows, len(self._columns), d)
        slots, values = columns(rows)
        mass, against, seen = np.empty(n), np.zeros((n, d)), np.empty(n, dtype=np.int64)
        own = self._columns
        state = own["masses"], own["limits"], own["first"], own["counts"]
        run_forest(self._trees, *state, slots, values, learn, np.empty(d), mass, against, seen)
        p_value = self._calibration.grade(slots, -np.log(mass), learn=learn)
        valid = (seen >= self.warm_up) & ~np.isnan(mass)
        score = np.where(valid, np.maximum(1.0 - mass, 0.0), 0.0)
        return Scores(score, np.where(valid, p_value, 1.0), shared_out(score, against, values), seen)
