from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from oddtide.config.logs import QuietRepeats, configure, keep_quiet
from oddtide.config.sections import LogSettings


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def record(name: str, message: str, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, message, None, None)


def test_a_repeated_line_passes_once_in_a_while() -> None:
    now = [0.0]
    quiet = QuietRepeats(10.0, clock=lambda: now[0])
    assert quiet.filter(record("a", "lost %s"))
    assert not quiet.filter(record("a", "lost %s"))
    assert quiet.filter(record("b", "lost %s"))
    assert quiet.filter(record("a", "found %s"))
    now[0] = 10.0
    assert quiet.filter(record("a", "lost %s"))


def test_memory_of_lines_is_bounded() -> None:
    quiet = QuietRepeats(clock=lambda: 0.0)
    for i in range(5_000):
        quiet.filter(record("a", str(i)))
    assert len(quiet._last) <= 1_001


def test_lines_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(format="json"))
    structlog.get_logger("oddtide.x").info("began", partition=3)
    structlog.get_logger("oddtide.x").debug("too small")
    logging.getLogger("aiokafka.y").warning("lost %s", "it")
    logging.getLogger("aiokafka.y").warning("lost %s", "again")
    logging.getLogger("aiokafka.y").info("chatter")
    logging.getLogger("oddtide.y").info("[^-Service]: Starting...")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [json.loads(line) for line in captured.err.splitlines()]
    assert [line["event"] for line in lines] == ["began", "lost it"]
    assert lines[0]["partition"] == 3
    assert lines[0]["level"] == "info"


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(level="debug"))
    structlog.get_logger("oddtide.x").debug("began", partition=3)
    assert "began" in capsys.readouterr().err


def test_a_commands_results_are_not_mixed_with_what_parts_log(capsys: pytest.CaptureFixture[str]) -> None:
    keep_quiet()
    structlog.get_logger("oddtide.x").debug("snapshot not used")
    structlog.get_logger("oddtide.x").info("began")
    structlog.get_logger("oddtide.x").warning("lost", partition=3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.split() == ["[warning", "]", "lost", "partition=3"]


def test_a_workers_lines_stay_as_configured(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(format="json"))
    keep_quiet()
    structlog.get_logger("oddtide.x").info("began")
    assert json.loads(capsys.readouterr().err)["event"] == "began"
