from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oddtide.config.processes import BackgroundWorker, own_command
from oddtide.domain.errors import DependencyError

SLEEPER = "import time\nwhile True: time.sleep(0.05)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


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
