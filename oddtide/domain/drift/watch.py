"""Watching every series of a partition for drift."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import cached_property
from math import isfinite

from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.drift.ports import Monitor, MonitorFactory
from oddtide.domain.errors import StateMismatchError
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import SlotState, bytes_of, pickled_size

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
        monitors = self._monitors.get(slot)
        if monitors is None:
            monitors = self._monitors[slot] = [None] * len(self._watched)
        findings: list[Finding] = []
        for place, number in enumerate((*value_row, score)):
            if isfinite(number):
                monitor = monitors[place]
                before = None
                if monitor is None:
                    monitor = monitors[place] = self._factory()
                else:
                    before = monitor.estimate
                monitor.update(number)
                if monitor.drift_detected or monitor.warning_detected:
                    kind = "drift" if monitor.drift_detected else "warning"
                    findings.append((self._watched[place], kind, _finite(before), _finite(monitor.estimate)))
        return findings

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen."""
        for slot in slots.tolist():
            self._monitors.pop(slot, None)

    @cached_property
    def bytes_per_slot(self) -> int:
        """A guess: what monitors take that have seen a few hundred numbers."""
        monitor = self._factory()
        for number in range(256):
            monitor.update(float(number % 7))
        return len(self._watched) * pickled_size(monitor)

    def extract(self, slots: IntArray) -> SlotState:
        """The monitors of each of ``slots`` as a pickle; no bytes where there are none yet."""
        found = [self._monitors.get(slot) for slot in slots.tolist()]
        return {"monitors": [b"" if each is None else pickle.dumps(each, protocol=5) for each in found]}

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the monitors of ``slots``. Unpickles: hand in only what this program extracted, or what was checked
        against its signature. Raises ``StateMismatchError`` for what is none of its own; nothing has changed then."""
        raws = bytes_of("drift", "monitors", len(slots), state)
        found = {slot: self._unpickled(raw) for slot, raw in zip(slots.tolist(), raws, strict=True) if raw}
        self.forget(slots)
        self._monitors.update(found)

    def _unpickled(self, raw: bytes) -> list[Monitor | None]:
        try:
            monitors = pickle.loads(raw)  # the caller vouches for it
        except Exception as error:  # a pickle may raise anything
            monitors = error
        wide = len(self._watched)
        if isinstance(monitors, list) and len(monitors) == wide and all(_is_monitor(each) for each in monitors):
            return monitors
        raise StateMismatchError(
            f"The saved drift monitors are not a list of {wide} but {monitors!r:.200}.",
            remedy="They were saved with other features; start from an empty state.",
        )


def _is_monitor(thing: object) -> bool:
    return thing is None or isinstance(thing, Monitor)


def _finite(number: float | None) -> float | None:
    return float(number) if number is not None and isfinite(number) else None
