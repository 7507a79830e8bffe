"""What MLOps says: models, their versions, and which one is in force."""

from __future__ import annotations

from typing import Any

import msgspec

from oddtide.domain.events import Command, Event
from oddtide.domain.readings import Rfc3339

__all__ = [
    "LogRange",
    "ModelEvaluated",
    "ModelPromoted",
    "ModelRegistered",
    "ModelRolledBack",
    "ModelTrained",
    "PromoteModel",
    "TrainModel",
    "TrainingFailed",
]


class LogRange(msgspec.Struct, frozen=True, kw_only=True):
    """Where training data came from: the records ``from .. to-1`` of one partition."""

    topic: str
    partition: int
    from_offset: int = msgspec.field(name="from")
    to_offset: int = msgspec.field(name="to")


class ModelRegistered(Event, frozen=True, kw_only=True):
    """A model got its name. A model belongs to one stream and one detector of it (``label``)."""

    model: str
    stream: str
    algorithm: str
    time: Rfc3339
    parameters: dict[str, Any] = {}
    detector: str = ""


class ModelTrained(Event, frozen=True, kw_only=True):
    """A version came out of training. ``lineage`` names what it was trained on, ``digest`` the artifact (blake2b)."""

    model: str
    version: int
    stream: str
    algorithm: str
    artifact: str
    digest: str
    rows: int
    features: list[str]
    time: Rfc3339
    lineage: list[LogRange] = []
    parameters: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    metrics: dict[str, float] = {}
    duration_s: float = 0.0
    causation: str = ""


class ModelEvaluated(Event, frozen=True, kw_only=True):
    """A version was measured on data: which, and the metrics."""

    model: str
    version: int
    data: str
    metrics: dict[str, float]
    time: Rfc3339


class ModelPromoted(Event, frozen=True, kw_only=True):
    """A version became the ``alias`` (``champion``: in force; ``challenger``: shadow). ``replaces`` is 0 for none."""

    model: str
    version: int
    stream: str
    digest: str
    artifact: str
    time: Rfc3339
    by: str
    alias: str = "champion"
    replaces: int = 0
    causation: str = ""


class ModelRolledBack(ModelPromoted, frozen=True, kw_only=True):
    """An earlier version became the champion again."""


class TrainModel(Command, frozen=True, kw_only=True):
    """Ask for a new version, trained on the newest ``window`` readings of the stream's log."""

    model: str
    stream: str
    algorithm: str
    time: Rfc3339
    by: str
    window: int = 10_000
    parameters: dict[str, Any] = {}
    promote: bool = False
    causation: str = ""


class PromoteModel(Command, frozen=True, kw_only=True):
    """Ask that a version become the ``alias``. Refused when there is no such version."""

    model: str
    version: int
    time: Rfc3339
    by: str
    alias: str = "champion"


class TrainingFailed(Event, frozen=True, kw_only=True):
    """No version came out of a training, and why."""

    model: str
    stream: str
    algorithm: str
    reason: str
    time: Rfc3339
    causation: str = ""
