"""Watching every series of a partition for drift."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence

from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.drift.ports import Monitor, MonitorFactory
from oddtide.domain.readings import FloatArray

__all__ = ["DriftWatch", "Finding"]

#: (what was watched: ``value:<feature>`` or ``score``, ``warning`` or ``drift``, mean before, mean after).
Finding = tuple[str, str, float | None, float | None]


class DriftWatch:
    """One monitor for the score and one for each feature, per slot, made when the slot's first number comes.

    Guaranteed: the findings of a slot depend on its own numbers alone, in order. A missing feature, and a score that is
    NaN (which is how the caller says "still warming up", lest the end of the warm-up pass for a drift), are not shown
    to a monitor. Memory grows with the slots seen and the monitors' own bound.
    """

    def __init__(self, policy: DriftPolicy, factory: MonitorFactory, features: Sequence[str]) -> None:
        self.policy = policy
        self._factory = factory
        self._watched = (*(f"value:{name}" for name in features), "score")
        self._monitors: dict[int, list[Monitor | None]] = {}

    def update(self, slot: int, value_row: FloatArray | Sequence[float], score: float) -> list[Finding]:
        """Show one reading's values (NaN: missing) and score; what the monitors found, values first.

        A drift is not also reported as a warning. ``before`` is None for a monitor's first number."""
        monitors = self._monitors.setdefault(slot, [None] * len(self._watched))
        findings: list[Finding] = []
        for place, number in enumerate((*value_row, score)):
            if math.isfinite(number):
                findings += self._show(monitors, place, float(number))
        return findings

    def reset(self, slot: int) -> None:
        """Forget one slot: its monitors begin anew (after an adaptation, or when its series is put to sleep)."""
        self._monitors.pop(slot, None)

    def save(self) -> bytes:
        """The state of all monitors. It is a pickle: whoever stores it signs it, and loads only what he signed."""
        return pickle.dumps(self._monitors, protocol=5)

    def load(self, state: bytes) -> None:
        """Replace the state by a saved one of the same features. Unpickles: the caller has checked its signature."""
        self._monitors = pickle.loads(state)  # signed by the caller, as DriftWatch.save asks

    def _show(self, monitors: list[Monitor | None], place: int, number: float) -> list[Finding]:
        monitor = monitors[place]
        before = None
        if monitor is None:
            monitor = monitors[place] = self._factory()
        else:
            before = _finite(monitor.estimate)
        monitor.update(number)
        if monitor.drift_detected:
            return [(self._watched[place], "drift", before, _finite(monitor.estimate))]
        if monitor.warning_detected:
            return [(self._watched[place], "warning", before, _finite(monitor.estimate))]
        return []


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
