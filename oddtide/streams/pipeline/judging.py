"""From p-values to alarms: the stream's rules, then its threshold, fixed or paid for out of an alarm budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.ports import Scores
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.streams.pipeline.stages import Stages

__all__ = ["Judged", "judge"]


@dataclass(frozen=True, slots=True)
class Judged:
    """``hits`` (n,) says which rows are anomalies. ``alarm_p`` (n,) are alarm p-values where the stream has rules for
    alarms, ``levels`` (n,) what they had to come down to where it has an alarm budget, 0 for a row that was no test."""

    hits: NDArray[np.bool_]
    alarm_p: FloatArray | None
    levels: FloatArray | None


def judge(
    stages: Stages,
    slots: IntArray,
    values: FloatArray,
    scores: Scores,
    needed: IntArray,
    untaught: NDArray[np.bool_] | None,
) -> Judged:
    """Judge rows in log order. ``needed`` (n,) readings make a row's detector mature; ``untaught`` rows are under
    planned work or history, and no anomalies."""
    plan, alarm_p = stages.plan, None
    if stages.alarms is not None:
        alarm_p = stages.alarms.judge(slots, values, scores, untaught)
    p_values = scores.p_value if alarm_p is None else alarm_p
    if stages.alarm_budget is None:
        # what a prior says of a young series is not on the detector's scale, which a threshold on the score is about
        own = scores.score if stages.prior is None else np.where(scores.seen >= needed, scores.score, 0.0)
        hits, levels = plan.threshold.detections(own, p_values), None
    else:
        tested = _tested(stages, values, scores, needed, untaught)
        levels = stages.alarm_budget.admit(scores.p_value, p_values, tested)
        hits = p_values <= levels
    if untaught is not None:
        hits &= ~untaught
    return Judged(hits, alarm_p, levels)


def _tested(
    stages: Stages, values: FloatArray, scores: Scores, needed: IntArray, untaught: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """(n,) which rows are tests of the budget: none that is left out for being ordinary, or what is left would look
    stranger than it is."""
    tested: NDArray[np.bool_] = (scores.seen >= needed) & ~np.isnan(values).all(axis=1)
    tested &= stages.plan.alarms.in_direction(values, scores)
    if untaught is not None:
        tested &= ~untaught
    return tested
