"""The supervisor over real processes. It forks, so it runs in a program of its own, not in the tests' process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from oddtide.config.children import Child, Ends, spawning
from oddtide.config.supervisor import HOPELESS, Supervisor

#: Children of one supervisor: ``WORK`` is what they do. It ends with the number it is asked to stop by (SIGTERM).
PROGRAM = """
import os, signal, sys, time
from oddtide.config.children import forking
from oddtide.config.processes import tether
from oddtide.config.supervisor import Supervisor

def work(number, start, ends):
    tether(ends.tether)
    WORK

def ready(ends):
    os.write(ends.lifeline, b"1")

def sleep():
    while True:
        time.sleep(60)

supervisor = Supervisor(
    forking(work), COUNT, lambda text: print(text, flush=True), all_ready=lambda: print("all ready", flush=True),
    tether=TETHER,
)
signal.signal(signal.SIGTERM, supervisor.stop)
raise SystemExit(supervisor.run())
"""


@contextmanager
def supervised(work: str, *, count: int = 1, tether: int = -1) -> Iterator[subprocess.Popen[str]]:
    program = PROGRAM.replace("WORK", work).replace("COUNT", str(count)).replace("TETHER", str(tether))
    passed = (tether,) if tether >= 0 else ()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=passed
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def heard(process: subprocess.Popen[str], text: str) -> str:
    """The next line with ``text`` in it."""
    for line in lines(process):
        if text in line:
            return line.strip()
    raise AssertionError(f"{text!r} was never said")


def pid_of(line: str) -> int:
    return int(line.rpartition(" ")[2])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_is_killed_is_started_again_at_once() -> None:
    with supervised("ready(ends); sleep()") as process:
        pid = pid_of(heard(process, "is process"))
        heard(process, "all ready")
        os.kill(pid, signal.SIGKILL)
        assert heard(process, "ended") == "worker 1 was ended by signal 9; starting it again at once"
        again = pid_of(heard(process, "is process"))
        assert again != pid
        heard(process, "worker 1 is up after")
        process.terminate()
        assert process.wait(20) == 0
        assert not alive(again)


def test_whoever_keeps_dying_waits() -> None:
    with supervised("return 1") as process:
        assert heard(process, "ended") == "worker 1 ended with exit code 1; starting it again at once"
        assert heard(process, "ended") == "worker 1 ended with exit code 1; starting it again in 1 s"
        assert heard(process, "ended") == "worker 1 ended with exit code 1; starting it again in 2 s"
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize("code", HOPELESS)
def test_what_a_restart_cannot_cure_ends_them_all(code: int) -> None:
    with supervised(f"ready(ends); sleep() if number else os._exit({code})", count=2) as process:
        assert heard(process, "ended") == f"worker 1 ended with exit code {code}; a restart would not help"
        assert process.wait(20) == code


def test_the_children_know_their_number_and_how_often_they_were_up() -> None:
    # one write: two processes that print at once would mix their lines
    say = r"os.write(1, b'child %d %d\n' % (number, start))"
    work = f"{say}; ready(ends); sleep() if number or start else os._exit(1)"
    with supervised(work, count=2) as process:
        said = [heard(process, "child") for _ in range(3)]
        assert sorted(said) == ["child 0 0", "child 0 1", "child 1 0"]


def test_one_that_never_came_up_is_as_new() -> None:
    with supervised(r"os.write(1, b'child %d\n' % start); return 1") as process:
        assert [heard(process, "child") for _ in range(2)] == ["child 0", "child 0"]


def test_what_a_child_raises_is_its_end() -> None:
    with supervised("raise ValueError('odd')") as process:
        assert "exit code 1" in heard(process, "ended")
        process.terminate()
        process.wait(20)
        assert process.stderr is not None
        assert "unexpected ValueError: odd" in process.stderr.read()


def test_an_exit_in_a_child_keeps_its_code() -> None:
    with supervised("raise SystemExit(4)") as process:
        assert process.wait(20) == 4


def test_no_child_survives_a_supervisor_that_is_killed() -> None:
    with supervised("ready(ends); sleep()", count=2) as process:
        heard(process, "all ready")
        process.kill()
        process.wait(20)
        assert not lines(process).read(), "only the end of the last process closes the pipe"


def test_a_supervisor_ends_with_whom_it_is_tethered_to() -> None:
    theirs, ours = os.pipe()
    with supervised("ready(ends); sleep()", tether=theirs) as process:
        os.close(theirs)
        pid = pid_of(heard(process, "is process"))
        heard(process, "all ready")
        os.close(ours)
        assert process.wait(20) == 0
        assert not alive(pid)


def test_waits_double_to_a_minute_and_begin_anew_after_a_steady_time() -> None:
    now = [0.0]
    supervisor = Supervisor(lambda *_: Dead(), 1, lambda _: None, clock=lambda: now[0])
    (post,) = supervisor.posts
    waits = []
    for _ in range(9):
        supervisor._look_after(post)
        supervisor._look_after(post)
        waits.append(post.due - now[0])
        now[0] = post.due
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    supervisor._look_after(post)
    now[0] += 61
    supervisor._look_after(post)
    assert post.due == now[0]
    supervisor._end()
    supervisor.stop()  # after the end it does nothing


class Dead:
    """A child that ended as soon as it began."""

    pid = 1

    def poll(self) -> int:
        return 1

    def send_signal(self, number: int) -> None:
        raise AssertionError("nobody is there")


def test_children_that_are_programs_of_their_own() -> None:
    """As on macOS. This one closes its lifeline once it is up, as `oddtide worker` does."""
    code = (
        "import os, sys, time\nfrom oddtide.config.processes import tether\n"
        "tether(int(sys.argv[2])); os.write(int(sys.argv[4]), b'1'); os.close(int(sys.argv[4]))\ntime.sleep(60)"
    )
    started: list[int] = []
    said: list[str] = []

    def command(number: int, start: int) -> list[str]:
        return [sys.executable, "-c", code]

    launch = spawning(command)

    def remembered(number: int, start: int, ends: Ends) -> Child:
        child = launch(number, start, ends)
        started.append(child.pid)
        return child

    def up() -> None:
        if len(started) == 1:
            os.kill(started[0], signal.SIGKILL)

    def say(text: str) -> None:
        said.append(text)
        if "is up" in text and len(started) == 2:
            supervisor.stop()

    supervisor = Supervisor(remembered, 1, say, all_ready=up)
    assert supervisor.run() == 0
    assert "worker 1 was ended by signal 9; starting it again at once" in said
    assert not any(map(alive, started))


def test_a_start_that_fails_leaves_no_pipe_open() -> None:
    def nothing(number: int, start: int, ends: Ends) -> Child:
        raise FileNotFoundError("no such program")

    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        Supervisor(nothing, 1, lambda _: None).run()
    assert len(list(Path("/dev/fd").iterdir())) == before
