"""``oddtide compare`` and ``compare_algorithms``: the same figures, as a table, JSON and a page of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import oddtide
from oddtide.config.cli import cli
from oddtide.config.facade.choosing import choose, split_names
from oddtide.config.facade.ranking import curve, rank_correlation
from oddtide.config.facade.trials import spans_of_series
from oddtide.config.facade.volume import vus_pr
from oddtide.domain.errors import UsageError
from tests.page import Page

HOSTILE = "<script>alert(1)</script>&\"'"


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("ODDTIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *arguments], prog_name="oddtide")


def answer(*arguments: str) -> Any:
    result = run(*arguments, "--output", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def write(path: str, *, label: str = "anomaly", series: str = HOSTILE, seed: int = 7, rows: int = 400) -> None:
    """Two series in turn, in each a stretch of three strange readings; labelled unless ``label`` is empty."""
    values = np.random.default_rng(seed).normal(10, 1, rows)
    strange = {i for s in (0, 1) for i in range(rows - 100 + s, rows - 94 + s, 2)}
    cells = [series.replace('"', '""'), "b"]
    lines = [f"timestamp,series,value{',' if label else ''}{label}"]
    for i, value in enumerate(values):
        truth = f",{int(i in strange)}" if label else ""
        shown = value + 50 * (i in strange)
        lines.append(f'2024-01-01 {i // 60:02d}:{i % 60:02d}:00,"{cells[i % 2]}",{shown:.6f}{truth}')
    Path(path).write_text("\n".join(lines) + "\n")


def test_labelled_files_side_by_side_and_the_same_in_python() -> None:
    write("one.csv")
    write("two.csv", seed=8)
    found = answer("one.csv", "two.csv", "--detectors", "ewma,ewma:alpha=0.2,clip=4", "--html", "report.html")
    first, second = found["contenders"]
    assert (first["detector"], second["detector"]) == ("ewma", "ewma:alpha=0.2,clip=4")
    assert (found["anomalies"], found["stretches"], found["series"], found["readings"]) == (12, 4, 4, 800)
    assert found["compared"] == 800 - 4 * first["warm_up"]
    assert first["average_precision"] == first["roc_auc"] == first["recall"] == pytest.approx(1.0)
    assert (first["found"], first["alarms"]) == (4, 4)
    assert first["alarms_per_day"] == pytest.approx(4 / found["days"])
    assert first["bytes_per_series"] > 0
    assert first["vus_pr"] > 0.5
    assert found["agreement"][0]["overlap"] > 0.5
    assert [each["name"] for each in found["files"]] == ["one.csv", "two.csv"]

    same = oddtide.compare_algorithms(["one.csv", "two.csv"], "anomaly", ["ewma", "ewma:alpha=0.2,clip=4"])
    timed = {"seconds", "readings_per_s"}
    for mine, theirs in zip(same.summary()["contenders"], found["contenders"], strict=True):
        assert {k: v for k, v in mine.items() if k not in timed} == {k: v for k, v in theirs.items() if k not in timed}
    assert same.best.detector == "ewma"
    assert "12 labelled anomalies in 4 stretches" in str(same)

    text = Path("report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.references == []
    assert "<script" not in text
    assert "url(" not in text
    assert HOSTILE in "".join(page.text)
    assert text.count('role="img"') == 7
    assert "File by file" in text


def test_without_the_truth_there_are_alarms_agreement_and_cost() -> None:
    write("plain.csv", label="")
    result = run("plain.csv", "--detectors", "ewma", "--detectors", "ewma:alpha=0.2", "--html", "report.html")
    assert result.exit_code == 0, result.stderr
    assert "compared without the truth" in result.stderr
    assert "no labels" in result.stderr
    assert result.stdout.splitlines()[0].split() == [
        "detector", "detections", "alarms", "alarms/day", "alarms/1000", "agreement", "readings/s", "bytes/series",
        "warm-up",
    ]  # fmt: skip
    assert "Quality" not in Path("report.html").read_text()
    lines = [
        json.loads(line) for line in run("plain.csv", "--detectors", "ewma", "--output", "jsonl").stdout.splitlines()
    ]
    assert [line["type"] for line in lines] == ["contender", "summary"]
    assert lines[0]["average_precision"] is None
    both = run("plain.csv", "plain.csv", "--detectors", "ewma")
    assert both.stdout.count("ewma") == 3


def test_what_is_trained_is_judged_on_the_rest_and_a_family_loses_who_cannot() -> None:
    write("one.csv", series="a")
    found = answer("one.csv", "--detectors", "ewma,pyod:HBOS", "--train", "0.5")
    trained = found["contenders"][1]
    assert found["compared"] == 200
    assert (trained["trained"], trained["p_value"]) == (200, 1e-3)
    write("few.csv", rows=110)
    family = answer("few.csv", "--detectors", "ewma,pyod:HBO?", "--train", "0.01")
    assert [each["detector"] for each in family["contenders"]] == ["ewma"]
    assert any(note.startswith("pyod:HBOS is left out") for note in family["notes"])
    with pytest.raises(UsageError, match="No detector is left"):
        oddtide.compare_algorithms("few.csv", detectors=["pyod:HBO?"], train=0.01)
    slow = answer("few.csv", "--detectors", "ewma,ewma:warm_up=1000")
    assert slow["contenders"][1]["compared"] is False
    assert slow["contenders"][1]["average_precision"] is None
    assert any("ewma:warm_up=1000 never had enough readings" in note for note in slow["notes"])


def test_readings_that_bring_their_labels_along() -> None:
    rows = [{"series": "a", "time": 1_700_000_000 + i, "value": i % 3, "labels": {"fault": "0"}} for i in range(60)]
    rows[50] |= {"value": 99, "labels": {"fault": "yes"}}
    Path("raw.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = answer("raw.jsonl", "--label", "fault", "--detectors", "ewma")
    assert (found["anomalies"], found["contenders"][0]["found"]) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("none.csv",), 3, "no file"),
        (("one.csv", "--detectors", "ewmma"), 4, "ewma"),
        (("one.csv", "--detectors", "river:Nothing*"), 2, "No detector matches"),
        (("one.csv", "--detectors", "what:*"), 2, "No detector matches"),
        (("one.csv", "--detectors", "ewma+pyod:HBOS"), 2, "trained first"),
        (("one.csv", "--detectors", ","), 2, "No detector is named"),
        (("one.csv", "--label", "lable"), 2, "no column 'lable'"),
        (("one.csv", "--label", "a", "--no-label"), 2, "contradict"),
        (("one.csv", "--html", "no/such/report.html"), 2, "folder that there is"),
        (("bad.csv", "--no-label"), 2, "no reading to compare"),
        ((), 2, "FILE"),
    ],
)
def test_what_is_wrong_is_said_with_an_exit_code(arguments: tuple[str, ...], code: int, says: str) -> None:
    write("one.csv", rows=110)
    Path("bad.csv").write_text("time,value\nx,1\n")
    result = run(*arguments)
    assert result.exit_code == code, result.stderr
    assert says in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_detectors_are_named_as_people_write_them() -> None:
    names = split_names("ewma:alpha=0.1,clip=4, spot+range,river:HalfSpaceTrees:limits=[1,2]")
    assert names == ["ewma:alpha=0.1,clip=4", "spot+range", "river:HalfSpaceTrees:limits=[1,2]"]
    assert [choice.name for choice in choose(["ewma", "spot+range", "ewma", "ewma:alpha=0.5"])] == [
        "ewma", "spot+range", "ewma:alpha=0.5",
    ]  # fmt: skip
    every = [choice.name for choice in choose(["all"])]
    assert {"ewma", "river:HalfSpaceTrees"} <= set(every)
    assert [choice.name for choice in choose(["ewm?"])] == ["ewma"]


def test_measures_keep_to_one_series_and_to_ranks() -> None:
    truth = np.array([False, True, True, False, True, True])
    series = np.array([0, 0, 1, 1, 0, 0])
    assert [rows.tolist() for rows in spans_of_series(truth, series)] == [[1, 4, 5], [2]]
    rng = np.random.default_rng(1)
    truth = np.zeros(600, np.bool_)
    truth[[*range(290, 300), *range(300, 310)]] = True
    scores = rng.normal(size=600) + 3 * truth
    halves = np.repeat([0, 1], 300)
    apart = vus_pr(truth, scores, halves)
    assert apart != vus_pr(truth, scores)
    assert 0.0 < apart <= 1.0
    assert vus_pr(truth, scores, np.zeros(600, np.int64)) == vus_pr(truth, scores)
    recall, precision = curve(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
    assert recall.tolist() == [0.5, 0.5, 1.0]
    assert precision.tolist() == [1.0, 0.5, 2 / 3]
    assert curve(np.zeros(3, np.bool_), np.ones(3))[0].tolist() == []
    assert rank_correlation(np.array([1.0, 2.0, 2.0]), np.array([2.0, 5.0, 5.0])) == pytest.approx(1.0)
    assert np.isnan(rank_correlation(np.ones(3), np.arange(3.0)))
