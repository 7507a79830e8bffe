from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest

from oddtide.config.cli.output import emit, emit_line, emit_one, to_json
from oddtide.domain.observability.events import PartitionHealth

ROWS: list[Mapping[str, Any]] = [
    {"name": "a", "count": 3, "share": 0.25, "on": True, "tags": ["x", "y"], "none": None, "deep": {"k": [1.5]}},
    {"name": "[b]", "count": 12_000, "share": 1e-12, "on": False, "tags": [], "none": None, "deep": {}},
]


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


def test_json_and_lines_have_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, output="json", columns=["name"])
    assert json.loads(printed(capsys)) == ROWS
    emit(ROWS, output="jsonl", columns=["name"])
    assert [json.loads(line) for line in printed(capsys).splitlines()] == ROWS
    emit_one(ROWS[0], output="jsonl")
    assert json.loads(printed(capsys)) == ROWS[0]


def test_a_pipe_gets_plain_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, output="table", columns=["name", "count", "share", "on", "tags", "none", "deep"])
    assert printed(capsys).splitlines() == [
        "name  count  share  on   tags  none  deep",
        'a         3   0.25  yes  x, y  -     {"k":[1.5]}',
        "[b]   12000  1e-12  no   -     -     {}",
    ]
    emit_one({"some_name": "x", "other": 1}, output="table")
    assert printed(capsys) == "some name  x\nother      1\n"


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    emit(ROWS, output="table")
    shown = printed(capsys)
    assert "[b]" in shown
    assert "───" in shown
    emit_one(ROWS[1], output="table")
    assert "[b]" in printed(capsys)


def test_nothing_is_said_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    emit([], output="table", empty="none at all")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "none at all\n")
    emit([], output="json")
    assert json.loads(printed(capsys)) == []


def test_values_that_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    place = PartitionHealth(topic="t", partition=0, position=1, end=2, lag=1)
    emit_line({"x": math.nan, "y": math.inf, "place": place, 3: 4})
    assert json.loads(printed(capsys)) == {
        "x": None, "y": None, "3": 4,
        "place": {
            "topic": "t", "partition": 0, "position": 1, "end": 2, "lag": 1, "state": "running", "restored": 1.0,
            "eta_s": 0.0,
        },
    }  # fmt: skip
    assert to_json({"a": 1}, indent=True) == '{\n  "a": 1\n}'
