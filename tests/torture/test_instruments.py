"""The instruments of torture notice what they should: a checker that cannot fail proves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.checking import Findings, _hold
from tests.torture.faults import PLAN_VARIABLE, Fault, FaultPlan, FlightRecorder, environment
from tests.torture.points import POINTS
from tests.torture.stage import ROOT

EXPECTED = {"a": b"1", "b": b"2", "c": b"3"}


@pytest.mark.parametrize(
    ("found", "problems"),
    [
        ([("a", b"1"), ("b", b"2"), ("c", b"3")], []),
        ([("a", b"1"), ("c", b"3")], ["1 missing"]),
        ([("a", b"1"), ("b", b"2"), ("b", b"2"), ("c", b"3")], ["1 repeated"]),
        ([("a", b"1"), ("b", b"2"), ("c", b"4")], ["1 altered"]),
        ([("a", b"1"), ("b", b"2"), ("c", b"3"), ("d", b"4")], ["1 alien"]),
    ],
)
def test_whatever_a_consumer_would_notice_is_a_finding(found: list[tuple[str, bytes]], problems: list[str]) -> None:
    findings = Findings()
    _hold(findings, EXPECTED, found)
    assert findings.problems == problems


def test_every_point_can_be_wrapped(tmp_path: Path) -> None:
    plan = environment([Fault(point, nth=1_000) for point in POINTS], tmp_path / "flight")
    command = [sys.executable, "-m", "tests.torture.worker", "--help"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **plan}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_fault_strikes_at_its_pass_and_the_recorder_outlives_it(tmp_path: Path) -> None:
    variables = environment([Fault("written", nth=2)], tmp_path / "flight")
    code = (
        "import os; from tests.torture.faults import FaultPlan\n"
        "plan = FaultPlan.from_environment(os.environ)\n"
        "plan.recorder.add('transaction', 1); plan.reached('written'); plan.reached('begun')\n"
        "print('once', flush=True)\n"
        "plan.reached('written'); print('twice', flush=True)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, check=False)
    recorder = FlightRecorder(tmp_path / "flight")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"once\n")
    assert (recorder.under_way(), recorder.strikes) == (["transaction"], 1)


def test_without_a_plan_nothing_is_wrapped() -> None:
    assert FaultPlan.from_environment({PLAN_VARIABLE: ""}) is None


def test_a_full_disk_is_told_for_so_many_passes(tmp_path: Path) -> None:
    plan = FaultPlan([Fault("snap_unsynced", 2, "disk_full", times=2)], FlightRecorder(tmp_path / "flight"))
    plan.reached("snap_unsynced")
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            plan.reached("snap_unsynced")
    plan.reached("snap_unsynced")
