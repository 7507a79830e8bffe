"""``pyod:auto``: detectors that are wrong about different things, made one by how rare each finds a row.

No detector is best on every table; which one is cannot be known without labels. So three are trained on the same rows.
Two look at each feature by itself and have half of the say:

- ``HBOS`` (Goldstein, Dengel, "Histogram-based outlier score", KI 2012): in how empty a bin of each feature a row lies;
- the tails of each feature (Li, Zhao, Hu et al., "ECOD: unsupervised outlier detection using empirical cumulative
  distribution functions", TKDE 2023): how far out it lies. PyOD's ``ECOD`` sorts all training rows anew for each row
  that it scores; its formula is here, on columns sorted once.

One looks at how features go together and has the other half:

- ``MCD`` (Rousseeuw, Van Driessen, "A fast algorithm for the minimum covariance determinant estimator", Technometrics
  1999): the Mahalanobis distance from a core of the rows. It is taken where there are five rows for each feature (fewer
  do not determine a covariance) and at most 100 features, and fitted to at most 10,000 rows, evenly spread;
- otherwise ``IForest`` (Liu, Ting, Zhou, "Isolation forest", ICDM 2008): how soon random cuts leave a row alone.

A member's score says nothing beside another's. Each is graded by its rank among that member's scores of the training
rows, p = (1 + how many are as high) / (1 + all), and a row's score is the weighted mean of ``-log p``. Beyond
the farthest training row of every member all are alike (a tail fitted beyond it gained nothing there). The result is
an order only: members agree more than by chance, so it is calibrated again on held-out rows,
as every artifact's score is. The members and their halves were chosen with ADBench's tables in view
(docs/benchmarks.md, ``adbench_batch``); nothing else was fitted to anything.

A row's score has the same bits whatever rows are scored beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from oddtide.domain.detection.settings import check_range
from oddtide.domain.readings import FloatArray

__all__ = ["Auto"]

#: For MCD: features at most, rows for each at least, rows that it is fitted to at most.
_MOST_FEATURES, _ROWS_A_FEATURE, _MOST_ROWS = 100, 5, 10_000


class Auto:
    """As one of PyOD's detectors. ``contamination`` is for what PyOD reports, and changes no score."""

    def __init__(self, contamination: float = 0.1, random_state: int = 1) -> None:
        check_range("contamination", contamination, 1e-9, 0.5)
        self.contamination, self._seed = contamination, random_state
        self._members: list[tuple[float, Any, FloatArray]] = []

    def fit(self, rows: FloatArray) -> Auto:
        """Train every member on ``rows`` (n, d)."""
        from pyod.models.hbos import HBOS  # imported late: slow to import
        from pyod.models.iforest import IForest

        determined = rows.shape[1] <= _MOST_FEATURES and len(rows) >= _ROWS_A_FEATURE * rows.shape[1]
        together = _Core(self._seed) if determined else IForest(n_estimators=200, random_state=self._seed)
        self._members = []
        for weight, member in ((0.25, HBOS()), (0.25, _Tails()), (0.5, together)):
            member.fit(rows)
            self._members.append((weight, member, np.sort(_scores(member, rows))))
        return self

    def decision_function(self, rows: FloatArray) -> FloatArray:
        """(n,) weighted mean over the members of -log p, by rank."""
        total = np.zeros(len(rows))
        for weight, member, past in self._members:
            as_far = len(past) - np.searchsorted(past, _scores(member, rows), "left")
            total -= weight * np.log((1.0 + as_far) / (1.0 + len(past)))
        return total


def _scores(member: Any, rows: FloatArray) -> FloatArray:
    return np.asarray(member.decision_function(rows), dtype=np.float64)


class _Tails:
    """ECOD's score against sorted columns. Its rule for skewed features comes down to the farther tail of each."""

    def fit(self, rows: FloatArray) -> None:
        self._sorted = np.sort(rows, axis=0)

    def decision_function(self, rows: FloatArray) -> FloatArray:
        n, total = len(self._sorted), np.zeros(len(rows))
        for past, column in zip(self._sorted.T, rows.T, strict=True):
            below = np.searchsorted(past, column, "right")
            above = n - np.searchsorted(past, column, "left")
            total -= np.log(np.maximum(np.minimum(below, above), 1) / n)
        return total


class _Core:
    """Squared Mahalanobis distance, location and covariance by MCD."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, rows: FloatArray) -> None:
        from pyod.models.mcd import MCD

        found = MCD(random_state=self._seed).fit(rows[:: -(-len(rows) // _MOST_ROWS)]).detector_
        values, vectors = np.linalg.eigh(found.precision_)
        self._centre = found.location_
        self._whitening = vectors * np.sqrt(np.maximum(values, 0.0))

    def decision_function(self, rows: FloatArray) -> FloatArray:
        white = np.zeros((len(rows), self._whitening.shape[1]))
        for j, weights in enumerate(self._whitening):  # no product of matrices: its bits depend on the rows beside
            white += (rows[:, j] - self._centre[j])[:, None] * weights
        total = np.zeros(len(rows))
        for column in white.T:
            total += column * column
        return total
