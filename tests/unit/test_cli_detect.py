"""``oddtide detect``: files in, verdicts out, and what is said on the way."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from oddtide.config.cli import cli

FIELDS = {
    "id", "series", "time", "value", "score", "p_value", "alarm_score", "is_anomaly", "expected", "lower", "upper",
    "maturity",
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("ODDTIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **kwargs: Any) -> Result:
    return CliRunner().invoke(cli, ["detect", *arguments], prog_name="oddtide", **kwargs)


def spiky(rows: int = 200, spike: int = 150) -> str:
    values = np.random.default_rng(7).normal(10, 1, rows)
    values[spike] = 99
    lines = [f"2024-01-01 {i // 60:02d}:{i % 60:02d}:00,{value:.6f}" for i, value in enumerate(values)]
    return "timestamp,value\n" + "\n".join(lines) + "\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "pump.csv"
    path.write_text(spiky())
    return str(path)


def test_a_csv_of_timestamp_and_value_needs_no_options(file: str) -> None:
    result = run(file)
    assert result.exit_code == 0, result.stderr
    head, found = result.stdout.splitlines()
    assert head.split()[:3] == ["time", "series", "value"]
    assert found.startswith("2024-01-01T02:30:00Z")
    assert "sigma above" in found
    assert "200 readings: 200 scored, 1 anomalies" in result.stderr


def test_all_gives_one_verdict_a_reading_in_input_order(file: str) -> None:
    result = run(file, "--all", "--output", "jsonl")
    verdicts = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(verdicts) == 200
    assert all(verdict.keys() >= FIELDS for verdict in verdicts)
    assert [verdict["offset"] for verdict in verdicts] == list(range(200))
    assert len({verdict["id"] for verdict in verdicts}) == 200
    assert [i for i, verdict in enumerate(verdicts) if verdict["is_anomaly"]] == [150]


def test_every_output_says_the_same(file: str) -> None:
    lines = [json.loads(line) for line in run(file, "--output", "jsonl").stdout.splitlines()]
    assert json.loads(run(file, "--output", "json").stdout) == lines
    rows = list(csv.DictReader(io.StringIO(run(file, "--output", "csv").stdout)))
    assert [float(row["score"]) for row in rows] == [line["score"] for line in lines]
    assert [row["time"] for row in rows] == [line["time"] for line in lines]
    assert [row["reason"] for row in rows] == [line["reason"] for line in lines]
    table = run(file, "--all").stdout.splitlines()
    assert len(table) == 201
    assert table[0].split()[-1] == "id"


def test_nothing_found_is_still_a_document(file: str) -> None:
    quiet = ("--p-value", "0", "--output")
    assert json.loads(run(file, *quiet, "json").stdout) == []
    assert run(file, *quiet, "jsonl").stdout == ""
    assert run(file, *quiet, "csv").stdout.startswith("id,series,time")
    result = run(file, *quiet, "table")
    assert result.stdout == ""
    assert "no anomalies; the least p-value is" in result.stderr


def test_a_file_that_is_too_short_to_be_judged_is_not_called_free_of_anomalies(tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text("timestamp,value\n2024-01-01,1\n2024-01-02,99\n2024-01-03,1\n", encoding="utf-8")
    assert "no anomalies: no reading was judged yet" in run(str(path), "--detector", "ewma").stderr


def test_detectors_joined_by_a_plus_are_pointed_to_the_option_that_combines_them(file: str) -> None:
    result = run(file, "--detector", "ewma+spot")
    assert result.exit_code == 4
    assert "'ewma+spot'" in result.stderr
    assert "--detector A --detector B" in result.stderr


def test_rejected_rows_are_named_counted_and_kept_where_asked(tmp_path: Path) -> None:
    bad = "".join(f"2024-02-01,bad{i}\n" for i in range(25))
    (tmp_path / "in.csv").write_text(spiky() + bad)
    result = run("in.csv", "--rejected", "out.jsonl")
    assert result.exit_code == 0
    assert "line 202: not_a_number: value: 'bad0' is not a number" in result.stderr
    assert "bad24" not in result.stderr
    assert "only counted" in result.stderr
    assert "225 readings: 200 scored, 1 anomalies, 25 rejected (not_a_number 25)" in result.stderr
    kept = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["line"] for row in kept] == list(range(202, 227))
    assert {row["rejected"] for row in kept} == {"not_a_number"}


def test_json_readings_from_standard_input_are_judged_by_the_pipeline() -> None:
    good = [json.dumps({"series": "a", "time": 1_700_000_000 + i, "value": i % 3}) for i in range(40)]
    bad = ['{"series":"a","time":1700000100,"value":"5"}', "{broken", '{"series":"a","value":1}']
    result = run("-", "--all", "--output", "jsonl", input="\n".join([*good, *bad]))
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 40
    assert "line 41: not_a_number" in result.stderr
    assert "line 42: not_json" in result.stderr
    assert "line 43: missing_time" in result.stderr


def test_several_features_and_a_detector_with_parameters(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [f"{1_700_000_000 + i},{a:.4f},{b:.4f},0" for i, (a, b) in enumerate(rng.normal(0, 1, (400, 2)))]
    (tmp_path / "plant.csv").write_text("time,flow,pressure,anomaly\n" + "\n".join(rows))
    arguments = (
        "--detector",
        "half_space_trees:window=50",
        "--detector",
        "ewma:alpha=0.1",
        "--all",
        "--output",
        "jsonl",
    )
    result = run("plant.csv", *arguments)
    assert result.exit_code == 0, result.stderr
    verdicts = [json.loads(line) for line in result.stdout.splitlines()]
    assert set(verdicts[0]["features"]) == {"flow", "pressure"}
    assert {verdict["detector"] for verdict in verdicts} == {"half_space_trees", "ewma"}


def test_threshold_and_profile_are_taken(file: str) -> None:
    by_score = run(file, "--threshold", "2.5", "--output", "jsonl").stdout.splitlines()
    assert len(by_score) > 1
    assert min(json.loads(line)["own_score"] for line in by_score) >= 2.5
    assert run(file, "--profile", "deep").exit_code == 0


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("", [150, 152, 154, 160]),
        ("refractory = 5", [150, 160]),
        ('direction = "below"', [154]),
        ("min_effect = 80", [150, 152]),
        ("min_duration = 2", []),
    ],
)
def test_rules_for_alarms_leave_out_what_is_of_no_interest(tmp_path: Path, rules: str, expected: list[int]) -> None:
    lines = spiky().splitlines()
    for row, value in ((152, 98.0), (154, -60.0), (160, 60.0)):
        lines[row + 1] = f"{lines[row + 1].partition(',')[0]},{value}"
    (tmp_path / "pump.csv").write_text("\n".join(lines))
    (tmp_path / "own.toml").write_text(
        '[[streams]]\nname = "pumps"\ncontract = { max_age_s = 1e9 }\n'
        f'detectors = [{{ kind = "ewma", parameters = {{ tails = "gaussian" }} }}]\n[streams.threshold]\n{rules}\n'
    )
    result = run("pump.csv", "--config", "own.toml", "--stream", "pumps", "--all", "--output", "jsonl")
    assert result.exit_code == 0, result.stderr
    verdicts = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row for row, verdict in enumerate(verdicts) if verdict["is_anomaly"]] == expected
    assert all(verdicts[row]["alarm_score"] >= 6 for row in expected)
    if expected != [150, 152, 154, 160]:
        assert verdicts[154]["p_value"] < 1e-6
        assert verdicts[154]["alarm_score"] < 6 or 154 in expected


def test_a_stream_of_the_settings_decides_everything(tmp_path: Path, file: str) -> None:
    (tmp_path / "own.toml").write_text(
        '[[streams]]\nname = "pumps"\nthreshold = { p_value = 1e-3 }\ncontract = { max_age_s = 1e9 }\n'
    )
    result = run(file, "--config", "own.toml", "--stream", "pumps", "--output", "jsonl")
    assert result.exit_code == 0, result.stderr
    assert {json.loads(line)["stream"] for line in result.stdout.splitlines()} == {"pumps"}
    assert run(file, "--config", "own.toml", "--p-value", "0.1").exit_code == 2
    missing = run(file, "--config", "own.toml", "--stream", "other")
    assert missing.exit_code == 3
    assert "pumps" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("none.csv",), 3, "no file"),
        (("pump.csv", "--value", "vlaue"), 2, "Did you mean 'value'"),
        (("pump.csv", "--detector", "ewmma"), 4, "ewma"),
        (("pump.csv", "--detector", "ewma:alpha"), 2, "name=value"),
        (("pump.csv", "--detector", "pyod:IForest"), 2, "trained before"),
        (("pump.csv", "--p-value", "2"), 2, "range"),
        (("empty.csv",), 2, "is empty"),
        (("bad.csv",), 1, "No row"),
        (("pump.csv", "--rejected", "no/such/folder.jsonl"), 5, "cannot be written"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(
    file: str, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "bad.csv").write_text("time,value\nx,1\n")
    result = run(*arguments)
    assert result.exit_code == code, result.stderr
    assert says in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_no_error(file: str) -> None:
    big = Path("big.csv")
    big.write_text("value\n" + "1\n" * 30_000)
    command = f"{sys.executable} -m oddtide detect {big} --all | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) == 1
