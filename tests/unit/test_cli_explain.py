"""``oddtide explain --file``: a verdict about a row of a file in words, and drawn with characters."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from oddtide.config.cli import cli
from oddtide.config.cli.picture import Point, draw, drawable, legend, sparkline
from oddtide.config.facade.detecting import detect_anomalies
from oddtide.config.facade.explaining import explain_reading
from oddtide.domain.errors import NotFoundError, UsageError

SPIKE = 150


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("ODDTIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(7).normal(10, 1, 200)
    values[SPIKE] = 99
    lines = [f"2024-01-01 {i // 60:02d}:{i % 60:02d}:00,{value:.6f}" for i, value in enumerate(values)]
    lines[20] = "2024-01-01 00:20:00,bad"
    Path("pump.csv").write_text("timestamp,value\n" + "\n".join(lines) + "\n")


def run(*arguments: str, **kwargs: Any) -> Result:
    return CliRunner().invoke(cli, ["explain", *arguments], prog_name="oddtide", **kwargs)


def answer(*arguments: str) -> Any:
    result = run(*arguments, "--output", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_an_anomaly_is_told_in_words_and_drawn() -> None:
    result = run("--file", "pump.csv", "--row", str(SPIKE))
    assert result.exit_code == 0, result.stderr
    text = result.stdout
    assert text.startswith("pump  2024-01-01T02:30:00Z  ANOMALY")
    assert "sigma above the expected" in text
    assert "an alarm: p " in text
    assert "● this one" in text
    assert "░ band" in text
    assert max(map(len, text.split("finding")[0].splitlines())) <= 80
    plain = run("--file", "pump.csv", "--row", str(SPIKE), "--ascii").stdout
    assert plain.isascii()
    assert "@ this one" in plain


def test_an_ordinary_reading_has_an_account_too_and_it_is_what_detect_says() -> None:
    found = answer("--file", "pump.csv", "--row", "160", "--before", "20")
    (verdict,) = [each for each in detect_anomalies("pump.csv", all=True) if each.offset == 160]
    assert found["verdict"]["id"] == verdict.id
    assert found["verdict"]["p_value"] == verdict.p_value
    assert "no alarm: p" in found["account"]["alarm"]
    assert [each["id"].split("/")[4] for each in found["before"]] == [str(i) for i in range(140, 160)]
    assert [each["is_anomaly"] for each in found["before"]].index(True) == SPIKE - 140
    assert answer("--file", "pump.csv", verdict.id) == answer("--file", "pump.csv", "--row", "160")
    line = run("--file", "pump.csv", "--row", "0", "--output", "jsonl").stdout.splitlines()
    assert len(line) == 1
    assert "warming up 0/" in json.loads(line[0])["account"]["maturity"]


def test_a_stream_of_the_settings_decides_everything() -> None:
    Path("own.toml").write_text(
        '[[streams]]\nname = "pumps"\nthreshold = { p_value = 1e-3 }\ncontract = { max_age_s = 1e9 }\n'
        'detectors = ["ewma"]\n'
    )
    found = answer("--file", "pump.csv", "--row", str(SPIKE), "--config", "own.toml", "--stream", "pumps")
    assert "threshold of 0.001" in found["account"]["alarm"]
    wrong = run("--file", "pump.csv", "--row", "1", "--config", "own.toml", "--stream", "pumps", "--p-value", "0")
    assert wrong.exit_code == 2
    assert "threshold of 0" in answer("--file", "pump.csv", "--row", "160", "--p-value", "0")["account"]["alarm"]


def test_names_cannot_write_over_the_screen_and_several_series_are_kept_apart() -> None:
    rows = "".join(f'{1_700_000_000 + i},"a\u202eb",{i % 5}\n{1_700_000_000 + i},b,{100 + i % 3}\n' for i in range(40))
    Path("two.csv").write_text(f"timestamp,series,value\n{rows}")
    result = run("--file", "two.csv", "--row", "70", "--ascii")
    assert result.exit_code == 0, result.stderr
    assert "\u202e" not in result.stdout
    found = answer("--file", "two.csv", "--row", "71")
    assert {each["value"] for each in found["before"]} == {100.0, 101.0, 102.0}


def test_arrays_are_explained_as_files_are() -> None:
    values = np.random.default_rng(3).normal(size=(90, 2))
    values[80] = 40.0
    values[7, 0] = np.inf
    found = explain_reading(values, 80, detector="ewma")
    assert found.verdict.is_anomaly
    assert len(found.before) == 79
    assert "f1" in dict(found.account())["features"]
    assert explain_reading(values, 0).before == ()  # by auto
    with pytest.raises(NotFoundError, match="not_finite"):
        explain_reading(values, 7)
    with pytest.raises(NotFoundError, match="90 rows"):
        explain_reading(values, 90)
    with pytest.raises(UsageError, match="row is -1"):
        explain_reading(values, -1)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "no VERDICT-ID"),
        (("--row", "3"), 2, "no VERDICT-ID"),
        (("nonsense",), 2, "no verdict's id"),
        (("--file", "pump.csv"), 2, "either --row or a VERDICT-ID"),
        (("--file", "pump.csv", "--row", "20"), 3, "not_a_number"),
        (("--file", "pump.csv", "--row", "900"), 3, "200 rows"),
        (("--file", "none.csv", "--row", "1"), 3, "no file"),
        (("--file", "pump.csv", "a/readings/t/0/7/0@000000000000"), 2, "made by pipeline 000000000000"),
        (("--file", "pump.csv", "--row", "1", "--detector", "pyod:HBOS"), 2, "trained before"),
        (("other/readings/t/0/7/0@000000000000",), 2, "of the application 'other'"),
    ],
)
def test_what_is_wrong_is_said_with_an_exit_code(arguments: tuple[str, ...], code: int, says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code, result.stderr
    assert says in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_the_picture_fits_its_width_and_bears_anything() -> None:
    points = [Point(float(i % 4), 1.5, -1.0, 4.0, anomaly=i == 50) for i in range(100)]
    lines = draw(points, width=72)
    assert len(lines) == 9
    assert all(len(line) <= 72 for line in lines)
    assert "x" in "".join(lines)
    assert "".join(lines).count("●") == 1
    assert draw([Point(None)], width=80) == []
    assert len(draw([Point(1e308), Point(-1e308), Point(None, 0.0)], width=3)) == 9
    assert "@" in draw([Point(5.0)], width=40, plain=True)[4]
    assert sparkline([1.0, 2.0, 3.0], plain=True) == "_~#"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert "band" not in legend(plain=False, expected=True, band=False)
    assert drawable("utf-8")
    assert not drawable("ascii")
    assert not drawable("no such encoding")


def test_a_terminal_that_knows_ascii_only_gets_ascii() -> None:
    result = CliRunner(charset="ascii").invoke(cli, ["explain", "--file", "pump.csv", "--row", "150"])
    assert result.exit_code == 0
    assert io.StringIO(result.stdout).read().isascii()


def test_a_detector_that_goes_by_labels_is_given_them() -> None:
    lines = [f"2024-01-01 00:{i // 60:02d}:{i % 60:02d},{i % 7},h{i % 5},h{i % 3}" for i in range(80)]
    Path("edges.csv").write_text("timestamp,value,a,b\n" + "\n".join(lines) + "\n")
    options = ("--file", "edges.csv", "--row", "79", "--detector", "midas:source=a,target=b,warm_up=50")
    assert answer(*options, "--labels", "a,b")["verdict"]["maturity"] == 1.0
