"""When a strange reading may raise an alarm."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddtide.domain.detection.alarms import AlarmRules, Alarms
from oddtide.domain.detection.ports import DetectorSpec, Scores
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.readings import FloatArray
from oddtide.streams.pipeline.plan import StreamPlan

pytestmark = pytest.mark.kernels


def scores(p_values: list[float], expected: FloatArray | None = None, features: int = 1) -> Scores:
    n = len(p_values)
    contributions = np.zeros((n, features))
    contributions[:, -1] = 1.0
    return Scores(np.ones(n), np.array(p_values), contributions, np.arange(n), expected)


def judged(rules: AlarmRules, p_values: list[float], slots: list[int] | None = None) -> list[float]:
    alarms, n = Alarms(rules), len(p_values)
    alarms.grow(4)
    places = np.array(slots or [0] * n, dtype=np.int64)
    found: list[float] = alarms.judge(places, np.zeros((n, 1)), scores(p_values)).tolist()
    return found


#: Half a unit of surprise.
STRANGER = 10.0**-0.5


def by_hand(rules: AlarmRules, p_values: list[float]) -> list[float]:
    """The same of one series, slowly."""
    found: list[float] = []
    left, peak = 0, 1.0
    for i in range(len(p_values)):
        run = [1.0] * rules.min_duration + p_values[: i + 1]
        sustained = max(run[-rules.min_duration :])
        silent, left = left > 0, max(left - 1, 0)
        if sustained == 1.0 or (silent and sustained >= STRANGER * peak):
            found.append(1.0)
            continue
        found.append(sustained)
        if rules.refractory:
            peak, left = sustained, rules.refractory
    return found


P = st.sampled_from([1.0, 0.5, 0.1, 1e-3, 1e-9]) | st.floats(1e-12, 1.0)


@given(st.lists(P, max_size=40), st.integers(1, 4), st.integers(0, 6))
def test_each_series_is_judged_by_its_own_past(p_values: list[float], duration: int, refractory: int) -> None:
    rules = AlarmRules(min_duration=duration, refractory=refractory)
    expected = by_hand(rules, p_values)
    assert judged(rules, p_values) == expected
    twice = [p for p in p_values for _ in range(2)]
    assert judged(rules, twice, [0, 3] * len(p_values)) == [p for p in expected for _ in range(2)]


@given(st.lists(P, min_size=1, max_size=30), st.data())
def test_a_threshold_may_be_swept_afterwards(p_values: list[float], data: st.DataObject) -> None:
    """The alarms at a threshold are those of the same rules over readings of which the others were never strange."""
    rules = AlarmRules(refractory=data.draw(st.integers(0, 5)))
    found = judged(rules, p_values)
    assert all(alarm in (1.0, p) for alarm, p in zip(found, p_values, strict=True))
    threshold = data.draw(P)
    first = next((i for i, p in enumerate(p_values) if p <= threshold < 1.0), None)
    if first is not None:  # the first that crosses any threshold is an alarm at it
        assert found[first] == p_values[first] or any(STRANGER * p <= p_values[first] for p in p_values[:first])


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (AlarmRules(), [True, True, True, True]),
        (AlarmRules("above"), [True, False, True, True]),
        (AlarmRules("below"), [False, True, False, True]),
        (AlarmRules(min_effect=3.0), [False, True, True, True]),
        (AlarmRules("above", min_effect=3.0), [False, False, True, True]),
    ],
)
def test_direction_and_effect_go_by_the_feature_that_contributes_most(rules: AlarmRules, expected: list[bool]) -> None:
    values = np.array([[0.0, 12.0], [0.0, 5.0], [0.0, 1e308], [0.0, 3.0]])
    beliefs = np.array([[50.0, 10.0], [50.0, 10.0], [50.0, -1e308], [50.0, np.nan]])
    found = rules.eligible(values, scores([0.1] * 4, beliefs, features=2))
    assert found.tolist() == expected


def test_planned_work_ends_a_run() -> None:
    alarms = Alarms(AlarmRules(min_duration=2))
    alarms.grow(1)
    untaught = np.array([False, False, True, False, False])
    found = alarms.judge(np.zeros(5, dtype=np.int64), np.zeros((5, 1)), scores([0.1] * 5), untaught)
    assert found.tolist() == [1.0, 0.1, 1.0, 1.0, 0.1]


def test_state_goes_on_elsewhere() -> None:
    rules = AlarmRules(min_duration=3, refractory=5)
    p_values = np.random.default_rng(1).random(60).tolist()
    whole = judged(rules, p_values)
    first, second = Alarms(rules), Alarms(rules)
    for each in (first, second):
        each.grow(2)
    zero, one = np.zeros(30, dtype=np.int64), np.ones(30, dtype=np.int64)
    begun = first.judge(zero, np.zeros((30, 1)), scores(p_values[:30])).tolist()
    second.insert(np.array([1]), first.extract(np.array([0])))
    assert begun + second.judge(one, np.zeros((30, 1)), scores(p_values[30:])).tolist() == whole


def test_wrong_rules_are_refused() -> None:
    for given_, message in (
        ({"direction": "up"}, r"direction of alarms is 'up'.*both, above, below"),
        ({"min_effect": math.nan}, "min_effect"),
        ({"min_duration": 0}, "min_duration"),
        ({"refractory": -1}, "refractory"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            AlarmRules(**given_)
    assert not AlarmRules().active
    assert AlarmRules(refractory=1).active


def test_rules_go_on_under_another_plan_where_detectors_and_rules_are_the_same() -> None:
    plan = StreamPlan("s", "t", alarms=AlarmRules(refractory=5))
    assert "alarms" in plan.kept_by(replace(plan, profile_every=7))
    assert "alarms" not in plan.kept_by(replace(plan, alarms=AlarmRules(refractory=6)))
    assert "alarms" not in plan.kept_by(replace(plan, detectors=(DetectorSpec("range"),)))
    assert "alarms" not in replace(plan, alarms=AlarmRules()).kept_by(replace(plan, alarms=AlarmRules()))
