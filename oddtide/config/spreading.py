"""Work over several processes: what is long and goes by partitions gets as many cores as there are."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias, TypeVar

from oddtide.config.logs import keep_quiet
from oddtide.domain.errors import OddtideError

__all__ = ["Tell", "Work", "cores", "spread"]

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Says something to the process that asked for the work: progress, a row to print.
Tell: TypeAlias = Callable[[Any], None]
Work: TypeAlias = Callable[[Task, Tell], Result]

#: Messages under way at most; a process that says more than the other can print waits.
_UNDER_WAY = 1_000
_LOOK_EVERY_S = 0.5


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(work: Work[Task, Result], tasks: Sequence[Task], *, processes: int, tell: Tell) -> list[Result]:
    """``work(task, tell)`` of each task, results in the tasks' order; an error of one ends all.

    With one process (or task) it runs right here. ``work`` must be a function of a module and tasks, messages and
    results must pickle. What a worker tells arrives in its order.
    """
    processes = min(processes, len(tasks))
    if processes <= 1:
        return [work(task, tell) for task in tasks]
    context = get_context("spawn")
    said = context.Queue(_UNDER_WAY)
    asked = context.Queue()
    for index in range(len(tasks)):
        asked.put(index)
    for _ in range(processes):
        asked.put(None)
    started = [
        context.Process(target=_serve, args=(work, list(tasks), asked, said), daemon=True) for _ in range(processes)
    ]
    for process in started:
        process.start()
    try:
        return _gather(said, started, len(tasks), tell)
    finally:
        for process in started:
            process.terminate()
            process.join()


def _gather(said: Any, started: Sequence[BaseProcess], count: int, tell: Tell) -> list[Any]:
    results: dict[int, Any] = {}
    while len(results) < count:
        try:
            index, kind, content = said.get(timeout=_LOOK_EVERY_S)
        except queue.Empty:
            _check(started)
            continue
        if kind == "failed":
            raise content
        if kind == "done":
            results[index] = content
        else:
            tell(content)
    return [results[index] for index in range(count)]


def _check(started: Sequence[BaseProcess]) -> None:
    dead = [process.exitcode for process in started if process.exitcode]
    if dead:
        raise OddtideError(
            f"A process that helped ended with code {dead[0]} before its work was done.",
            remedy="Was it killed for want of memory? `--jobs 1` does the work in one process.",
        )


def _say(said: Any, index: int, message: Any) -> None:
    said.put((index, "said", message))


def _serve(work: Work[Any, Any], tasks: Sequence[Any], asked: Any, said: Any) -> None:
    """What a helping process does: task after task until there is none left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that asked ends us
    keep_quiet()
    while (index := asked.get()) is not None:
        try:
            said.put((index, "done", work(tasks[index], partial(_say, said, index))))
        except OddtideError as error:
            said.put((index, "failed", type(error)(error.problem, remedy=error.remedy)))
        except Exception as error:
            said.put((index, "failed", OddtideError(f"{type(error).__name__}: {error}.")))
