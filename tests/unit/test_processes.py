from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oddtide.config.processes import BackgroundWorker, Supervisor, own_command
from oddtide.domain.errors import DependencyError

SLEEPER = "import time\nwhile True: time.sleep(0.05)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def supervised(code: str, until: Callable[[list[str]], bool]) -> tuple[int, list[str]]:
    """Run a supervisor over one process until ``until`` holds of what it said."""
    said: list[str] = []
    supervisor = Supervisor(report=said.append)
    supervisor.add(python(code), dict(os.environ))
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(supervisor.run()))
    thread.start()
    eventually(lambda: until(said) or not thread.is_alive())
    supervisor.stop()
    thread.join(20)
    return codes[0], said


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    die_once = f"import os, pathlib\np = pathlib.Path({str(mark)!r})\nif not p.exists():\n    p.touch(); os._exit(9)\n"
    code = die_once + SLEEPER
    result, said = supervised(code, lambda said: sum("is process" in line for line in said) == 2)
    assert result == 0
    assert "worker 1 ended with exit code 9; starting it again in 2 s" in said


def test_waits_double_and_begin_anew_after_a_steady_time() -> None:
    now = [0.0]
    said: list[str] = []
    supervisor = Supervisor(report=said.append, clock=lambda: now[0])
    supervisor.add(python("raise SystemExit(1)"), dict(os.environ))
    (child,) = supervisor.children
    ours, theirs = os.pipe()
    waits = []
    for _ in range(3):
        now[0] = child.due
        supervisor._look_after(child, ours)
        assert child.process is not None
        child.process.wait()
        supervisor._look_after(child, ours)
        waits.append(child.due - now[0])
    assert waits == [2.0, 4.0, 8.0]
    now[0] = child.due
    supervisor._look_after(child, ours)
    assert child.process is not None
    child.process.wait()
    now[0] += 100.0
    supervisor._look_after(child, ours)
    assert child.due - now[0] == 1.0
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("code", [2, 3, 4])
def test_what_a_restart_cannot_cure_ends_everything(code: int) -> None:
    result, said = supervised(f"raise SystemExit({code})", lambda said: False)
    assert result == code
    assert any("a restart would not help" in line for line in said)


def test_the_end_of_the_supervisor_ends_its_processes(tmp_path: Path) -> None:
    pids: list[int] = []

    def started(said: list[str]) -> bool:
        pids.extend(int(line.rpartition(" ")[2]) for line in said if "is process" in line)
        return bool(pids)

    result, _ = supervised(SLEEPER, started)
    assert result == 0
    assert not alive(pids[0])


def test_a_process_ends_with_the_parent_it_is_tethered_to() -> None:
    code = (
        "import sys, time\nfrom oddtide.config.processes import tether\n"
        "tether(int(sys.argv[1]))\nprint('up', flush=True)\ntime.sleep(60)"
    )
    ours, theirs = os.pipe()
    child = subprocess.Popen([*python(code), str(ours)], pass_fds=(ours,), stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        os.close(ours)
        os.close(theirs)
        assert child.wait(20) == -signal.SIGTERM


READY = "import os, sys, time\nos.write(int(sys.argv[2]), b'1')\n" + SLEEPER


def test_a_background_worker_is_started_once_and_stopped(tmp_path: Path) -> None:
    background = BackgroundWorker(tmp_path)
    assert background.pid() is None
    assert not background.stop()
    pid, running = background.start(python(READY), wait_s=20)
    try:
        assert not running
        assert background.pid() == pid
        assert BackgroundWorker(tmp_path).start(python(READY), wait_s=20) == (pid, True)
    finally:
        assert background.stop()
    assert background.pid() is None
    assert not background.stop()


def test_a_background_worker_that_ends_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    background = BackgroundWorker(tmp_path)
    with pytest.raises(DependencyError, match="out of tea") as caught:
        background.start(python("import sys; print('out of tea', file=sys.stderr)"), wait_s=20)
    assert str(background.log) in caught.value.remedy
    assert background.pid() is None


def test_a_background_worker_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    background = BackgroundWorker(tmp_path)
    with pytest.raises(DependencyError, match="it left no reason"):
        background.start(python(SLEEPER), wait_s=0.2)
    assert background.pid() is None


def test_a_start_that_is_broken_off_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    background = BackgroundWorker(tmp_path)
    started: list[int] = []

    def interrupted(process: subprocess.Popen[bytes], ready: int, wait_s: float) -> None:
        started.append(process.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(background, "_await", interrupted)
    with pytest.raises(KeyboardInterrupt):
        background.start(python(SLEEPER), wait_s=20)
    assert not alive(started[0])


def test_a_start_that_cannot_launch_leaves_no_pipe_open(tmp_path: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        BackgroundWorker(tmp_path).start([str(tmp_path / "nothing")], wait_s=20)
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_the_own_command_line() -> None:
    assert own_command("worker") == [sys.executable, "-m", "oddtide", "worker"]
