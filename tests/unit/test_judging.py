"""From p-values to alarms: what an alarm budget tests, and how it goes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oddtide.config.facade.detecting import default_toolkit, detect_anomalies
from oddtide.domain.detection.alarm_budget import BudgetRule
from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.detection.ports import DetectorSpec, Scores
from oddtide.domain.detection.threshold import ThresholdRule
from oddtide.domain.errors import StateMismatchError, UsageError
from oddtide.domain.readings import FloatArray
from oddtide.streams.pipeline.frames import encode_frames, expand_frame
from oddtide.streams.pipeline.judging import Judged, judge
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.stages import Stages

PLAN = StreamPlan("s", "t", threshold=ThresholdRule(0.01), alarm_budget=BudgetRule(0.1))


def judged(plan: StreamPlan, values: FloatArray, p_values: list[float], **more: object) -> Judged:
    """Readings of one series, all mature but where said otherwise; 0 was expected."""
    n = len(p_values)
    graded = Scores(np.ones(n), np.array(p_values), np.ones((n, 1)), np.full(n, 10), np.zeros((n, 1)))
    stages = Stages.of(plan, default_toolkit(), 0)
    for part in stages.parts.values():
        part.grow(1)
    needed = more.get("needed", np.full(n, 10))
    assert isinstance(needed, np.ndarray)
    untaught = more.get("untaught")
    assert untaught is None or isinstance(untaught, np.ndarray)
    return judge(stages, np.zeros(n, dtype=np.int64), values, graded, needed, untaught)


def test_warming_up_missing_and_planned_readings_are_no_tests() -> None:
    values = np.array([[1.0], [1.0], [np.nan], [1.0]])
    found = judged(
        PLAN, values, [1e-9] * 4, needed=np.array([11, 10, 10, 10]), untaught=np.array([False, False, False, True])
    )
    assert found.levels is not None
    assert (found.levels > 0.0).tolist() == [False, True, False, False]
    assert found.hits.tolist() == [False, True, False, False]


def test_ordinary_readings_and_those_in_a_silence_are_tests_those_of_the_other_direction_are_not() -> None:
    plan = replace(PLAN, alarms=AlarmRules("above", min_effect=2.0, refractory=5))
    values = np.array([[3.0], [3.0], [-3.0], [1.0]])
    found = judged(plan, values, [1e-9, 0.5, 1e-9, 1.0])
    assert found.levels is not None
    assert found.alarm_p is not None
    assert found.alarm_p.tolist() == [1e-9, 1.0, 1.0, 1.0]
    assert (found.levels > 0.0).tolist() == [True, True, False, True]
    assert found.levels[1] > found.levels[0]  # the alarm has paid


def test_without_a_budget_the_threshold_is_fixed() -> None:
    found = judged(replace(PLAN, alarm_budget=BudgetRule()), np.ones((2, 1)), [0.01, 0.02])
    assert (found.levels, found.hits.tolist()) == (None, [True, False])


def test_a_budget_goes_on_under_another_plan_of_the_same_budget() -> None:
    toolkit = default_toolkit()

    def after(plan: StreamPlan) -> tuple[float, ...]:
        stages = Stages.of(PLAN, toolkit, 0)
        assert stages.alarm_budget is not None
        p = np.full(3, 1e-9)
        stages.alarm_budget.admit(p, p, np.ones(3, dtype=np.bool_))
        under = stages.under(plan, toolkit, 0, 0)
        return tuple(np.asarray(under.alarm_budget.save()["alarm_budget"])) if under.alarm_budget is not None else ()

    kept = after(PLAN)
    assert kept[-2] == pytest.approx(3.0, rel=1e-5)
    assert after(replace(PLAN, detectors=(DetectorSpec("range"),), threshold=ThresholdRule(1e-3))) == kept
    assert after(replace(PLAN, alarm_budget=BudgetRule(0.2)))[-2] == 0.0
    assert after(replace(PLAN, alarm_budget=BudgetRule())) == ()
    assert "alarm_budget" in PLAN.kept_by(replace(PLAN, profile_every=7))


def test_a_state_without_the_budget_is_refused() -> None:
    one, other = (PartitionProcessor(PLAN, default_toolkit(), application="a", partition=0) for _ in range(2))
    series, states = one.save()
    with pytest.raises(StateMismatchError, match=r"alarm budget is \[\]"):
        other.load(series, {name: state for name, state in states.items() if "budget" not in name})
    other.load(series, states)
    assert other.save()[1].keys() == states.keys()


def test_detect_takes_a_share_and_verdicts_say_what_was_allowed() -> None:
    values = np.random.default_rng(3).normal(size=3_000)
    values[500::500] += 12.0
    found = detect_anomalies(values, detector="ewma", false_share=0.1, all=True)
    hits = [verdict for verdict in found if verdict.is_anomaly]
    assert {verdict.offset for verdict in hits} >= {500, 1_000, 1_500, 2_000, 2_500}
    assert len(hits) <= 6
    assert all(v.alarm_level is not None and v.is_anomaly == (v.p_value <= v.alarm_level) for v in found)
    assert "the alarm budget allows" in hits[0].reason
    assert found[0].alarm_level == 0.0
    (part,) = found.parts
    assert [each for frame in encode_frames(part) for each in expand_frame(frame)] == list(part)
    assert next(iter(detect_anomalies(values))).alarm_level is None


@pytest.mark.parametrize(
    ("words", "message"), [({"false_share": 0.7}, "at most 0.5"), ({"false_share": 0.1, "threshold": 4.0}, "score")]
)
def test_what_cannot_be_meant_is_refused(words: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        detect_anomalies([1.0, 2.0], **words)  # type: ignore[arg-type]  # any of its numbers
