"""Several detectors on one stream: whose word counts, and what it costs to have asked them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oddtide.domain.detection.ports import Scores
from oddtide.domain.errors import UsageError
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics import bonferroni

__all__ = ["Combined", "combine"]


@dataclass(frozen=True, slots=True)
class Combined:
    """``scores`` of ``n`` rows; ``driver`` (n,) which detector (its position) each row is from; ``needed`` (n,) the
    driver's warm-up."""

    scores: Scores
    driver: IntArray
    needed: IntArray


def combine(parts: Sequence[Scores], needed: Sequence[int]) -> Combined:
    """The verdicts of several detectors over the same rows, as one.

    ``needed`` holds each detector's warm-up. Per row the *driver* is the mature detector with the smallest p-value
    (the first of equals; the first of all while none is mature). Score, contributions, expectation and ``seen`` are the
    driver's; the p-value is its p-value times the number of mature detectors, at most 1 (Bonferroni): valid however
    they depend on one another. Rows are judged one by one, so batches never matter.
    """
    if not parts or len(parts) != len(needed):
        raise UsageError(f"{len(parts)} scores and {len(needed)} warm-ups were given.", remedy="Give one of each.")
    warm_ups = np.asarray(needed, dtype=np.int64)
    if len(parts) == 1:
        n = len(parts[0].score)
        return Combined(parts[0], np.zeros(n, dtype=np.int64), np.full(n, warm_ups[0], dtype=np.int64))
    mature = np.stack([part.seen for part in parts]) >= warm_ups[:, None]
    p_values = np.where(mature, np.stack([part.p_value for part in parts]), 2.0)
    driver = np.argmin(p_values, axis=0)
    rows = np.arange(p_values.shape[1])
    asked = np.maximum(mature.sum(axis=0), 1).astype(np.float64)
    scores = Scores(
        score=np.stack([part.score for part in parts])[driver, rows],
        p_value=bonferroni(np.minimum(p_values[driver, rows], 1.0), asked),
        contributions=np.stack([part.contributions for part in parts])[driver, rows],
        seen=np.stack([part.seen for part in parts])[driver, rows],
        expected=_pick([part.expected for part in parts], driver, rows),
        lower=_pick([part.lower for part in parts], driver, rows),
        upper=_pick([part.upper for part in parts], driver, rows),
    )
    return Combined(scores, driver.astype(np.int64), warm_ups[driver])


def _pick(columns: Sequence[FloatArray | None], driver: IntArray, rows: IntArray) -> FloatArray | None:
    present = next((column for column in columns if column is not None), None)
    if present is None:
        return None
    none_yet = np.full_like(present, np.nan)
    picked: FloatArray = np.stack([none_yet if column is None else column for column in columns])[driver, rows]
    return picked
