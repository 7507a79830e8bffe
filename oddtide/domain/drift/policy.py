"""How a stream watches for drift and what it does about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Adaptation", "DriftPolicy"]

#: What follows a drift: nothing, the series' detector state is forgotten, or its model's training is requested.
Adaptation = Literal["none", "reset", "retrain"]


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """``monitor`` names the method; ``delta`` is its confidence (smaller: fewer false alarms), ``warning_delta``
    that of the warning before it. Drift is watched in the ``deep`` profile only."""

    monitor: str = "adwin"
    delta: float = 0.0005
    warning_delta: float = 0.01
    adaptation: Adaptation = "none"
