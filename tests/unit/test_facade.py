"""The facade: every kind of data, one pipeline."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oddtide
from oddtide.adapters.files.rows import RefusedRow
from oddtide.config.facade.plans import make_plan, parse_detector, parse_detectors
from oddtide.config.facade.ranking import average_precision, roc_auc
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.errors import (
    ConfigurationError,
    NotFoundError,
    StorageUnavailableError,
    UntrustedArtifactError,
    UsageError,
)

T0 = datetime(2024, 1, 1, tzinfo=UTC)


def spiky(rows: int = 300, spike: int = 250) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.random.default_rng(5).normal(0, 1, rows)
    values[spike] = 40
    return values


def moments(rows: int) -> list[str]:
    return [(T0 + timedelta(minutes=i)).isoformat() for i in range(rows)]


def as_mappings(values: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    return [{"series": "a", "time": t, "value": v} for t, v in zip(moments(len(values)), values.tolist(), strict=True)]


def as_file(values: np.ndarray[Any, Any]) -> io.BytesIO:
    rows = [f"{t},{v!r}\n" for t, v in zip(moments(len(values)), values.tolist(), strict=True)]
    return io.BytesIO(f"time,value\n{''.join(rows)}".encode())


class Frame:
    """What a data frame looks like from outside."""

    def __init__(self, **columns: Any) -> None:
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, oddtide; print(dir(oddtide)); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, modules = done.stdout.splitlines()
    assert "detect_anomalies" in names
    assert not {"numpy", "numba", "click", "kafka", "river", "pydantic"} & set(modules.split())


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'detect'"):
        _ = oddtide.detect  # that is the point


@pytest.mark.parametrize(
    "make",
    [
        lambda v: v,
        lambda v: v.tolist(),
        lambda v: iter(v.tolist()),
        lambda v: v.reshape(-1, 1),
        lambda v: {"time": moments(len(v)), "value": v},
        lambda v: {"time": np.array(moments(len(v)), dtype="datetime64[us]"), "value": v.tolist()},
        lambda v: Frame(ts=[T0 + timedelta(minutes=i) for i in range(len(v))], reading=v),
        as_mappings,
        lambda v: ({"when": t, "x": x} for t, x in zip(moments(len(v)), v, strict=True)),
        as_file,
    ],
    ids=["array", "list", "iterator", "column", "columns", "datetimes", "frame", "readings", "mappings", "file"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:no explicit representation of timezones:UserWarning")
def test_every_kind_of_data_gives_the_same_scores(make: Any) -> None:
    values = spiky()
    data = make(values)
    found = oddtide.detect_anomalies(data, all=True, time="when" if isinstance(data, Generator) else "")
    expected = oddtide.detect_anomalies(values, all=True)
    assert found.tally.scored == len(values)
    assert found.score.tolist() == expected.score.tolist()
    assert found.p_value.tolist() == expected.p_value.tolist()
    assert np.flatnonzero(found.is_anomaly).tolist() == [250]


def test_detections_are_a_sequence_and_columns() -> None:
    found = oddtide.detect_anomalies(spiky(), name="pump")
    assert (len(found), found.rows.tolist(), found.series) == (1, [250], ["pump"])
    verdict = found[0]
    assert verdict.value == found[-1].value == 40.0 == found.value[0]
    assert "sigma above" in verdict.reason
    assert found[:1] == [verdict] == list(found)
    assert str(found.time[0]).startswith("2000-01-01T00:04:10")
    assert set(found.to_dict()) >= {"id", "expected", "lower", "upper", "maturity"}
    assert found.to_dicts()[0]["value"] == 40.0
    assert "300 readings" in repr(found)
    assert "1 anomalies" in str(found)
    with pytest.raises(IndexError):
        found[1]


def test_without_detections_columns_are_empty() -> None:
    found = oddtide.detect_anomalies([1.0] * 50)
    assert (len(found), found.rows.tolist(), found.score.tolist(), found.series) == (0, [], [], [])
    assert oddtide.detect_anomalies(iter(())).tally.readings == 0


def test_nothing_is_dropped_in_silence() -> None:
    values = spiky()
    values[10], values[20] = np.inf, np.nan
    found = oddtide.detect_anomalies(values, all=True)
    assert found.tally.readings == 300
    assert found.tally.scored + sum(found.tally.rejected.values()) + sum(found.tally.skipped.values()) == 300
    assert [(row.line, row.reason) for row in found.rejected if row.reason == "not_finite"] == [(10, "not_finite")]


def test_unreadable_times_are_rejected() -> None:
    found = oddtide.detect_anomalies({"time": ["2024-01-01", "soon"], "value": [1, 2]}, all=True)
    assert [(row.line, row.reason) for row in found.rejected] == [(1, "invalid_time")]
    stamps = np.array(["2024-01-01", "NaT"], dtype="datetime64[s]")
    assert oddtide.detect_anomalies({"time": stamps, "value": [1, 2]}).tally.rejected == {"invalid_time": 1}


def test_rows_of_iterables_that_do_not_fit_are_rejected() -> None:
    numbers = oddtide.detect_anomalies(iter([1.0, "x", [1, 2], float("inf"), float("nan"), 2.0]))
    assert [row.reason for row in numbers.rejected] == [
        "not_a_number", "wrong_columns", "not_finite", "missing_feature",
    ]  # fmt: skip
    mappings = oddtide.detect_anomalies(iter([{"value": 1}, 5, {"value": {1, 2}}, {"value": object}]))
    assert mappings.tally.scored == 1
    assert mappings.rejected[0].reason == "not_an_object"
    others = oddtide.detect_anomalies(iter([{"a": 1, "b": 2}, 5, {"a": "x"}]))
    assert [row.reason for row in others.rejected] == ["not_an_object", "not_a_number"]


def test_features_have_names() -> None:
    block = np.random.default_rng(1).normal(size=(300, 3))
    found = oddtide.detect_anomalies(block, detector="half_space_trees", all=True)
    assert set(found[0].features) == {"f1", "f2", "f3"}
    named = oddtide.detect_anomalies(block, features=["a", "b", "c"], all=True)
    assert set(named[0].features) == {"a", "b", "c"}
    readings = [{"time": i, "features": {"a": float(i), "b": 1.0}} for i in range(5)]
    assert set(oddtide.detect_anomalies(readings, all=True)[0].features) == {"a", "b"}


def test_labels_and_series_are_carried() -> None:
    data = {"time": moments(3), "who": ["a", "b", "a"], "x": [1, 2, 3], "site": ["n", "s", "n"]}
    found = oddtide.detect_anomalies(data, series="who", value="x", labels=["site"], all=True)
    assert [(v.series, v.labels) for v in found] == [("a", {"site": "n"}), ("b", {"site": "s"}), ("a", {"site": "n"})]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: oddtide.detect_anomalies(5), "int is no data"),
        (lambda: oddtide.detect_anomalies(np.zeros((2, 2, 2))), "3 dimensions"),
        (lambda: oddtide.detect_anomalies(np.array(["a"])), "is no data"),
        (lambda: oddtide.detect_anomalies({"value": [1], "time": [1, 2]}), "rows"),
        (lambda: oddtide.detect_anomalies({"value": np.array(["x"]), "b": [1]}, value="value"), "more than numbers"),
        (lambda: oddtide.detect_anomalies(np.zeros((5, 2)), features=["a"]), "2 columns"),
        (lambda: oddtide.detect_anomalies([1.0], features="a"), "Give a list"),
        (lambda: oddtide.detect_anomalies([1.0], detector="pyod:IForest"), "trained before"),
        (lambda: oddtide.detect_anomalies([1.0], detector=[]), "No detector"),
        (lambda: oddtide.detect_anomalies([1.0], p_value=2.0), "p_value is 2.0"),
        (lambda: oddtide.process_streaming([1.0], batch=0), "batch is 0"),
        (lambda: oddtide.train_model([1.0, 2.0], "ewma"), "learns as it goes"),
        (lambda: oddtide.train_model(["x"]), "no reading"),
        (lambda: oddtide.train_model([1.0]), "too few"),
        (lambda: oddtide.compare_algorithms([1.0] * 9, train=2.0), "train is 2.0"),
        (lambda: oddtide.compare_algorithms([1.0] * 9, [0, 1], ["ewma"]), "2 labels for 9 rows"),
        (lambda: oddtide.compare_algorithms([{"value": "x"}]), "no reading"),
        (lambda: oddtide.monitor_health([1.0], config="x.toml"), "Both data and config"),
    ],
)
def test_wrong_calls_say_what_and_how(call: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        call()


def test_streaming_yields_a_verdict_before_it_asks_for_the_next_reading() -> None:
    asked: list[int] = []

    def readings() -> Iterator[float]:
        for i, value in enumerate(spiky().tolist()):
            asked.append(i)
            yield value

    verdicts = oddtide.process_streaming(readings())
    assert not asked
    next(verdicts)
    assert asked == [0]
    next(verdicts)
    assert asked == [0, 1]


def test_micro_batches_give_the_same_verdicts() -> None:
    values = spiky()
    single = list(oddtide.process_streaming(values.tolist()))
    batched = list(oddtide.process_streaming(values.tolist(), batch=64))
    assert single == batched
    assert [v.offset for v in oddtide.process_streaming(values.tolist(), batch=64, all=False)] == [250]


def test_streaming_tells_about_rejections(caplog: pytest.LogCaptureFixture) -> None:
    readings = [{"value": 1}, {"value": "x"}]
    with caplog.at_level(logging.WARNING, "oddtide"):
        assert len(list(oddtide.process_streaming(readings))) == 1
    assert "reading 1 rejected: not_a_number" in caplog.text
    told: list[RefusedRow] = []
    list(oddtide.process_streaming(readings, on_rejected=told.append))
    assert [row.line for row in told] == [1]


def test_detectors_are_parsed() -> None:
    assert parse_detector("ewma:alpha=0.1, tails=gaussian") == DetectorSpec("ewma", {"alpha": 0.1, "tails": "gaussian"})
    assert parse_detector("river:HalfSpaceTrees:n_trees=10,limits=[1, 2]") == DetectorSpec(
        "river:HalfSpaceTrees", {"n_trees": 10, "limits": [1, 2]}
    )
    assert [spec.name for spec in parse_detectors(["ewma", "ewma:alpha=0.5"])] == ["ewma", "ewma-2"]
    with pytest.raises(ConfigurationError):
        oddtide.detect_anomalies([1.0], detector="nonsense")


def test_a_threshold_replaces_the_p_value_unless_both_are_given() -> None:
    assert make_plan(["value"]).threshold.p_value == 1e-6
    assert make_plan(["value"], threshold=3.0).threshold.p_value == 0.0
    both = make_plan(["value"], threshold=3.0, p_value=0.01).threshold
    assert (both.score, both.p_value) == (3.0, 0.01)


def test_ranking_measures_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    truth = rng.random(500) < 0.1
    scores = np.round(rng.normal(size=500) + truth, 1)
    assert roc_auc(truth, scores) == pytest.approx(metrics.roc_auc_score(truth, scores))
    assert average_precision(truth, scores) == pytest.approx(metrics.average_precision_score(truth, scores))
    assert np.isnan(roc_auc(np.zeros(3, np.bool_), np.ones(3)))
    assert np.isnan(average_precision(np.zeros(3, np.bool_), np.ones(3)))


def labelled(rows: int = 600) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(9)
    block, truth = rng.normal(size=(rows, 2)), np.zeros(rows, np.int64)
    truth[rng.choice(np.arange(rows // 2, rows), 20, replace=False)] = 1
    block[truth == 1] += 8
    return block, truth


def test_comparison_measures_every_detector_on_the_same_readings() -> None:
    block, truth = labelled()
    detectors = ["ewma", "half_space_trees:window=50", "pyod:HBOS"]
    result = oddtide.compare_algorithms(block, truth, detectors, p_value=0.02)
    assert result.anomalies == 20
    assert result.compared <= 420
    assert [each.detector for each in result.contenders] == ["ewma", "half_space_trees:window=50", "pyod:HBOS"]
    assert result.best.roc_auc > 0.9
    ewma = result.contenders[0]
    assert ewma.recall > 0.5
    assert ewma.precision > 0.5
    table = str(result)
    assert "20 labelled anomalies" in table
    assert "ROC-AUC" in table


def test_comparison_without_labels_shows_agreement_and_has_no_best() -> None:
    block, _ = labelled()
    result = oddtide.compare_algorithms(block, detectors=["ewma", "ewma:alpha=0.05"])
    assert result.anomalies is None
    assert 0.0 <= result.contenders[0].agreement <= 1.0
    assert "no labels" in str(result)
    with pytest.raises(UsageError, match="no labels"):
        _ = result.best


def test_labels_may_be_a_column() -> None:
    block, truth = labelled()
    rows = "".join(f"{a},{b},{t}\n" for (a, b), t in zip(block.tolist(), truth.tolist(), strict=True))
    file = io.BytesIO(f"a,b,label\n{rows}".encode())
    assert oddtide.compare_algorithms(file, "label", ["ewma"]).anomalies == 20


KEY = "sixteen bytes or more"


def test_a_trained_model_detects_and_survives_its_file(tmp_path: Path) -> None:
    block, truth = labelled()
    model = oddtide.train_model(block[:300], "HBOS", n_bins=12)
    assert (model.rows, model.features, model.parameters) == (300, ("f1", "f2"), {"n_bins": 12})
    found = model.detect(block[300:], p_value=0.01, all=True)
    assert roc_auc(truth[300:] == 1, found.score) > 0.9
    path = tmp_path / "hbos.model"
    model.save(path, key=KEY)
    again = oddtide.TrainedModel.load(path, key=KEY)
    assert again.version == model.version
    assert again.detect(block[300:], all=True).score.tolist() == found.score.tolist()
    with pytest.raises(UsageError, match="2 features are named"):
        model.detect(block[:, 0])
    with pytest.raises(UsageError, match="the model knows value"):
        oddtide.train_model(block[:, 0], "HBOS").detect(block)


def test_model_files_are_refused_without_their_signature(tmp_path: Path) -> None:
    path = tmp_path / "a.model"
    oddtide.train_model(labelled()[0][:100], "HBOS").save(path, key=KEY)
    with pytest.raises(UntrustedArtifactError, match="no signature"):
        oddtide.TrainedModel.load(path, key=KEY + "!")
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(UntrustedArtifactError):
        oddtide.TrainedModel.load(path, key=KEY)
    with pytest.raises(UsageError, match="5 bytes"):
        oddtide.TrainedModel.load(path, key="short")
    with pytest.raises(NotFoundError):
        oddtide.TrainedModel.load(tmp_path / "none", key=KEY)
    with pytest.raises(StorageUnavailableError):
        oddtide.TrainedModel.load(tmp_path, key=KEY)
    with pytest.raises(StorageUnavailableError):
        oddtide.train_model(labelled()[0][:100], "HBOS").save(tmp_path / "no" / "a", key=KEY)


def test_an_unknown_algorithm_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        oddtide.train_model(labelled()[0], "IsolationForrest")


def test_health_of_data_profiles_it_and_finds_drift() -> None:
    rng = np.random.default_rng(4)
    shifted = np.concatenate([rng.normal(0, 1, 1500), rng.normal(8, 1, 1500)])
    health = oddtide.monitor_health({"time": np.arange(3000) + 1_700_000_000, "value": shifted})
    assert health.data is not None
    profile = health.data.profiles["input"]["value"]
    assert profile.count == 3000
    assert health.data.drifts
    assert not health.healthy
    assert any("drift of value" in problem for problem in health.problems)
    assert "3,000 readings" in str(health)


def test_healthy_data_is_healthy_and_flaws_are_listed() -> None:
    assert oddtide.monitor_health(np.random.default_rng(0).normal(size=500)).healthy
    block = np.column_stack([np.ones(50), np.full(50, np.nan), np.arange(50)])
    problems = oddtide.monitor_health(block).problems
    assert "input.f1: constant" in problems
    assert "input.f2: 50 missing" in problems
    assert "no value" in str(oddtide.monitor_health(block))
    refused = oddtide.monitor_health(iter([1.0, "x"]))
    assert "1 rejected: not_a_number" in refused.problems
