"""Child processes of a supervisor: forked from it where that is safe (Linux), else started anew.

A forked child has everything imported already and shares that memory with its siblings (copy on write), so that it runs
milliseconds after the one before it died. Forking is safe only from a process with one thread, no event loop and no
connections; the supervisor keeps itself so. On macOS it is not (system libraries there break in a forked child that
does not exec), so children are started as programs of their own.

Two pipes tie a child to its supervisor. The *tether* closes when the supervisor is gone, whatever ended it, and the
child ends with it. Through the *lifeline* the child says once that it is ready; it closes when the child is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

__all__ = ["Child", "Ends", "Launch", "Work", "forking", "spawning", "wait_for"]

_POLL_S = 0.02
_HANDLED = (signal.SIGTERM, signal.SIGINT)


class Child(Protocol):
    """A process that was started. Only its supervisor may wait for it."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def poll(self) -> int | None:
        """Its exit code, a signal's number negated, or None while it runs."""
        ...

    def send_signal(self, number: int) -> Any:
        """Send it a signal; nothing happens where it is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of the pipes that a child holds, and the supervisor's own, which a forked child has to close."""

    tether: int
    lifeline: int
    not_ours: tuple[int, ...] = ()


#: Starts child ``number`` (from 0), which was ready ``ups`` times before.
Launch: TypeAlias = Callable[[int, int, Ends], Child]
#: What a forked child does; returns its exit code.
Work: TypeAlias = Callable[[int, int, Ends], int]


def forking(work: Work) -> Launch:
    """Children that run ``work`` in a fork of this process. What ``work`` raises ends the child with code 1."""

    def launch(number: int, ups: int, ends: Ends) -> Child:
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the fork and the child's own handlers would meet the supervisor's handler, and be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                _live(work, number, ups, ends)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return _Forked(pid)

    return launch


def _live(work: Work, number: int, ups: int, ends: Ends) -> None:
    """The whole life of a forked child. Nothing of its parent's stack is unwound in it."""
    code = 1
    try:
        os.setsid()  # a terminal's Ctrl-C reaches the supervisor alone, which asks its children to stop
        for handled in _HANDLED:
            signal.signal(handled, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        for descriptor in ends.not_ours:
            os.close(descriptor)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        code = work(number, ups, ends)
    except BaseException as error:
        code = _last_words(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _last_words(error: BaseException) -> int:
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    sys.stderr.write(f"oddtide: unexpected {type(error).__name__}: {error}\n")
    return 1


class _Forked:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def send_signal(self, number: int) -> None:
        if self._code is None:
            os.kill(self.pid, number)  # not reaped yet, so the id is still its own


def spawning(command: Callable[[int, int], Sequence[str]]) -> Launch:
    """Children that are programs: ``command(number, ups)``, with ``--tether`` and ``--ready-fd`` for the pipes."""

    def launch(number: int, ups: int, ends: Ends) -> Child:
        return subprocess.Popen(
            [*command(number, ups), "--tether", str(ends.tether), "--ready-fd", str(ends.lifeline)],
            pass_fds=(ends.tether, ends.lifeline),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    return launch


def wait_for(children: Sequence[Child], seconds: float, clock: Callable[[], float] = time.monotonic) -> list[Child]:
    """Wait until all have ended, ``seconds`` at most; returns those that have not."""
    deadline = clock() + seconds
    while running := [child for child in children if child.poll() is None]:
        if clock() >= deadline:
            break
        time.sleep(_POLL_S)
    return running
