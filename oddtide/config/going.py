"""How far something long is: a line written over and over on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

__all__ = ["Going"]

_ON_TERMINAL_S = 0.5
_IN_LOG_S = 10.0


class Going:
    """Progress of ``total`` things (``what``, in the plural; 0: nobody knows how many) on stderr, with the rate and the
    time left. Quiet for work that is done before there is anything to say."""

    def __init__(
        self, doing: str, total: int, what: str = "records", *, clock: Callable[[], float] = time.monotonic,
        stream: TextIO | None = None,
    ) -> None:  # fmt: skip
        self._doing = doing
        self._total = total
        self._what = what
        self._clock = clock
        self._stream = stream or sys.stderr
        self._began = self._shown = clock()
        self._done = 0
        self._terminal = self._stream.isatty()
        self._written = False

    def __call__(self, done: int) -> None:
        """So many more are done."""
        self._done += done
        now = self._clock()
        if now - self._shown >= (_ON_TERMINAL_S if self._terminal else _IN_LOG_S):
            self._shown = now
            self._show(now)

    def end(self) -> None:
        """Nothing more will come: leave the terminal's line free."""
        if self._written and self._terminal:
            print(file=self._stream)

    def _show(self, now: float) -> None:
        rate = self._done / (now - self._began)
        left = max(self._total - self._done, 0)
        of = f" of {self._total:,}" if self._total else ""
        text = f"{self._doing}: {self._done:,}{of} {self._what}, {rate:,.0f} a second"
        if left and rate:
            text += f", {_duration(left / rate)} left"
        ending = " " * 8 if self._terminal else "\n"
        print(f"\r{text}" if self._terminal else text, end=ending, file=self._stream, flush=True)
        self._written = True


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7_200:
        return f"{whole // 60} min"
    return f"{whole // 3_600} h {whole % 3_600 // 60} min"
