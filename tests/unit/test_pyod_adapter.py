"""PyOD's detectors: trained on a table, scored in the stream."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import threading
import warnings
from collections.abc import Mapping

import numpy as np
import pytest

from oddtide.adapters.pyod import PyodDetector, auto, available, build, catalogue, train
from oddtide.adapters.pyod import artifact as artifacts
from oddtide.domain.detection import Adoptable, DetectorSpec, Rows, Scores
from oddtide.domain.errors import (
    ConfigurationError,
    MissingExtraError,
    StateMismatchError,
    UntrustedArtifactError,
    UsageError,
)
from oddtide.domain.readings import FloatArray

FEATURES = ("a", "b")


def table(rows: int = 200, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(rows, 2)) * [1.0, 50.0] + [5.0, -300.0]


def trained(name: str, parameters: Mapping[str, object] | None = None) -> PyodDetector:
    detector = build(DetectorSpec(f"pyod:{name}", parameters or {}), FEATURES)
    detector.grow(1)
    detector.adopt(train(name, parameters or {}, table(), FEATURES)[0], "3")
    return detector


def score(detector: PyodDetector, values: FloatArray) -> Scores:
    n = len(values)
    return detector.score(Rows(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), values))


def test_untrained_it_says_so() -> None:
    detector = build(DetectorSpec("pyod:HBOS"), FEATURES)
    detector.grow(1)
    scores = score(detector, table(3))
    assert isinstance(detector, Adoptable)
    assert scores.score.tolist() == [0, 0, 0]
    assert scores.p_value.tolist() == [1, 1, 1]
    assert scores.seen.tolist() == [0, 0, 0]
    assert detector.version.endswith("@untrained")


@pytest.mark.parametrize("name", ["COPOD", "ECOD", "HBOS", "IForest", "KNN", "LOF", "MCD", "PCA", "auto"])
def test_an_outlier_is_found_and_ordinary_rows_are_not(name: str) -> None:
    detector = trained(name)
    values = table(seed=1)
    values[7] = [30.0, 900.0]
    scores = score(detector, values)
    assert scores.p_value[7] < 0.02
    assert scores.score[7] == scores.score.max()
    assert (scores.p_value <= 0.1).mean() < 0.3
    assert (scores.p_value <= 1e-6).sum() <= 1
    assert detector.version.endswith("@3")


@pytest.mark.parametrize("name", sorted(catalogue.ROW_INDEPENDENT))
def test_rows_scored_together_keep_their_bits(name: str) -> None:
    """Why these may be scored a batch at a time."""
    rng = np.random.default_rng(2)
    features = tuple("abcdefg")
    found = artifacts.unpack(train(name, {}, rng.normal(size=(400, 7)), features)[0])
    rows = rng.normal(size=(300, 7)) * rng.choice([1.0, 5.0, 1e6], size=(300, 1))
    rows[100:110] = rows[0]
    whole = found.model.decision_function(rows)
    for size in (1, 3, 64, 257):
        parts = [found.model.decision_function(rows[i : i + size]) for i in range(0, 300, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_missing_features_take_the_median_and_contribute_nothing() -> None:
    detector = trained("HBOS")
    values = np.array([[50.0, np.nan], [np.nan, np.nan], [5.0, -300.0]])
    scores = score(detector, values)
    assert scores.contributions[0, 1] == 0.0
    assert scores.contributions[0, 0] == scores.score[0] > 0
    assert (scores.score[1], scores.p_value[1], scores.contributions[1].sum()) == (0.0, 1.0, 0.0)


def test_training_says_what_it_did() -> None:
    values = table(100)
    values[3, 0] = np.nan
    raw, versions, metrics = train("pyod:IForest", {"n_estimators": 10, "contamination": 0.2}, values, FEATURES)
    assert set(versions) == {"numpy", "pyod", "scikit-learn"}
    assert (metrics["rows"], metrics["held_out"], metrics["contamination"]) == (75.0, 25.0, 0.2)
    assert metrics["missing"] == pytest.approx(1 / 200)
    assert metrics["score_q50"] <= metrics["score_q90"] <= metrics["score_q99"] <= metrics["score_q100"]
    again = train("IForest", {"n_estimators": 10, "contamination": 0.2}, values, FEATURES)[2]
    assert again == metrics
    assert artifacts.unpack(raw).rows == 75


def test_constant_features_do_not_break_training() -> None:
    values = table()
    values[:, 1] = 7.0
    detector = build(DetectorSpec("pyod:KNN"), FEATURES)
    detector.grow(1)
    detector.adopt(train("KNN", {}, values, FEATURES)[0], "1")
    scores = score(detector, np.array([[5.0, 7.0], [5.0, 8.0]]))
    assert scores.p_value[1] < 0.02 < scores.p_value[0]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((100, 3)), "shape"),
        (np.zeros(100), "shape"),
        (table(10), "too few"),
        (np.column_stack([np.arange(50.0), np.full(50, np.nan)]), "'b' is missing"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused(values: FloatArray, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        train("IForest", {}, values, FEATURES)


def test_a_detector_that_does_not_fit_the_rows_says_so() -> None:
    with pytest.raises(UsageError, match="cannot be fitted"):
        train("MAD", {}, table(), FEATURES)


def test_scores_that_are_not_finite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def nan(algorithm: str, model: object, ready: FloatArray) -> FloatArray:
        return np.full(len(ready), np.nan)

    monkeypatch.setattr("oddtide.adapters.pyod.training.decide", nan)
    with pytest.raises(UsageError, match="not finite"):
        train("HBOS", {}, table(), FEATURES)


@pytest.mark.parametrize(
    ("kind", "parameters", "says"),
    [
        ("pyod:Iforest", {}, "Did you mean 'IForest'"),
        ("pyod:COF", {}, "scores rows by one another"),
        ("pyod:SUOD", {}, "made of other detectors"),
        ("pyod:XGBOD", {}, "without labels"),
        ("pyod:auto", {"contamination": 7}, "takes 1e-09 to 0.5"),
        ("pyod:IForest", {"n_estimator": 3}, "Did you mean 'n_estimators'"),
        ("pyod:IForest", {"contamination": 7}, "refuses"),
    ],
)
def test_wrong_names_and_parameters_are_refused(kind: str, parameters: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        build(DetectorSpec(kind, parameters), FEATURES)


def test_what_is_available_here_can_be_built() -> None:
    names = available()
    assert {"ECOD", "HBOS", "IForest", "KNN"} <= set(names)
    for name in names:
        assert build(DetectorSpec(f"pyod:{name}"), FEATURES).warm_up == 1


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed here")
@pytest.mark.parametrize("name", ["AutoEncoder", "VAE", "DeepSVDD", "SO_GAAL", "LUNAR"])
def test_a_deep_model_names_the_extra(name: str) -> None:
    assert name not in available()
    with pytest.raises(MissingExtraError, match=r"oddtide\[deep\]"):
        build(DetectorSpec(f"pyod:{name}"), FEATURES)


@pytest.mark.skipif(importlib.util.find_spec("combo") is not None, reason="combo is installed here")
def test_another_missing_package_is_named() -> None:
    with pytest.raises(MissingExtraError, match="pip install combo"):
        build(DetectorSpec("pyod:FeatureBagging"), FEATURES)


def test_without_pyod_the_remedy_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyod", None)
    with pytest.raises(MissingExtraError, match="pip install pyod"):
        catalogue._folder()


def test_bytes_that_are_no_model_are_refused_and_the_model_stays() -> None:
    detector = trained("HBOS")
    before = detector.version
    for raw in (b"", b"junk", pickle.dumps(["list"]), pickle.dumps({"format": 99})):
        with pytest.raises(UntrustedArtifactError):
            detector.adopt(raw, "4")
    other_features = train("HBOS", {}, table(), ("x", "y"))[0]
    other_algorithm = train("KNN", {}, table(), FEATURES)[0]
    for raw in (other_features, other_algorithm):
        with pytest.raises(StateMismatchError, match="this is HBOS of a, b"):
            detector.adopt(raw, "4")
    assert detector.version == before


def test_a_model_of_other_library_versions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        here = artifacts.libraries()
        patch.setattr("oddtide.adapters.pyod.training.libraries", lambda: {**here, "pyod": "1.0.0"})
        raw = train("HBOS", {}, table(), FEATURES)[0]
    with pytest.raises(StateMismatchError, match=r"pyod 1\.0\.0"):
        artifacts.unpack(raw)


def test_scores_stay_finite_when_the_model_s_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = trained("HBOS")

    def wild(algorithm: str, model: object, ready: FloatArray) -> FloatArray:
        return np.array([np.nan, np.inf, -np.inf])

    monkeypatch.setattr("oddtide.adapters.pyod.detectors.decide", wild)
    scores = score(detector, table(3))
    assert np.isfinite(scores.score).all()
    assert (scores.score[0], scores.score[2]) == (0.0, 0.0)
    assert scores.p_value[1] < 0.02


def test_pyod_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with catalogue.quiet():
        sys.stdout.write("please install everything first")
    assert capsys.readouterr().out == ""


def test_threads_that_score_at_once_leave_standard_output_and_warnings_as_they_were() -> None:
    before, filters = sys.stdout, list(warnings.filters)
    inside, last = threading.Event(), threading.Event()

    def first() -> None:
        with catalogue.quiet():
            inside.set()
            last.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    with catalogue.quiet():
        last.set()
        thread.join(10)
    assert sys.stdout is before
    assert list(warnings.filters) == filters


@pytest.mark.parametrize("name", ["IForest", "ECOD"])
def test_a_row_on_which_the_model_fails_is_judged_as_without_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    detector, values = trained(name), np.array([[5.0, -300.0], [9.0, 0.0], [5.1, -290.0]])
    sound = score(detector, values)
    model = detector._artifact.model  # type: ignore[union-attr]  # trained just above
    decide = type(model).decision_function

    def fails(self: object, ready: FloatArray) -> FloatArray:
        if (ready > 2.0).any():
            raise RuntimeError("odd row")
        found: FloatArray = decide(self, ready)
        return found

    monkeypatch.setattr(type(model), "decision_function", fails)
    scores = score(detector, values)
    assert (scores.seen[1], scores.score[1], scores.p_value[1]) == (0, 0.0, 1.0)
    assert np.array_equal(scores.score[[0, 2]], sound.score[[0, 2]])


def test_auto_is_no_more_than_what_its_members_say() -> None:
    """The tails are ECOD's own; the core finds what no feature by itself shows."""
    from pyod.models.ecod import ECOD

    rng = np.random.default_rng(3)
    rows = np.column_stack([rng.normal(size=300), rng.exponential(size=300)])
    tails = auto._Tails()
    tails.fit(rows)
    ours, theirs = tails.decision_function(rows), ECOD().fit(rows).decision_scores_
    np.testing.assert_allclose(ours, theirs, atol=1e-9)

    first = rng.normal(size=400)
    together = np.column_stack([first, first + 0.01 * rng.normal(size=400)])
    raw = train("auto", {}, together, FEATURES)[0]
    model = artifacts.unpack(raw).model
    odd, plain = artifacts.unpack(raw).prepare(np.array([[1.0, -1.0], [1.0, 1.0]]))
    assert model.decision_function(odd[None])[0] > model.decision_function(plain[None])[0] + 1.0


def test_auto_leaves_a_covariance_alone_that_the_rows_do_not_determine() -> None:
    rows = np.random.default_rng(4).normal(size=(60, 20))
    model = auto.Auto().fit(rows)
    again = auto.Auto().fit(rows)
    far = np.full((1, 20), 9.0)
    assert not any(isinstance(member, auto._Core) for _, member, _ in model._members)
    assert model.decision_function(far)[0] >= model.decision_function(rows).max()
    assert np.array_equal(model.decision_function(rows), again.decision_function(rows))
