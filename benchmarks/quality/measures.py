"""Measures of ranked readings against the truth, except NAB's. Own writing, after the papers named.

Each only looks at the order of the scores, so that any monotone change of them changes nothing.
"""

from __future__ import annotations

from oddtide.config.facade.volume import spans_of, vus_pr
from oddtide.domain.readings import FloatArray

__all__ = ["spans_of", "ucr_hit", "vus_pr"]

_SLACK = 100


def ucr_hit(scores: FloatArray, anomaly: tuple[int, int], scored_from: int) -> bool:
    """Whether the highest score of the test part lies within 100 rows of the anomaly (Wu, Keogh: "Current time series
    anomaly detection benchmarks are flawed and are creating the illusion of progress", TKDE 2021). Of equal scores
    the first counts; a detector that says nothing at all misses."""
    test = scores[scored_from:]
    if not len(test) or test.max() <= 0.0:
        return False
    place = scored_from + int(test.argmax())
    return anomaly[0] - _SLACK <= place <= anomaly[1] + _SLACK
