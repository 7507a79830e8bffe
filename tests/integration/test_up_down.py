"""``oddtide up`` and ``down``: a Kafka of one's own, in the background and in the foreground."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 110


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("ODDTIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODDTIDE_EMBEDDED__PORT", "0")
    monkeypatch.setenv("ODDTIDE_WORKER__METRICS_PORT", "0")
    yield
    oddtide("down")


def oddtide(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oddtide", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


def one(*arguments: str) -> dict[str, Any]:
    done = oddtide(*arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_up_in_the_background_and_down(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("timestamp,value\n2026-01-01T00:00:00Z,1\n")
    first = one("up", "--detach")
    again = one("up", "--detach")
    assert again == first
    assert one("produce", "r.csv")["sent"] == 1
    ledger = oddtide("tail", "ledger", "-o", "beginning", "-n", "1", "--output", "jsonl")
    assert json.loads(ledger.stdout)["scored"] == 1
    status = one("status")
    assert status["cluster"]["kind"] == "embedded"
    assert status["topics"]["missing"] == 0
    assert oddtide("doctor").returncode == 0
    assert one("down") == {"worker_stopped": True, "kafka_stopped": True}
    assert one("down") == {"worker_stopped": False, "kafka_stopped": False}
    assert oddtide("status").returncode == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_in_the_foreground_ends_with_everything_it_started(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "oddtide", "up", "--no-worker"], stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        line = ""
        while "Kafka is up" not in line:
            line = process.stderr.readline()
            assert line
        assert one("topics", "describe", "detections")["partitions"] == 4
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 0
    assert oddtide("topics", "list").returncode == 5


def test_up_leaves_a_kafka_alone_that_ran_before() -> None:
    one("up", "--detach", "--no-worker")
    process = subprocess.Popen(
        [sys.executable, "-m", "oddtide", "up", "--no-worker"], stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        while "Kafka is up" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
    assert oddtide("topics", "list").returncode == 0


def test_a_port_in_use_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("ODDTIDE_EMBEDDED__PORT", str(other.getsockname()[1]))
        done = oddtide("up", "--detach")
    assert done.returncode in (4, 5)
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_cannot_be_made_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDTIDE_DATA_FOLDER", "/proc/nowhere")
    done = oddtide("up", "--detach")
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1
