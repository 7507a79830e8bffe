"""Concept drift: the ground moving, as against one strange step.

An *anomaly* is a reading that does not fit what its series was like. *Drift* is that the series itself has changed: a
pump was replaced, a tariff went up, a sensor ages. A detector that goes on comparing with the old world calls the new
one strange for ever, or slowly learns it without telling anyone. So drift is watched for separately, reported as its
own kind of event, and never called an anomaly.

A *monitor* (:class:`Monitor`) watches one sequence of numbers, in constant memory, and says when it is sure that their
distribution is no longer what it was, often with a *warning* before. :class:`DriftWatch` keeps one for each feature of
each series, which sees changes of the data, and one for its score, which sees changes of how well the detector
understands the data: with several features these are not the same.

What follows a drift is policy (:class:`DriftPolicy`): nothing; the series' detector state is forgotten and it warms up
again; or a training of its model is requested. Each is an event of its own, whose cause is the drift.

No monitor knows whether a change matters. Sequences with seasons or strong autocorrelation raise false alarms: a small
``delta`` is the remedy, a later detection its price. Monitors themselves live in adapters; the port says what they are.
"""

from __future__ import annotations

from oddtide.domain.drift.events import DetectorAdapted, DriftDetected, DriftWarned
from oddtide.domain.drift.policy import Adaptation, DriftPolicy
from oddtide.domain.drift.ports import Monitor, MonitorFactory
from oddtide.domain.drift.watch import DriftWatch, Finding

__all__ = [
    "Adaptation",
    "DetectorAdapted",
    "DriftDetected",
    "DriftPolicy",
    "DriftWarned",
    "DriftWatch",
    "Finding",
    "Monitor",
    "MonitorFactory",
]
