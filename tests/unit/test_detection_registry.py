"""Names to detectors, several detectors to one verdict, verdicts to words."""

from __future__ import annotations

import subprocess
import sys

import numba
import pytest

from oddtide.domain.detection import (
    Detector,
    DetectorSpec,
    FeatureVerdict,
    Verdict,
    build_detector,
    known_detectors,
    reason,
)
from oddtide.domain.detection.auto import auto_detectors, expanded
from oddtide.domain.detection.ewma import Ewma
from oddtide.domain.detection.settings import nearest, read_settings
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.statistics.kernels import kernel


def test_built_ins_are_built() -> None:
    assert known_detectors() == (
        "counts",
        "discord",
        "ewma",
        "half_space_trees",
        "loda",
        "mahalanobis",
        "midas",
        "neighbours",
        "random_cut_forest",
        "range",
        "seasonal",
        "spot",
    )
    for name in known_detectors():
        assert isinstance(build_detector(DetectorSpec(name), ("a",), families={}), Detector)


def test_a_prefix_goes_to_its_family() -> None:
    made: list[str] = []

    def family(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
        made.append(spec.kind)
        return Ewma(features)

    build_detector(DetectorSpec("mine:Special"), ("a",), families={"mine": family})
    assert made == ["mine:Special"]


@pytest.mark.parametrize(
    ("kind", "says"),
    [("ewna", "Did you mean 'ewma'"), ("EWMA", "Did you mean 'ewma'"), ("rivr:LODA", "river:<Class>"), ("", "Known")],
)
def test_an_unknown_name_is_answered_with_the_nearest(kind: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        build_detector(DetectorSpec(kind), ("a",), families={"river": lambda spec, features: Ewma(features)})


def test_no_features_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no features"):
        build_detector(DetectorSpec("ewma"), (), families={})


def test_settings_are_read_into_dataclasses_only() -> None:
    with pytest.raises(TypeError):
        read_settings(DetectorSpec("ewma"), int)
    assert nearest("anything", []) == "Known: none."


def test_importing_detection_stays_light() -> None:
    heavy = ["numba", "river", "pyod", "sklearn", "scipy"]
    modules = "oddtide.domain.detection, oddtide.adapters.pyod, oddtide.adapters.river.models"
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_kernels_compile_where_no_folder_is_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    numba.njit(lambda x: x)(1.0)  # numba imports the rest of itself with its first compilation, by the real njit
    real = numba.njit

    def njit(*, nogil: bool, cache: bool = False) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(nogil=nogil)

    monkeypatch.setattr(numba, "njit", njit)

    def double(x: float) -> float:
        return 2.0 * x

    assert kernel(double)(4.0) == 8.0


def test_auto_is_expanded_into_what_it_stands_for() -> None:
    ewma, auto = DetectorSpec("ewma"), DetectorSpec("auto")
    assert expanded([ewma], 1) == (ewma,)
    assert expanded([auto], 1) == auto_detectors(1) != auto_detectors(2)
    assert expanded([auto], 2) == auto_detectors(2)
    slow = DetectorSpec(auto_detectors(1)[0].kind, {"slow": True})
    assert expanded([slow, auto], 1) == (slow, *auto_detectors(1)[1:])
    for features in (1, 2, 40):
        for spec in auto_detectors(features):
            assert spec.kind in known_detectors()


@pytest.mark.parametrize("spec", [DetectorSpec("auto", {"limit": 3}), DetectorSpec("auto", label="mine")])
def test_auto_takes_nothing(spec: DetectorSpec) -> None:
    with pytest.raises(ConfigurationError, match="auto was given") as refused:
        expanded([spec], 1)
    assert "recent_range" in str(refused.value.remedy)


def verdict(**fields: object) -> Verdict:
    basis: dict[str, object] = {
        "id": "1", "stream": "s", "series": "k", "time": "2026-01-01T00:00:00Z", "feature": "value", "value": 93.1,
        "score": 15.9, "own_score": 8.4, "p_value": 1.3e-16, "is_anomaly": True, "seen": 40, "needed": 200,
    }  # fmt: skip
    return Verdict(**{**basis, **fields})  # type: ignore[arg-type]  # a mapping of fields is not typed field by field


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"expected": 41.2, "lower": 30.1, "upper": 52.3, "model_version": "ewma/1-1a2b3c4d"},
            "value 93.1 is 8.4 sigma above the expected 41.2 (band 30.1 .. 52.3), p 1.3e-16",
        ),
        (
            {"expected": 141.2, "model_version": "ewma/1-1a2b3c4d"},
            "value 93.1 is 8.4 sigma below the expected 141.2, p 1.3e-16",
        ),
        (
            {"expected": 41.2, "lower": 30.1, "upper": 52.3, "model_version": "spot/1-1a2b3c4d"},
            "value 93.1 scores 8.4 where 41.2 was expected (band 30.1 .. 52.3), p 1.3e-16",
        ),
        (
            {"expected": 141.2, "maturity": 0.2},
            "value 93.1 scores 8.4 where 141.2 was expected, p 1.3e-16, warming up 40/200",
        ),
        ({"own_score": 0.987}, "value 93.1 scores 0.987, p 1.3e-16"),
        ({"value": None, "own_score": 0.0, "p_value": 1.0, "feature": "flow"}, "flow is missing, score 0, p 1"),
        (
            {
                "score": 10.0,
                "own_score": 4.2,
                "features": {
                    "value": FeatureVerdict(value=93.1, contribution=7.1),
                    "flow": FeatureVerdict(value=1.0, contribution=2.9),
                },
            },
            "value 93.1 scores 4.2, 71% of the score over 2 features, p 1.3e-16",
        ),
    ],
)
def test_a_verdict_is_put_in_words(fields: dict[str, object], line: str) -> None:
    assert reason(verdict(**fields)) == line


def test_a_detector_goes_by_its_label() -> None:
    assert DetectorSpec("ewma", label="slow").name == "slow"
    assert DetectorSpec("ewma").name == "ewma"
