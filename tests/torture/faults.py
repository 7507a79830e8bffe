"""What harm a worker process does to itself, and where: decided outside, told through the environment.

A *point* is a named place in the product's code (:mod:`tests.torture.points` wraps it from outside). A *fault* says
what happens at the nth time that the process comes past one. A flight recorder, a few bytes of a file mapped into
memory, outlives the process however it ends: it tells what was under way when a signal struck.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import signal
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

__all__ = ["PLAN_VARIABLE", "SECTIONS", "Fault", "FaultPlan", "FlightRecorder", "environment"]

PLAN_VARIABLE = "TORTURE_PLAN"
#: What a worker can be in the middle of.
SECTIONS = ("transaction", "snapshot", "recovery")

Action = Literal["kill", "stop", "delay", "disk_full"]


@dataclass(frozen=True)
class Fault:
    """At the ``nth`` pass of ``point``: ``kill`` (-9) or ``stop`` (SIGSTOP) the process, ``delay`` it by ``seconds``,
    or fail with "no space left on device" (``disk_full``; ``times`` passes long)."""

    point: str
    nth: int = 1
    action: Action = "kill"
    seconds: float = 0.0
    times: int = 1


class FlightRecorder:
    """How many of each section are under way, and how many faults struck, in a file that outlives the process."""

    _FORMAT = struct.Struct(f"={len(SECTIONS) + 1}q")

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(self._FORMAT.size))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), self._FORMAT.size)
        self._lock = threading.Lock()

    def add(self, section: str, change: int) -> None:
        """Note that ``change`` more of ``section`` are under way."""
        self._add(SECTIONS.index(section), change)

    @contextmanager
    def during(self, section: str) -> Iterator[None]:
        """Note one more of ``section`` for the duration."""
        self.add(section, 1)
        try:
            yield
        finally:
            self.add(section, -1)

    def struck(self) -> None:
        """Note that a fault is about to strike."""
        self._add(len(SECTIONS), 1)

    def under_way(self) -> list[str]:
        """The sections that are, or were at the process' death, under way."""
        return [name for name, count in zip(SECTIONS, self._read(), strict=False) if count > 0]

    @property
    def strikes(self) -> int:
        """How many faults struck."""
        return self._read()[-1]

    def _read(self) -> list[int]:
        return list(self._FORMAT.unpack(self._memory[:]))

    def _add(self, place: int, change: int) -> None:
        with self._lock:
            counts = self._read()
            counts[place] += change
            self._memory[:] = self._FORMAT.pack(*counts)


class FaultPlan:
    """The faults of this process. ``reached`` is called from wherever a point lies; any thread may."""

    def __init__(self, faults: Iterable[Fault], recorder: FlightRecorder) -> None:
        self.faults = tuple(faults)
        self.recorder = recorder
        self._passes: Counter[str] = Counter()
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> FaultPlan | None:
        """The plan that :func:`environment` wrote; None where there is none."""
        text = variables.get(PLAN_VARIABLE)
        if not text:
            return None
        plan = json.loads(text)
        return cls([Fault(**fault) for fault in plan["faults"]], FlightRecorder(Path(plan["recorder"])))

    def minds(self, point: str) -> bool:
        """Whether any fault lies at ``point``."""
        return any(fault.point == point for fault in self.faults)

    def reached(self, point: str) -> None:
        """Come past ``point``. May not return; raises ``OSError`` where the disk is to be full."""
        with self._lock:
            self._passes[point] += 1
            count = self._passes[point]
        for fault in self.faults:
            if fault.point == point and fault.nth <= count < fault.nth + fault.times:
                self.recorder.struck()
                _strike(fault)


def _strike(fault: Fault) -> None:
    if fault.action == "delay":
        time.sleep(fault.seconds)
    elif fault.action == "disk_full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    else:
        os.kill(os.getpid(), signal.SIGKILL if fault.action == "kill" else signal.SIGSTOP)


def environment(faults: Iterable[Fault], recorder: Path) -> dict[str, str]:
    """The variables that give a worker process these faults."""
    return {PLAN_VARIABLE: json.dumps({"faults": [asdict(fault) for fault in faults], "recorder": str(recorder)})}
