"""A verdict told to a person: how rare, and why it did or did not raise an alarm."""

from __future__ import annotations

from typing import Any

import pytest

from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.detection.events import FeatureVerdict, Verdict
from oddtide.domain.detection.telling import rarity, tell, why_alarm
from oddtide.domain.detection.threshold import ThresholdRule


def verdict(p_value: float = 1e-8, **fields: Any) -> Verdict:
    given: dict[str, Any] = {
        "id": "a/s/t/0/1/0@v", "stream": "s", "series": "pump", "time": "2026-01-01T00:00:00Z", "feature": "value",
        "value": 9.0, "expected": 4.0, "score": 8.0, "own_score": 5.7, "p_value": p_value, "is_anomaly": False,
        "seen": 300, "needed": 30, "detector": "ewma", "model_version": "ewma/1-x",
    }  # fmt: skip
    return Verdict(**{**given, **fields})


@pytest.mark.parametrize(
    ("p_value", "says"),
    [
        (0.9, "nothing strange"),
        (0.16, "one ordinary reading in 6.2 "),
        (0.0123, "in 81 "),
        (1e-3, "in 1,000 "),
        (3.33e-5, "in 30,000 "),
        (1e-6, "in 1 million "),
        (2.5e-8, "in 40 million "),
        (4.25e-9, "in 240 million "),
        (1.2e-10, "in 8.3 thousand million "),
        (1e-15, "in 1,000 million million "),
        (1e-9, "in 1 thousand million "),
        (1e-12, "in 1 million million "),
        (1e-300, "in 10^300 "),
    ],
)
def test_how_rare_a_reading_is_in_words(p_value: float, says: str) -> None:
    assert says in rarity(verdict(p_value))


@pytest.mark.parametrize(
    ("rules", "fields", "before", "says"),
    [
        ({}, {"is_anomaly": True}, [], "an alarm: p 1e-08 is at or below the threshold of 1e-06"),
        ({}, {"p_value": 0.1}, [], "above the threshold of 1e-06"),
        ({}, {"alarm_level": 1e-9}, [], "above 1e-09, which is what the alarm budget allowed"),
        ({}, {"alarm_level": 1e-3, "is_anomaly": True}, [], "at or below 0.001, which"),
        ({}, {"suppressed_by": "w7"}, [], "planned work w7"),
        ({}, {"suppressed_by": "history"}, [], "loaded as history"),
        ({}, {"maturity": 0.5, "seen": 15, "p_value": 1.0}, [], "warming up, 15 of 30"),
        ({}, {"maturity": 0.5, "seen": 15, "is_anomaly": True, "detector": "prior"}, [], "an alarm: p 1e-08"),
        ({"direction": "below"}, {}, [], "only readings below"),
        ({"direction": "above", "min_effect": 6.0}, {}, [], "it is 5 from the expected value, the least effect is 6"),
        ({"min_duration": 3}, {}, [], "the 1st strange reading in a row, of 3"),
        ({"min_duration": 3}, {}, [0.2, 1e-7], "the 2nd strange reading"),
        ({"refractory": 5}, {}, [1e-9, 0.3], "came 2 readings before, within the 5"),
        ({"refractory": 1}, {"expected": None}, [1e-9, 0.3], "a rule of the stream"),
        ({"min_duration": 2}, {"value": None}, [1e-7], "a rule of the stream"),
    ],
)
def test_why_it_raised_an_alarm_or_none(
    rules: dict[str, Any], fields: dict[str, Any], before: list[float], says: str
) -> None:
    earlier = [verdict(p, alarm_score=9.0 if p < 1e-8 else 0.0) for p in before]
    assert says in why_alarm(verdict(**{"p_value": 1e-8, **fields}), ThresholdRule(), AlarmRules(**rules), earlier)


def test_a_threshold_on_the_score_is_named() -> None:
    assert "own score 5.7" in why_alarm(verdict(is_anomaly=True), ThresholdRule(0.0, 5.0), AlarmRules())


def test_the_whole_account() -> None:
    features = {
        "flow": FeatureVerdict(value=9.0, contribution=6.0), "heat": FeatureVerdict(value=1.0, contribution=2.0),
        "idle": FeatureVerdict(value=1.0),
    }  # fmt: skip
    told = dict(tell(verdict(feature="flow", features=features), ThresholdRule(), AlarmRules()))
    assert told["features"] == "flow 75%, heat 25%"
    assert told["maturity"].startswith("mature: 300 readings")
    assert "ewma counted most: 5.7 on its own scale" in told["detector"]
    silent = verdict(
        features={"a": FeatureVerdict(value=1.0), "b": FeatureVerdict(value=1.0)}, maturity=0.5, seen=15, p_value=1.0
    )
    told = dict(tell(silent, ThresholdRule(), AlarmRules()))
    assert told["features"] == "none contributes: the score is 0"
    assert told["maturity"] == "warming up 15/30: 50%"
    many = {f"f{i}": FeatureVerdict(value=1.0, contribution=1.0) for i in range(11)}
    assert tell(verdict(features=many), ThresholdRule(), AlarmRules())[-1][1].endswith("and 3 more")
    assert "not known" in rarity(silent)
