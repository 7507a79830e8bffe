"""How a worker ends: every step in bounded time, whatever the cluster does.

The clients of Faust and aiokafka wait without end for a Kafka that is away when they are closed, and now and then for
ever where a cancellation was lost between two of their tasks. A worker that is told to stop owes its partitions to the
next owner: what is folded is committed where that is possible, a snapshot is left, the transactional producers are
closed. Each of these steps has a bound of its own. What comes after them (commits of the group, which only lag displays
read, leaving the group, closing connections) is courtesy: where that takes too long the process ends without it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import structlog

from oddtide.domain.errors import OddtideError

__all__ = ["STOP_WITHIN_S", "LastResort", "closed_within", "waited_for"]

#: How long a worker may take to stop (seconds); what runs it has the patience of half a minute.
STOP_WITHIN_S = 25.0

_MOST_NAMED = 8
_CLOSING = ("stop", "close", "shutdown")

_log = structlog.get_logger(__name__)


async def closed_within(seconds: float, closing: Coroutine[Any, Any, object]) -> bool:
    """Close something; says whether that was done, well or badly, within ``seconds``. Else it is cancelled and left to
    itself: not even the end of a cancellation is waited for, since aiokafka loses one now and then."""
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        done = task.done()
        task.add_done_callback(_seen)
        task.cancel()
    return done


def _seen(task: asyncio.Task[object]) -> None:
    if not task.cancelled():
        task.exception()


class LastResort:
    """Ends the process where its orderly end takes longer than ``seconds``.

    ``owing`` says whether it still holds what others wait for. Where it does not, a stop that was asked for counts as
    one in order (exit code 0); where it does, the exit code is 1, though nothing is lost: what was not committed is
    folded again by the next owner. A worker that ends for a reason of its own keeps the exit code of that."""

    def __init__(self, seconds: float, owing: Callable[[], bool], end: Callable[[int], Any] = os._exit) -> None:
        self._seconds, self._owing, self._end = seconds, owing, end
        self._reason: BaseException | None = None
        self._timer = threading.Timer(seconds, self._too_long)
        self._timer.daemon = True

    def begin(self, reason: BaseException | None = None) -> None:
        """The end has begun, for ``reason``; None where somebody asked for it."""
        self._reason = reason
        self._timer.start()

    def over(self) -> None:
        """The end has come by itself."""
        self._timer.cancel()

    def _too_long(self) -> None:
        about = {"seconds": self._seconds, "waited_for": waited_for()}
        if self._reason is not None:
            _log.error("did not stop in time and is ended", reason=str(self._reason), **about)
            self._end(self._reason.exit_code if isinstance(self._reason, OddtideError) else 1)
        elif self._owing():
            _log.error("did not stop in time and is ended; uncommitted work is done again", **about)
            self._end(1)
        else:
            _log.warning("connections are dropped that do not close; all partitions were let go in order", **about)
            self._end(0)


def waited_for() -> str:
    """Where every task of this process that stops or closes something waits, innermost last: for the log, when that
    takes too long. Any thread may ask."""
    # By its type, not by isinstance, which asks the object itself: a dead weak reference's proxy raises at that.
    every = [each for each in gc.get_objects() if issubclass(type(each), asyncio.Task) and not each.done()]
    tasks = [each for each in every if each.get_loop().is_running()]  # not what a loop left behind that is closed
    chains = [chain for task in tasks if (chain := list(_frames(task.get_coro()))) and _closes(chain)]
    return " | ".join(" > ".join(f"{name} {place}" for name, place in chain) for chain in chains[:_MOST_NAMED])


def _closes(chain: list[tuple[str, str]]) -> bool:
    return any(word in name for name, _ in chain for word in _CLOSING)


def _frames(awaited: Any) -> Iterator[tuple[str, str]]:
    """The coroutines that wait for one another, from the outermost to the innermost."""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            return
        yield frame.f_code.co_name, f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
