"""The detector that the rivals' programs run in benchmarks is the project's default one."""

from __future__ import annotations

import numpy as np

from benchmarks.rivals.robust_ewma import RobustEwma
from oddtide.domain.detection.ewma import Ewma
from oddtide.domain.detection.ports import Rows


def test_scores_and_p_values_are_those_of_the_default_ewma() -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(20.0, 1.5, 2_000), [60.0, -40.0], rng.normal(35.0, 1.5, 500), np.full(50, 3.0)])
    detector, rival = Ewma(("value",)), RobustEwma()
    detector.grow(1)
    rows = Rows(np.zeros(len(values), np.int64), np.arange(len(values)), values[:, None])
    scores = detector.advance(rows)
    found = np.array([rival.step(float(value)) for value in values])
    np.testing.assert_allclose(found[:, 0], scores.score, rtol=1e-12)
    np.testing.assert_allclose(found[:, 1], scores.p_value, rtol=1e-9)
    assert (scores.p_value <= 1e-6).sum() > 2  # there was something to agree on
