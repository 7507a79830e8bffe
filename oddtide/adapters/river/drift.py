"""river's ADWIN as a drift monitor.

Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007: a window of past numbers is
cut wherever its two parts differ by more than chance allows at confidence ``delta``. Two of them run side by side: one
decides, one with a larger ``delta`` gives the warning before it.
"""

from __future__ import annotations

from typing import Any

from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.drift.ports import Monitor, MonitorFactory
from oddtide.domain.errors import ConfigurationError

__all__ = ["AdwinMonitor", "adwin"]

#: Magnitudes beyond are taken as this: ADWIN squares them.
_HUGE = 1e100


def adwin(policy: DriftPolicy) -> MonitorFactory:
    """A factory of monitors after ``policy``. Raises ``ConfigurationError`` where it asks for something else."""
    if policy.monitor != "adwin":
        raise ConfigurationError(f"There is no drift monitor {policy.monitor!r}.", remedy="Known: adwin.")
    for name, delta in (("delta", policy.delta), ("warning_delta", policy.warning_delta)):
        if not 0.0 < delta < 1.0:
            remedy = "It takes a probability between 0 and 1, without the ends."
            raise ConfigurationError(f"The drift policy's {name} is {delta!r}.", remedy=remedy)
    from river import drift  # imported late: river is slow to import

    window: Any = drift.ADWIN  # river leaves it untyped

    def make() -> Monitor:
        return AdwinMonitor(window(delta=policy.delta), window(delta=policy.warning_delta))

    return make


class AdwinMonitor:
    """Two ADWINs over the same numbers. Memory grows with the logarithm of the window. Can be pickled."""

    def __init__(self, decider: Any, warner: Any) -> None:
        self._decider, self._fresh_warner, self._warner = decider, warner, warner.clone()
        self._warned = False
        self._count, self._total = 0, 0.0
        #: Whether the number just taken settled it; whether it raised the first suspicion since the last drift.
        self.drift_detected = self.warning_detected = False

    def update(self, value: float) -> None:
        """Take the next number."""
        if not -_HUGE <= value <= _HUGE:
            value = _HUGE if value > 0 else -_HUGE
        if self.drift_detected:  # river's begins anew here
            self._count, self._total = 0, 0.0
        decider, warner = self._decider, self._warner
        decider.update(value)
        warner.update(value)
        self._count += 1
        self._total += value
        self.drift_detected = decider.drift_detected
        self.warning_detected = warner.drift_detected and not self._warned and not self.drift_detected
        if self.warning_detected:
            self._warned = True
        if self.drift_detected:
            self._warner, self._warned = self._fresh_warner.clone(), False

    @property
    def estimate(self) -> float:
        """The mean of what is held to be the current distribution. (river's own is asked only where it has cut its
        window: it takes longer than taking a number.)"""
        if self.drift_detected or not self._count:
            return float(self._decider.estimation)
        return self._total / self._count
