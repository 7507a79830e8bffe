"""river's models by name, and its ADWIN."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from oddtide.adapters.river.detectors import RiverDetector, build
from oddtide.adapters.river.drift import adwin
from oddtide.adapters.river.models import available, blueprint
from oddtide.domain.detection import DetectorSpec, Rows, Scores
from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.drift.ports import Monitor
from oddtide.domain.errors import ConfigurationError, StateMismatchError
from oddtide.domain.readings import FloatArray


def grown(name: str, features: tuple[str, ...] = ("a", "b"), **parameters: object) -> RiverDetector:
    detector = build(DetectorSpec(f"river:{name}", parameters), features)
    detector.grow(1)
    return detector


def run(detector: RiverDetector, values: FloatArray) -> Scores:
    n = len(values)
    return detector.advance(Rows(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), values))


def test_models_are_found_by_looking() -> None:
    assert {"GaussianScorer", "HalfSpaceTrees", "LocalOutlierFactor", "OneClassSVM"} <= set(available())
    assert not {"QuantileFilter", "ThresholdFilter"} & set(available())


@pytest.mark.parametrize("name", ["GaussianScorer", "LODA", "LocalOutlierFactor", "StandardAbsoluteDeviation"])
def test_an_outlier_is_found(name: str) -> None:
    values = np.random.default_rng(0).normal(size=(400, 2))
    values[350] = [9.0, -9.0]
    scores = run(grown(name), values)
    assert scores.p_value[350] <= 0.01
    assert scores.score[350] == scores.score[200:].max()


def test_a_supervised_model_judges_its_target() -> None:
    values = np.random.default_rng(1).normal(size=(300, 2))
    values[250] = [0.0, 12.0]
    second = run(grown("GaussianScorer", target="b"), values)
    first = run(grown("GaussianScorer"), values)
    assert second.p_value[250] < 1e-3 < first.p_value[250]
    np.testing.assert_array_equal(second.contributions[:, 0], 0.0)
    values[251] = [0.0, np.nan]
    assert run(grown("GaussianScorer", target="b"), values).p_value[251] == 1.0


def test_features_further_off_contribute_more() -> None:
    values = np.random.default_rng(2).normal(size=(300, 2))
    values[250] = [0.1, 15.0]
    shares = run(grown("LODA", n_random_cuts=10), values).contributions[250]
    assert shares[1] > 10 * shares[0] > 0


@pytest.mark.parametrize(
    ("name", "parameters", "says"),
    [
        ("HalfSpaceTree", {}, "Did you mean 'HalfSpaceTrees'"),
        ("QuantileFilter", {}, "no anomaly model"),
        ("HalfSpaceTrees", {"n_tree": 3}, "Did you mean 'n_trees'"),
        ("HalfSpaceTrees", {"n_trees": "many"}, "refuses"),
        ("HalfSpaceTrees", {"scaling": "minmaxx"}, "Did you mean 'minmax'"),
        ("HalfSpaceTrees", {"warm_up": 2.5}, "whole number"),
        ("HalfSpaceTrees", {"warm_up": 0}, "warm_up"),
        ("HalfSpaceTrees", {"calibration": 2}, "calibration"),
        ("GaussianScorer", {"target": "c"}, "target"),
    ],
)
def test_wrong_names_and_parameters_are_refused(name: str, parameters: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        build(DetectorSpec(f"river:{name}", parameters), ("a", "b"))


def test_the_warm_up_follows_the_model() -> None:
    assert blueprint(DetectorSpec("river:HalfSpaceTrees", {"window_size": 70}), ("a",)).warm_up == 70
    assert blueprint(DetectorSpec("river:HalfSpaceTrees"), ("a",)).warm_up == 250
    assert blueprint(DetectorSpec("river:LODA"), ("a",)).warm_up == 50
    assert blueprint(DetectorSpec("river:LODA", {"scaling": "none"}), ("a",)).scaling == "none"


class Brittle:
    """A model that fails where the value is 13 (scoring) or 17 (learning)."""

    def score_one(self, x: dict[str, float]) -> float:
        return 1.0 / (x["a"] - 13.0)

    def learn_one(self, x: dict[str, float]) -> None:
        if x["a"] == 17.0:
            raise OverflowError("too much")


@pytest.mark.parametrize("bad", [13.0, 17.0])
def test_a_series_whose_model_fails_starts_anew(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = grown("LODA", ("a",), warm_up=5, calibration=64)
    monkeypatch.setattr(type(detector._plan), "make", lambda plan: Brittle())
    values = np.random.default_rng(3).uniform(20, 30, size=(200, 1))
    values[120] = bad
    scores = run(detector, values)
    assert np.isfinite(scores.score).all()
    assert scores.seen[120] == 120
    assert scores.seen[121] == (1 if bad == 13.0 else 0)
    if bad == 13.0:
        assert (scores.score[120], scores.p_value[120]) == (0.0, 1.0)


def test_models_that_do_not_fit_are_refused() -> None:
    detector = grown("LODA")
    slot = np.array([0])
    wrong: list[Any] = [[pickle.dumps("no model")], [b"", b""], [b"junk"], b"junk"]
    for models in wrong:
        with pytest.raises(StateMismatchError):
            detector.insert(slot, {**detector.extract(slot), "models": models})


def watched(numbers: FloatArray, policy: DriftPolicy | None = None) -> tuple[Monitor, list[int], list[int]]:
    monitor = adwin(policy or DriftPolicy())()
    drifts, warnings = [], []
    for i, number in enumerate(numbers.tolist()):
        monitor.update(number)
        if monitor.drift_detected:
            drifts.append(i)
        if monitor.warning_detected:
            warnings.append(i)
    return monitor, drifts, warnings


def test_adwin_sees_a_shift_warns_before_and_goes_on() -> None:
    rng = np.random.default_rng(4)
    numbers = np.concatenate([rng.normal(0, 1, 1_000), rng.normal(1.0, 1, 1_000), rng.normal(5, 1, 500)])
    monitor, drifts, warnings = watched(numbers, DriftPolicy(delta=1e-4, warning_delta=0.2))
    assert isinstance(monitor, Monitor)
    assert sum(1_000 <= i < 1_300 for i in drifts) == 1
    assert sum(2_000 <= i < 2_100 for i in drifts) == 1
    assert warnings
    assert not set(warnings) & set(drifts)
    assert monitor.estimate == pytest.approx(5.0, abs=0.5)


def test_adwin_is_calm_on_noise_and_survives_extremes() -> None:
    _, drifts, _ = watched(np.random.default_rng(5).normal(size=5_000))
    assert not drifts
    monitor, _, _ = watched(np.array([1e300, -1.7e308, 0.0, 5e-324] * 50))
    assert np.isfinite(monitor.estimate)


def test_a_monitor_can_be_saved() -> None:
    rng = np.random.default_rng(6)
    monitor, _, _ = watched(rng.normal(size=700))
    copy = pickle.loads(pickle.dumps(monitor))
    for number in rng.normal(3, 1, 200).tolist():
        monitor.update(number)
        copy.update(number)
        assert (monitor.drift_detected, monitor.warning_detected) == (copy.drift_detected, copy.warning_detected)
    assert monitor.estimate == copy.estimate


@pytest.mark.parametrize(
    "policy", [DriftPolicy(monitor="kswin"), DriftPolicy(delta=0.0), DriftPolicy(warning_delta=float("nan"))]
)
def test_a_policy_it_cannot_follow_is_refused(policy: DriftPolicy) -> None:
    with pytest.raises(ConfigurationError):
        adwin(policy)
