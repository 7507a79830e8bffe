"""How the rivals' programs are timed: from the first event to the last, wall clock and processor time."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

__all__ = ["Stopwatch", "arguments"]

#: A verdict at or below it is an anomaly, as the project's default says.
THRESHOLD = 1e-6


def arguments(what: str) -> argparse.Namespace:
    """``--bootstrap``, ``--topic``, ``--count`` (events to process) and ``--anomalies`` (topic that they go to)."""
    parser = argparse.ArgumentParser(description=what)
    for name in ("--bootstrap", "--topic", "--anomalies"):
        parser.add_argument(name, required=True)
    parser.add_argument("--count", type=int, required=True)
    return parser.parse_args()


class Stopwatch:
    """Counts events; at the last it prints the rate and ends the process, whatever else still runs in it.

    ``before_end`` is called first (to flush what was sent): it counts."""

    def __init__(self, count: int, before_end: Callable[[], None] = lambda: None) -> None:
        self._left = self._count = count
        self._before_end = before_end
        self._began = self._cpu = 0.0

    def tick(self, events: int = 1) -> None:
        """So many events are done."""
        if self._left == self._count:
            self._began, self._cpu = time.perf_counter(), time.process_time()
        self._left -= events
        if self._left <= 0:
            self._before_end()
            self._print()

    def _print(self) -> None:
        seconds = time.perf_counter() - self._began
        cpu = (time.process_time() - self._cpu) / self._count
        line = json.dumps({"rate": self._count / seconds, "cpu_us": cpu * 1e6})
        os.write(1, f"{line}\n".encode())  # Faust takes sys.stdout for its log
        os._exit(0)
