"""Ctrl-C and SIGTERM, in the three moods of a program that must clean up."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Stopping"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """At first either signal raises ``KeyboardInterrupt`` (starting up can be broken off anywhere); after
    :meth:`gentle` it sets ``asked`` (a run ends at a good moment); after :meth:`deaf` it does nothing (cleaning up is
    not broken off). Outside the ``with`` block the handlers are as they were. For the main thread."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._react = self._interrupt
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _NUMBERS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def gentle(self) -> None:
        """From now on a signal sets ``asked``."""
        self._react = self.asked.set

    def deaf(self) -> None:
        """From now on a signal does nothing."""
        self._react = lambda: None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._react()

    @staticmethod
    def _interrupt() -> None:
        raise KeyboardInterrupt
