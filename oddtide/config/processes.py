"""Processes of workers: what ties one to its parent, and the one in the background of a data folder."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from oddtide.domain.errors import DependencyError

__all__ = ["BackgroundWorker", "own_command", "tether"]

_POLL_S = 0.1
_STOP_S = 30.0


def tether(descriptor: int) -> None:
    """End this process by SIGTERM when the other end of the pipe ``descriptor`` closes: its parent is gone. Where that
    does not end it within 30 s (its Kafka may be gone as well), by SIGKILL."""

    def watch() -> None:
        try:
            while os.read(descriptor, 1):
                pass
        except OSError:
            return
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_STOP_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="tether", daemon=True).start()


class BackgroundWorker:
    """The worker that ``oddtide up --detach`` leaves running, at most one per data folder.

    It holds a lock on a file as long as it lives, so whether it runs never depends on a process id that may have
    been given to somebody else.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = folder / "worker.lock"
        self.log = folder / "logs" / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None

    def pid(self) -> int | None:
        """Its process id while it runs."""
        if not self._lock.exists():
            return None
        with self._lock.open("r+") as file:
            if _try_lock(file.fileno()):
                return None
            text = file.read().strip()
        return int(text) if text.isdigit() else None

    def start(self, command: Sequence[str], *, wait_s: float) -> tuple[int, bool]:
        """Start it and wait until it is ready; returns (process id, whether it was running already).

        Raises ``DependencyError`` with the last line of its log where it ends or is silent for ``wait_s``.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a+") as file:
            if not _try_lock(file.fileno()):
                return self.pid() or 0, True
            ready, told = os.pipe()
            try:
                process = self._launch([*command, "--ready-fd", str(told)], (told, file.fileno()))
            except BaseException:
                os.close(ready)
                raise
            finally:
                os.close(told)
            try:
                file.truncate(0)
                file.write(str(process.pid))
                file.flush()
                self._await(process, ready, wait_s)
                self._process = process
            except BaseException:  # whoever breaks off a start wants nothing left of it
                _end(process)
                raise
            finally:
                os.close(ready)
        return process.pid, False

    def _launch(self, command: list[str], keep_fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as sink:
            return subprocess.Popen(
                command,
                pass_fds=keep_fds,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    def stop(self) -> bool:
        """Ask it to end, kill it after 30 s; False where none ran."""
        pid = self.pid()
        if pid is None:
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return True
            deadline = time.monotonic() + _STOP_S
            while time.monotonic() < deadline:
                if self.pid() is None:
                    self._reap()
                    return True
                time.sleep(_POLL_S)
        return True

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()

    def _await(self, process: subprocess.Popen[bytes], ready: int, wait_s: float) -> None:
        import select

        readable, _, _ = select.select([ready], [], [], wait_s)
        if readable and os.read(ready, 1):
            return
        _end(process, asked=not readable)
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["it left no reason"]
        raise DependencyError(f"The worker did not start: {last[0]}", remedy=f"Its log is {self.log}.")


def _end(process: subprocess.Popen[bytes], *, asked: bool = True) -> None:
    """Wait until it is gone: ``asked`` to end first, killed after 30 s."""
    if asked:
        process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def own_command(*arguments: str) -> list[str]:
    """The command line that runs ``oddtide`` again with the same interpreter."""
    return [sys.executable, "-m", "oddtide", *arguments]
