"""What drift says: warnings, detections, and what was done about them. Drift is never called an anomaly."""

from __future__ import annotations

from oddtide.domain.events import Event
from oddtide.domain.readings import Rfc3339

__all__ = ["DetectorAdapted", "DriftDetected", "DriftWarned"]


class DriftWarned(Event, frozen=True, kw_only=True):
    """A monitor sees the first signs of a change of distribution.

    ``watched`` is ``value:<feature>`` or ``score``; ``readings`` how many of the series came before.
    """

    id: str
    stream: str
    series: str
    time: Rfc3339
    monitor: str
    watched: str
    readings: int
    before: float | None = None
    after: float | None = None
    topic: str = ""
    partition: int = 0
    offset: int = 0
    row: int = 0


class DriftDetected(DriftWarned, frozen=True, kw_only=True):
    """A monitor is sure: the distribution of what it watches has changed (mean ``before`` to ``after``)."""


class DetectorAdapted(Event, frozen=True, kw_only=True):
    """A detector was adapted to a drift: ``policy`` is ``reset`` (the series' state forgotten) or ``retrain``
    (a training of its model was requested). ``causation`` is the id of the drift."""

    id: str
    stream: str
    series: str
    time: Rfc3339
    policy: str
    detector: str
    causation: str
    topic: str = ""
    partition: int = 0
    offset: int = 0
    row: int = 0
