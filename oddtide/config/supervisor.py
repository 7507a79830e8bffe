"""The supervisor of a machine's workers: one process a core, started again when it dies.

It does nothing else: no Kafka, no threads, no event loop. So it cannot fail with what its children fail with, and may
fork them (:mod:`oddtide.config.children`).
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from oddtide.config.children import Child, Ends, Launch, wait_for

__all__ = ["HOPELESS", "Supervisor"]

#: Exit codes that a restart cannot cure: usage, missing topic, configuration, a promise that cannot be kept.
HOPELESS = (2, 3, 4, 7)

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
#: Who ran this long (seconds) and dies is started again at once.
_STEADY_S = 60.0
#: Longer than a worker gives itself to stop, so that it is rarely killed.
_STOP_S = 35.0
#: How often to look after children whose end nobody tells us about (those that closed their lifeline).
_LOOK_EVERY_S = 0.2


@dataclass
class _Post:
    """One child's place: who fills it, and when it is to be filled again."""

    number: int
    child: Child | None = None
    lifeline: int = -1
    started: float = 0.0
    ups: int = 0
    failures: int = 0
    due: float = 0.0
    ready: bool = False

    def restart_in(self, now: float) -> float:
        """How long to wait now that it died: not at all the first time, then from 1 second, doubling, to 60."""
        if now - self.started > _STEADY_S:
            self.failures = 0
        wait_s = min(_FIRST_WAIT_S * 2.0 ** (self.failures - 1), _LONGEST_WAIT_S) if self.failures else 0.0
        self.failures += 1
        self.due = now + wait_s
        return wait_s


@dataclass
class Supervisor:
    """Keeps ``count`` processes running that ``launch`` starts.

    One that ends unasked is started again: at once, then after 1, 2, 4 ... 60 seconds as long as it keeps dying within
    a minute. One that ends with an exit code that a restart cannot cure ends them all. ``report`` is told what happens,
    ``all_ready`` is called once, when every child has said that it is ready. ``tether`` is a descriptor whose closing
    at the other end stops the supervisor.
    """

    launch: Launch
    count: int
    report: Callable[[str], None]
    all_ready: Callable[[], None] = lambda: None
    tether: int = -1
    clock: Callable[[], float] = time.monotonic
    posts: list[_Post] = field(init=False)

    def __post_init__(self) -> None:
        self.posts = [_Post(number) for number in range(self.count)]
        self._asked, self._ask = os.pipe()
        self._bound, self._binding = os.pipe()
        self._stopping = self._told = False

    def stop(self, *_: object) -> None:
        """Let :meth:`run` end. May be called from a signal handler or another thread."""
        self._stopping = True
        if self._ask >= 0:
            os.write(self._ask, b"!")

    def run(self) -> int:
        """Run until :meth:`stop`; returns 0, or the exit code of a child that no restart could help."""
        code = 0
        try:
            while not self._stopping and not code:
                code = next((found for post in self.posts if (found := self._look_after(post))), 0)
                if not code:
                    self._wait()
        finally:
            self._end()
        return code

    def _look_after(self, post: _Post) -> int:
        if post.child is None:
            if self.clock() >= post.due:
                self._start(post)
            return 0
        code = post.child.poll()
        return 0 if code is None else self._bury(post, code)

    def _bury(self, post: _Post, code: int) -> int:
        post.child = None
        self._close_lifeline(post)
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if code in HOPELESS:
            self.report(f"worker {post.number + 1} {how}; a restart would not help")
            return code
        wait_s = post.restart_in(self.clock())
        when = f"in {wait_s:g} s" if wait_s else "at once"
        self.report(f"worker {post.number + 1} {how}; starting it again {when}")
        return 0

    def _start(self, post: _Post) -> None:
        post.started, post.ready = self.clock(), False
        post.lifeline, theirs = os.pipe()
        others = [other.lifeline for other in self.posts if other.lifeline >= 0]
        tether = [self.tether] if self.tether >= 0 else []
        not_ours = (self._asked, self._ask, self._binding, *others, *tether)
        try:
            post.child = self.launch(post.number, post.ups, Ends(self._bound, theirs, not_ours))
        except BaseException:
            self._close_lifeline(post)
            raise
        finally:
            os.close(theirs)
        self.report(f"worker {post.number + 1} is process {post.child.pid}")

    def _wait(self) -> None:
        """Until something is to be done: a child speaks or is gone, a restart is due, somebody wants us to stop."""
        lifelines = {post.lifeline: post for post in self.posts if post.lifeline >= 0}
        watched = [*lifelines, self._asked, *([self.tether] if self.tether >= 0 else [])]
        readable, _, _ = select.select(watched, [], [], self._pause())
        if self.tether in readable and not os.read(self.tether, 1):
            self._stopping = True
        for descriptor in readable:
            if descriptor in lifelines:
                self._hear(lifelines[descriptor])

    def _pause(self) -> float | None:
        now = self.clock()
        waits = [max(post.due - now, 0.0) for post in self.posts if post.child is None]
        if any(post.child is not None and post.lifeline < 0 for post in self.posts):
            waits.append(_LOOK_EVERY_S)
        return min(waits, default=None)

    def _hear(self, post: _Post) -> None:
        if not os.read(post.lifeline, 16):
            self._close_lifeline(post)
            if post.child is not None:
                wait_for([post.child], _LOOK_EVERY_S)  # what is gone is its end of the pipe: itself in a moment
            return
        post.ready = True
        post.ups += 1
        self.report(f"worker {post.number + 1} is up after {self.clock() - post.started:.1f} s")
        if not self._told and all(other.ready for other in self.posts):
            self._told = True
            self.all_ready()

    def _end(self) -> None:
        """Ask all to stop, kill those that do not, close the pipes."""
        running = [post.child for post in self.posts if post.child is not None]
        for number, patience in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, _STOP_S)):
            for child in running:
                child.send_signal(number)
            running = wait_for(running, patience)
        for post in self.posts:
            self._close_lifeline(post)
        pipes, self._ask = (self._asked, self._ask, self._bound, self._binding), -1
        for descriptor in pipes:
            os.close(descriptor)

    @staticmethod
    def _close_lifeline(post: _Post) -> None:
        if post.lifeline >= 0:
            os.close(post.lifeline)
            post.lifeline = -1
