"""Names to detectors, several detectors to one verdict, verdicts to words."""

from __future__ import annotations

import subprocess
import sys

import numba
import numpy as np
import pytest

from oddtide.domain.detection import (
    Detector,
    DetectorSpec,
    FeatureVerdict,
    Scores,
    Verdict,
    build_detector,
    combine,
    known_detectors,
    reason,
)
from oddtide.domain.detection.ewma import Ewma
from oddtide.domain.detection.settings import nearest, read_settings
from oddtide.domain.errors import ConfigurationError, UsageError
from oddtide.domain.statistics.kernels import kernel


def test_built_ins_are_built() -> None:
    assert known_detectors() == (
        "discord",
        "ewma",
        "half_space_trees",
        "loda",
        "mahalanobis",
        "random_cut_forest",
        "range",
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


def scores(score: float, p: float, seen: int, *, expected: float | None = None) -> Scores:
    column = None if expected is None else np.array([[expected]])
    return Scores(
        np.array([score]), np.array([p]), np.array([[score]]), np.array([seen]), column, column, column
    )  # fmt: skip


def test_one_detector_is_not_corrected() -> None:
    only = scores(4.0, 0.02, 50)
    combined = combine([only], [30])
    assert combined.scores is only
    assert (combined.driver[0], combined.needed[0]) == (0, 30)


def test_the_smallest_p_value_drives_and_pays_for_being_chosen() -> None:
    combined = combine([scores(4.0, 0.02, 50, expected=1.0), scores(0.9, 0.001, 400), scores(0, 1.0, 3)], [30, 300, 9])
    assert combined.driver.tolist() == [1]
    assert combined.needed.tolist() == [300]
    assert combined.scores.p_value[0] == pytest.approx(0.002)
    assert combined.scores.score[0] == 0.9
    assert combined.scores.expected is not None
    assert np.isnan(combined.scores.expected[0, 0])


def test_while_none_is_mature_the_first_speaks() -> None:
    combined = combine([scores(0, 1.0, 2), scores(0, 1.0, 2)], [30, 5])
    assert (combined.driver[0], combined.needed[0], combined.scores.p_value[0]) == (0, 30, 1.0)
    assert combined.scores.expected is None


def test_nothing_to_combine_is_refused() -> None:
    with pytest.raises(UsageError):
        combine([], [])
    with pytest.raises(UsageError):
        combine([scores(1, 1, 1)], [1, 2])


def verdict(**fields: object) -> Verdict:
    basis: dict[str, object] = {
        "id": "1", "stream": "s", "series": "k", "time": "2026-01-01T00:00:00Z", "feature": "value", "value": 93.1,
        "score": 8.4, "p_value": 1.3e-16, "is_anomaly": True, "seen": 40, "needed": 200,
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
        ({"score": 0.987}, "value 93.1 scores 0.987, p 1.3e-16"),
        ({"value": None, "score": 0.0, "p_value": 1.0, "feature": "flow"}, "flow is missing, score 0, p 1"),
        (
            {
                "score": 10.0,
                "features": {
                    "value": FeatureVerdict(value=93.1, contribution=7.1),
                    "flow": FeatureVerdict(value=1.0, contribution=2.9),
                },
            },
            "value 93.1 scores 10, 71% of the score over 2 features, p 1.3e-16",
        ),
    ],
)
def test_a_verdict_is_put_in_words(fields: dict[str, object], line: str) -> None:
    assert reason(verdict(**fields)) == line


def test_a_detector_goes_by_its_label() -> None:
    assert DetectorSpec("ewma", label="slow").name == "slow"
    assert DetectorSpec("ewma").name == "ewma"
