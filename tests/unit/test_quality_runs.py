"""``make bench-quality`` from files to tables, on small data made here."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import discoveries, folding
from benchmarks.quality.__main__ import main
from benchmarks.quality.cases import DATA_SETS, Case, data_folder, load_cases
from benchmarks.quality.folding import (
    Folded,
    LooksAheadError,
    check_causality,
    fold,
    ranked,
    ranked_alarms,
    split_names,
)
from benchmarks.quality.nulls import ALPHAS, KINDS, measure_null
from benchmarks.quality.report import as_values, nulls_table, quality_table
from benchmarks.quality.runs import Result, Task, run_all, run_task
from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.detection.ewma import Ewma
from oddtide.domain.detection.ports import Detector, DetectorSpec, Rows, Scores
from oddtide.domain.errors import ConfigurationError

_ROWS = 1_200
_SPAN = (900, 919)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One or two small files of each data set, laid out as the real ones; all jump on the rows 900 to 919."""
    folder = tmp_path_factory.mktemp("labelled")
    for name in ("nab/data/made", "ucr", "skab/valve", "smap_msl", "adbench"):
        (folder / name).mkdir(parents=True)
    values = np.random.default_rng(1).normal(size=(_ROWS, 3))
    values[_SPAN[0] : _SPAN[1] + 1] += 12.0
    truth = np.zeros(_ROWS, dtype=np.uint8)
    truth[_SPAN[0] : _SPAN[1] + 1] = 1
    moments = np.datetime64("2024-01-01", "s") + np.arange(_ROWS) * 60
    times: list[str] = np.datetime_as_string(moments, unit="s").tolist()
    for i in range(2):
        _table(folder / f"nab/data/made/{i}.csv.gz", times, values[:, i : i + 1], ["value"], truth)
        np.savez(folder / f"ucr/{i}.npz", value=values[:, i].astype(np.float32), label=truth)
    windows = {f"made/{i}.csv": [[f"{times[_SPAN[0]]}.000000", f"{times[_SPAN[1]]}.000000"]] for i in range(2)}
    (folder / "nab/windows.json").write_text(json.dumps(windows))
    index = {str(i): {"train_end": 600, "anomaly": list(_SPAN), "n": _ROWS} for i in range(2)}
    (folder / "ucr/index.json").write_text(json.dumps(index))
    _table(folder / "skab/valve/0.csv.gz", times, values, ["Pressure", "Current", "Flow"], truth)
    np.savez(folder / "smap_msl/A-1.npz", train=values[:600], test=values[600:], label=truth[600:])
    np.savez(folder / "adbench/1_made.npz", X=values, y=truth)
    return folder


def _table(
    path: Path, times: Sequence[str], values: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    names: list[str], truth: np.ndarray[tuple[int], np.dtype[np.uint8]],
) -> None:  # fmt: skip
    lines = [",".join(["timestamp", *names, "label"])]
    lines += [f"{t},{','.join(map(str, v))},{y}" for t, v, y in zip(times, values.tolist(), truth, strict=True)]
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines))


def quick(rows: int = 400) -> Case:
    values = np.random.default_rng(2).normal(size=(rows, 1))
    return Case("made", ("value",), values, np.zeros(rows, dtype=np.bool_), ())


# --- data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data_set", "cases", "scored_from"), [
    ("nab", 2, 0), ("ucr", 2, 600), ("skab", 1, 400), ("smap_msl", 1, 600), ("adbench", 3, 0),
])  # fmt: skip
def test_every_layout_is_read(data: Path, data_set: str, cases: int, scored_from: int) -> None:
    found = list(load_cases(data_set, data))
    assert len(found) == cases
    for case in found:
        assert (len(case), case.scored_from, int(case.truth.sum())) == (_ROWS, scored_from, 20)
        assert case.values.shape == (_ROWS, len(case.features))
    assert len({case.name for case in found}) == cases
    assert (found[0].times is not None) == (data_set in {"nab", "skab"})


def test_the_label_is_no_feature(data: Path) -> None:
    assert next(load_cases("skab", data)).features == ("Pressure", "Current", "Flow")


def test_a_table_without_order_is_shuffled_alike_in_every_run(data: Path) -> None:
    first, second = list(load_cases("adbench", data)), list(load_cases("adbench", data))
    assert all(np.array_equal(a.values, b.values) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0].values, first[1].values)


def test_a_limit_takes_fewer_files(data: Path) -> None:
    assert len(list(load_cases("ucr", data, 1))) == 1


def test_where_the_data_is_missing_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no labelled data in .*--data"):
        data_folder(tmp_path)


# --- folding ----------------------------------------------------------------------------------------------------------


def test_names_are_told_from_parameters() -> None:
    assert split_names("ewma:alpha=0.1,limit=4, half_space_trees,river:HalfSpaceTrees:n_trees=5,height=4") == [
        "ewma:alpha=0.1,limit=4",
        "half_space_trees",
        "river:HalfSpaceTrees:n_trees=5,height=4",
    ]


def test_surprise_ranks_and_scores_break_ties() -> None:
    folded = Folded(
        np.array([0.0, 9.0, 5.0, 1e300, 2.0]),
        np.array([1.0, 0.1, 1e-4, 1e-4, 1e-300]),
        np.array([1.0, 1.0, 1e-4, 1e-4, 1.0]),
        np.ones(5, dtype=np.bool_),
        np.full(5, np.nan),
        0.0,
    )
    assert ranked(folded).argsort().tolist() == [0, 1, 2, 3, 4]
    assert ranked(folded)[0] == 0.0
    assert ranked_alarms(folded).argsort(kind="stable").tolist() == [0, 1, 4, 2, 3]
    assert (ranked_alarms(folded)[[0, 1, 4]] == 0.0).all()
    assert ranked_alarms(folded, "score").argsort().tolist() == [0, 4, 2, 1, 3]
    assert ranked(folded, "score").argsort().tolist() == [0, 4, 2, 1, 3]


def test_a_case_is_folded_as_detect_would() -> None:
    folded = fold("ewma", quick())
    assert folded.p_value.min() < 0.1
    assert not folded.mature[0]
    assert folded.mature[-1]
    assert (folded.p_value[~folded.mature] == 1.0).all()


def test_rules_for_alarms_leave_p_values_alone() -> None:
    plain, ruled = fold("ewma", quick()), fold("ewma", quick(), AlarmRules(refractory=50))
    assert np.array_equal(plain.p_value, ruled.p_value)
    assert np.array_equal(plain.alarm_p, plain.p_value)
    assert 0 < (ruled.alarm_p < 1.0).sum() < (plain.alarm_p < 1.0).sum() / 5
    check_causality("ewma", quick(), ruled, AlarmRules(refractory=50))


def test_what_is_refused_ranks_last() -> None:
    case = quick()
    case.values[300] = np.nan  # one value is required
    folded = fold("ewma", case)
    assert (folded.score[300], folded.p_value[300]) == (0.0, 1.0)
    assert folded.score[301:].max() > 0.0


def test_several_detectors_on_one_stream() -> None:
    one, other, both = (fold(name, quick()).p_value for name in ("ewma", "half_space_trees", "ewma+half_space_trees"))
    assert not np.array_equal(both, one)
    assert not np.array_equal(both, other)
    assert (both[-50:] >= np.minimum(one, other)[-50:] ** 2).all()  # where both are mature: at most twice the surprise


# --- looking ahead ----------------------------------------------------------------------------------------------------


class Clairvoyant(Ewma):
    """Adds the largest value of the batch to each score, those to come included."""

    def advance(self, rows: Rows) -> Scores:
        scores = super().advance(rows)
        return replace(scores, score=scores.score + np.abs(rows.values).max())


def build(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    return Clairvoyant.from_spec(spec, features)


@pytest.fixture
def clairvoyant(monkeypatch: pytest.MonkeyPatch) -> None:
    toolkit = replace(folding._toolkit(), detector=build)
    monkeypatch.setattr(folding, "_toolkit", lambda: toolkit)


@pytest.mark.parametrize("detector", ["ewma", "half_space_trees"])
def test_our_detectors_do_not_look_ahead(detector: str) -> None:
    check_causality(detector, quick(), fold(detector, quick()))


@pytest.mark.usefixtures("clairvoyant")
def test_one_that_looks_ahead_is_named(data: Path) -> None:
    with pytest.raises(LooksAheadError, match="ewma looks ahead: the score of row 0 of made"):
        check_causality("ewma", quick(), fold("ewma", quick()))
    result = run_task(Task("ewma", "ucr", data))
    assert "looks ahead" in result.problem
    assert result.figures == {}


@pytest.mark.usefixtures("clairvoyant")
def test_and_the_command_fails(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "ucr", "--detectors", "ewma", "--data", str(data), "--jobs", "1"]) == 1
    captured = capsys.readouterr()
    assert "failed" in captured.out
    assert captured.err.rstrip().splitlines()[-1].startswith("ewma on ucr: ewma looks ahead")


# --- runs and tables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "figure", "least"), [
    ("nab", "nab_best", 90.0), ("ucr", "ucr", 1.0), ("skab", "skab", 0.3), ("smap_msl", "smap_msl", 0.3),
    ("adbench", "roc_auc", 0.9),
])  # fmt: skip
def test_plain_jumps_are_found(data: Path, part: str, figure: str, least: float) -> None:
    result = run_task(Task("ewma", part, data))
    assert result.problem == ""
    assert result.figures[figure] >= least
    assert f"{figure}_by_score" in result.figures
    assert result.readings == result.files * _ROWS


def test_a_table_is_trained_on_and_scored_whole(data: Path) -> None:
    found = run_task(Task("pyod:HBOS", "adbench_batch", data, limit=1))
    assert (found.problem, found.files, found.readings) == ("", 1, _ROWS)
    assert found.figures["roc_auc"] > 0.95
    assert "isn't trained in batch" in run_task(Task("ewma", "adbench_batch", data)).problem


def test_a_null_has_its_share_of_small_p_values() -> None:
    found = measure_null("ewma", "independent", series=20)
    assert found.readings == 20_000
    assert 18_000 < found.mature < 20_000
    assert 0.003 < found.realised[1e-2] < 0.03
    assert [found.realised[alpha] for alpha in ALPHAS] == sorted(found.realised.values(), reverse=True)
    assert found.power["spike"] > 0.7
    assert found.power["shift"] > 0.05
    assert found.power["burst"] > 0.3
    assert 0.93 < found.coverage < 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_nulls_spread_as_they_say(kind: str) -> None:
    null = KINDS[kind]
    values = null.draw(np.random.default_rng(null.seed), 1_000, 200)
    again = null.draw(np.random.default_rng(null.seed), 1_000, 200)
    assert np.array_equal(values, again)
    season = 3.0 / math.sqrt(2.0) if kind == "seasonal" else 0.0
    assert values.std() == pytest.approx(math.hypot(null.sigma, season), rel=0.1)


def test_what_a_detector_raises_is_its_own_problem(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Detector:
        raise ZeroDivisionError("by zero")

    unknown = run_task(Task("ewmaa", "ucr", data))
    assert "no detector 'ewmaa'" in unknown.problem
    assert "is trained before" in run_task(Task("pyod:ECOD", "ucr", data)).problem
    toolkit = replace(folding._toolkit(), detector=fails)
    monkeypatch.setattr(folding, "_toolkit", lambda: toolkit)
    assert run_task(Task("ewma", "ucr", data)).problem == "ZeroDivisionError('by zero')"


def test_a_file_that_is_refused_counts_as_silence(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, build_one = iter(range(100)), folding._toolkit().detector

    def refuses_the_second(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
        if next(calls) == 3:  # after the first file's head, itself, and its other future
            raise ConfigurationError("too many features", remedy="Name fewer.")
        return build_one(spec, features)

    toolkit = replace(folding._toolkit(), detector=refuses_the_second)
    monkeypatch.setattr(folding, "_toolkit", lambda: toolkit)
    result = run_task(Task("ewma", "ucr", data))
    assert (result.problem, result.files, result.refused, result.figures["ucr"]) == ("", 2, 1, 0.5)
    assert "0.500 (1 of 2 refused)" in quality_table([result])


def test_progress_is_told_task_by_task(data: Path) -> None:
    lines: list[str] = []
    results = run_all([Task("ewma", "ucr", data, limit=1), Task("ewma", "nulls", data, "seasonal", 2)], 1, lines.append)
    assert [result.task.part for result in results] == ["ucr", "nulls"]
    assert lines[0].startswith("ewma on ucr: 1,200 readings folded")
    assert lines[1].startswith("ewma on nulls (seasonal): 2,000 readings folded")


def test_tables_have_a_line_a_detector() -> None:
    there = Path()
    results = [
        Result(Task("ewma", "nab", there), {"nab": 40.26, "nab_best": math.nan, "nab_by_score": 12.0}, 2, 2_000, 0.5),
        Result(
            Task("ewma", "nulls", there, "seasonal"),
            {"p<=0.01": 0.009, "power, spike": 0.5, "coverage": 0.94},
            0,
            1_000,
            0.0,
        ),
        Result(Task("river:GaussianScorer", "nab", there), problem="too slow"),
    ]
    header, _, ewma, by_score, river, _ = quality_table(results).splitlines()
    assert header.startswith("| detector | ranked by | NAB, threshold from other folds | (best threshold) | readings/s")
    assert ewma.startswith("| `ewma` | p-value | 40.3 | - | 4,000 | - | 72 |")
    assert by_score.startswith("| `ewma` | score | 12.0 | - |  |")
    assert river.startswith("| `river:GaussianScorer` | p-value | failed | failed | - | - |")
    assert (
        nulls_table(results).splitlines()[2]
        == "| `ewma` | seasonal | 9.0e-03 | - | - | - | 0.500 / - / - | 0.940 | - |"
    )
    assert [value.get("nab_best") for value in as_values(results)] == [None, None, None]


def test_memory_of_what_cannot_be_built_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> Detector:
        raise ConfigurationError("no", remedy="none")

    toolkit = replace(folding._toolkit(), detector=refuses)
    monkeypatch.setattr(folding, "_toolkit", lambda: toolkit)
    assert quality_table([Result(Task("ewma", "nab", Path()))]).splitlines()[2].endswith("| - | - |")


def test_the_command_writes_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--only", "skab,nulls", "--limit", "1", "--detectors", "ewma", "--output", "json", "--jobs", "1"]
    assert main([*options, "--data", str(data)]) == 0
    parts = [value["part"] for value in json.loads(capsys.readouterr().out)]
    assert parts == [*["nulls"] * 4, "skab"]


def test_rules_for_alarms_are_read_and_reported(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--only", "nab", "--detectors", "ewma", "--output", "json", "--jobs", "1", "--data", str(data)]
    assert main([*options, "--alarms", "refractory=100"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["alarms"]["refractory"] == 100
    for wrong in ("refractory=-1", "refraktory=100"):
        with pytest.raises(SystemExit):
            main([*options, "--alarms", wrong])
        assert "refra" in capsys.readouterr().err


def test_an_unknown_part_and_missing_data_are_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="No part is called yahoo; there are nab"):
        main(["--only", "nab,yahoo"])
    with pytest.raises(SystemExit, match="--data"):
        main(["--only", ",".join(DATA_SETS), "--data", str(tmp_path)])


def test_few_alarms_are_false_and_the_shipped_rule_is_the_one_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(discoveries, "SERIES", 50)
    monkeypatch.setattr(discoveries, "_BATCH", 5_000)
    monkeypatch.setattr(discoveries, "INJECTED", 0.01)
    monkeypatch.setattr(discoveries, "STREAMS", {"independent": KINDS["independent"]})
    found, readings, _ = discoveries.measure_discoveries("ewma", "independent", 600)
    assert readings == 30_000
    assert found["shipped"].false < 0.15
    assert found["shipped"].power > 0.5
    assert found["p <= 1e-06"].alarms < found["shipped"].alarms
    assert found["BH, windows of 1,000"].power > found["p <= 1e-06"].power
    options = ["--only", "fdr", "--detectors", "ewma", "--jobs", "1", "--limit", "250"]
    monkeypatch.setattr("benchmarks.quality.__main__._MADE", {"fdr": ["independent"]})
    assert main(options) == 0
    assert "| `ewma` | independent | 0." in capsys.readouterr().out
