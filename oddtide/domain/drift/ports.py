"""What a drift monitor is, to everything that is not one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

__all__ = ["Monitor", "MonitorFactory"]


@runtime_checkable
class Monitor(Protocol):
    """Watches one sequence of numbers for a change of distribution.

    ``update`` takes the next number; the properties then speak of that number. After a drift the monitor goes on
    with what came since. Deterministic; memory bounded.
    """

    def update(self, value: float) -> None:
        """Take the next number (finite)."""
        ...

    @property
    def drift_detected(self) -> bool:
        """Whether the number just taken settled that the distribution has changed."""
        ...

    @property
    def warning_detected(self) -> bool:
        """Whether it raised the first suspicion since the last drift."""
        ...

    @property
    def estimate(self) -> float:
        """The mean of what is held to be the current distribution."""
        ...


MonitorFactory: TypeAlias = Callable[[], Monitor]
