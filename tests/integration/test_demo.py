"""The demo as a person runs it: real Kafka, real worker, and nothing left running afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
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


class Run:
    """One run of the demo, its stderr in a file so that neither pipe can fill up."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "oddtide", "demo", "--data", str(folder), "--output", "jsonl", *arguments]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by finish()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors, text=True)

    def first_detection(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(self.finish()[1])
        found: dict[str, Any] = json.loads(line)
        return found

    def finish(self) -> tuple[list[dict[str, Any]], str]:
        assert self.process.stdout is not None
        with self.process, self._errors:
            rows = [json.loads(line) for line in self.process.stdout if line.endswith("\n")]
            self.process.wait()
            self._errors.seek(0)
            return rows, self._errors.read()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "demo"
    assert leftovers(tmp_path) == []


def test_two_runs_on_one_folder_find_the_documented_anomalies(folder: Path) -> None:
    for number in (1, 2):
        run = Run(folder, "--exit-after", "3")
        rows, err = run.finish()
        assert run.process.returncode == 0, err
        *detections, summary = rows
        assert summary["type"] == "summary"
        assert summary["run"] == number
        assert summary["water_found"] == [True] * 4
        assert summary["rejected"] == {"invalid_time": 1}
        assert summary["scored"] == summary["pushed"] - 1
        assert summary["lag"] == 0
        assert summary["shuttle_right"] / summary["shuttle_detections"] > 0.8
        assert all(found["reason"] for found in detections)
        assert {found["series"].split(".")[0] for found in detections} <= {f"run-{number}", "host"}
        assert leftovers(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_summary(folder: Path, number: signal.Signals) -> None:
    run = Run(folder)
    run.first_detection()
    run.process.send_signal(number)
    rows, err = run.finish()
    assert run.process.returncode == 0, err
    assert rows[-1]["type"] == "summary"


def test_a_worker_that_dies_ends_it_with_the_reason(folder: Path) -> None:
    run = Run(folder)
    run.first_detection()
    [worker] = [each for each in psutil.Process(run.process.pid).children() if "worker" in each.cmdline()]
    worker.kill()
    _, err = run.finish()
    assert run.process.returncode == 1
    assert "The worker ended with exit code -9" in err
    assert "Traceback" not in err


def test_killed_it_takes_worker_and_kafka_along(folder: Path) -> None:
    run = Run(folder)
    run.first_detection()
    children = psutil.Process(run.process.pid).children(recursive=True)
    run.process.kill()
    run.finish()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_kept_it_goes_on_until_down(folder: Path) -> None:
    run = Run(folder, "--keep", "--exit-after", "0")
    _, err = run.finish()
    assert run.process.returncode == 0, err
    config = ("--config", str(folder / "oddtide.toml"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ODDTIDE_")}

    def oddtide(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "oddtide", *arguments, *config]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    tail = oddtide("tail", "detections", "-o", "beginning", "-e", "--output", "jsonl")
    assert tail.returncode == 0, tail.stderr
    assert len(tail.stdout.splitlines()) > 10
    down = oddtide("down")
    assert down.returncode == 0, down.stderr
