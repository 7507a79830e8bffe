"""The demo as a person runs it: real Kafka, real worker, and nothing left running afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.timeout(400)


def leftovers(folder: Path) -> list[str]:
    """Command lines of processes that have to do with ``folder``."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if str(folder) in line and "pytest" not in line:
            found.append(line)
    return found


def demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "oddtide", "demo", "--data", str(folder), "--output", "jsonl", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def first_detection(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def finish(process: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], str]:
    out, err = process.communicate()
    return [json.loads(line) for line in out.splitlines()], err


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "demo"
    assert leftovers(tmp_path) == []


def test_two_runs_on_one_folder_find_the_documented_anomalies(folder: Path) -> None:
    for run in (1, 2):
        process = demo(folder, "--exit-after", "3")
        rows, err = finish(process)
        assert process.returncode == 0, err
        *detections, summary = rows
        assert summary["type"] == "summary"
        assert summary["run"] == run
        assert summary["water_found"] == [True] * 4
        assert summary["rejected"] == {"invalid_time": 1}
        assert summary["scored"] == summary["pushed"] - 1
        assert summary["lag"] == 0
        assert summary["shuttle_right"] / summary["shuttle_detections"] > 0.8
        assert all(found["reason"] for found in detections)
        assert {found["series"].split(".")[0] for found in detections} <= {f"run-{run}", "host"}
        assert leftovers(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_summary(folder: Path, number: signal.Signals) -> None:
    process = demo(folder)
    first_detection(process)
    process.send_signal(number)
    rows, err = finish(process)
    assert process.returncode == 0, err
    assert rows[-1]["type"] == "summary"


def test_a_worker_that_dies_ends_it_with_the_reason(folder: Path) -> None:
    process = demo(folder)
    first_detection(process)
    [worker] = [each for each in psutil.Process(process.pid).children() if "worker" in each.cmdline()]
    worker.kill()
    _, err = finish(process)
    assert process.returncode == 1
    assert "The worker ended with exit code -9" in err
    assert "Traceback" not in err


def test_killed_it_takes_worker_and_kafka_along(folder: Path) -> None:
    process = demo(folder)
    first_detection(process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_kept_it_goes_on_until_down(folder: Path) -> None:
    process = demo(folder, "--keep", "--exit-after", "0")
    _, err = finish(process)
    assert process.returncode == 0, err
    config = ("--config", str(folder / "oddtide.toml"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ODDTIDE_")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "oddtide", *arguments, *config]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    tail = run("tail", "detections", "-o", "beginning", "-e", "--output", "jsonl")
    assert tail.returncode == 0, tail.stderr
    assert len(tail.stdout.splitlines()) > 10
    down = run("down")
    assert down.returncode == 0, down.stderr
