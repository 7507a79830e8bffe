"""Events for tests of read models, with their place in a log."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from oddtide.domain.detection.events import AnomalyDetected
from oddtide.domain.drift.events import DetectorAdapted, DriftDetected, DriftWarned
from oddtide.domain.events import Message
from oddtide.domain.mlops.events import ModelPromoted, ModelRegistered, ModelTrained
from oddtide.domain.observability.events import (
    AlertAcknowledged,
    AlertOpened,
    AlertResolved,
    AlertUpdated,
    FeedbackGiven,
    FeedbackWithdrawn,
    HeartbeatRecorded,
    WorkerLost,
    WorkerStarted,
)
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.profiling.events import FeatureProfile, ProfileUpdated
from oddtide.domain.quality.events import ContractViolated
from oddtide.domain.readings import rfc3339
from oddtide.streams.envelope import Envelope
from oddtide.streams.ports import LoggedEvent

__all__ = [
    "NOW", "SECOND", "Log", "acknowledged", "adapted", "at", "batch", "beat", "detection", "drifted", "given", "lost",
    "opened", "profile", "promoted", "registered", "resolved", "started", "trained", "updated", "violated", "warned",
    "withdrawn",
]  # fmt: skip

SECOND = 1_000_000_000
#: What the tests' clock says.
NOW = 1_767_268_800 * SECOND


def at(seconds: float) -> str:
    """A time so many seconds after :data:`NOW`."""
    return rfc3339(NOW + int(seconds * SECOND))


class Log:
    """A log that events are appended to. ``ids`` gives those without one an id of their content and place."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, int], int] = defaultdict(int)

    def append(
        self, topic: str, event: Message, *, partition: int = 0, id: str | None = None, timestamp: int | None = None
    ) -> LoggedEvent:
        place = (topic, partition)
        offset = self._ends[place]
        self._ends[place] += 1
        name = id if id is not None else f"{topic}-{partition}-{offset}"
        envelope = Envelope(id=name, type=event.type_name(), source="/test")
        logged = NOW // 1_000_000 if timestamp is None else timestamp
        return LoggedEvent(topic, partition, offset, logged, "key", envelope, event)

    @property
    def ends(self) -> dict[tuple[str, int], int]:
        """The next offset of every partition."""
        return dict(self._ends)


def detection(id: str, *, series: str = "pump-1", second: float = 0, offset: int = 0, **more: Any) -> AnomalyDetected:
    fields: dict[str, Any] = {
        "id": id, "stream": "readings", "series": series, "time": at(second), "feature": "value", "value": 9.5,
        "score": 7.25, "p_value": 1e-9, "is_anomaly": True, "topic": "oddtide.readings", "offset": offset,
    }  # fmt: skip
    return AnomalyDetected(**fields | more)


def opened(alert: str, *, second: float = 0, count: int = 1, **more: Any) -> AlertOpened:
    return AlertOpened(**_alert(alert, second, count) | more)


def updated(alert: str, *, second: float = 0, count: int = 2, **more: Any) -> AlertUpdated:
    return AlertUpdated(**_alert(alert, second, count) | more)


def _alert(alert: str, second: float, count: int) -> dict[str, Any]:
    return {
        "alert": alert, "kind": "anomaly", "stream": "readings", "series": "pump-1", "severity": "warning",
        "summary": f"{count} anomalies", "opened": at(0), "last": at(second), "count": count, "p_value": 1e-9,
    }  # fmt: skip


def acknowledged(alert: str, *, second: float = 1, by: str = "ada") -> AlertAcknowledged:
    return AlertAcknowledged(alert=alert, by=by, time=at(second), note="on it")


def resolved(alert: str, *, second: float = 2, how: str = "quiet") -> AlertResolved:
    return AlertResolved(alert=alert, how=how, time=at(second))


def violated(id: str, *, offset: int = 0, row: int = 0, rule: str = "range", **more: Any) -> ContractViolated:
    fields: dict[str, Any] = {
        "id": id, "stream": "readings", "series": "pump-1", "rule": rule, "detail": "99 is above 50",
        "action": "report", "time": at(offset), "feature": "value", "value": 99.0, "topic": "oddtide.readings",
        "offset": offset, "row": row,
    }  # fmt: skip
    return ContractViolated(**fields | more)


def profile(readings: int, *, series: str = "pump-1", offset: int = 0) -> ProfileUpdated:
    feature = FeatureProfile(count=readings, missing=0, minimum=-0.0, maximum=2.0, mean=1.0, variance=0.1)
    return ProfileUpdated(
        id=f"profile-{series}-{readings}", stream="readings", series=series, readings=readings, time=at(readings),
        features={"value": feature}, topic="oddtide.readings", offset=offset,
    )  # fmt: skip


def _drift(id: str, offset: int, watched: str) -> dict[str, Any]:
    return {
        "id": id, "stream": "readings", "series": "pump-1", "time": at(offset), "monitor": "adwin",
        "watched": watched, "readings": 100, "topic": "oddtide.readings", "offset": offset,
    }  # fmt: skip


def warned(id: str, *, offset: int = 0, watched: str = "score") -> DriftWarned:
    return DriftWarned(**_drift(id, offset, watched))


def drifted(id: str, *, offset: int = 0, watched: str = "score") -> DriftDetected:
    return DriftDetected(**_drift(id, offset, watched))


def adapted(id: str, *, offset: int = 0, partition: int = 0, causation: str = "drift") -> DetectorAdapted:
    return DetectorAdapted(
        id=id, stream="readings", series="pump-1", time=at(offset), policy="reset", detector="ewma",
        causation=causation, topic="oddtide.readings", partition=partition, offset=offset,
    )  # fmt: skip


def given(id: str, *, verdict: str = "v1", second: float = 0) -> FeedbackGiven:
    return FeedbackGiven(id=id, verdict=verdict, label="dismissed", by="ada", time=at(second), series="pump-1")


def withdrawn(feedback: str, *, second: float = 1) -> FeedbackWithdrawn:
    return FeedbackWithdrawn(feedback=feedback, by="bob", time=at(second))


def started(worker: str, *, second: float = 0) -> WorkerStarted:
    return WorkerStarted(worker=worker, host="host", pid=7, roles=["ingest"], build="0.1.0", time=at(second))


def beat(worker: str, *, second: float = 0, **more: Any) -> HeartbeatRecorded:
    fields: dict[str, Any] = {
        "worker": worker, "host": "host", "pid": 7, "roles": ["ingest"], "time": at(second), "uptime_s": second,
        "readings": 10,
    }  # fmt: skip
    return HeartbeatRecorded(**fields | more)


def lost(worker: str, *, last: float, second: float = 0) -> WorkerLost:
    return WorkerLost(worker=worker, time=at(second), silent_s=20.0, last=at(last))


def batch(first: int, until: int, *, partition: int = 0, **more: Any) -> BatchCompleted:
    count = until - first
    fields: dict[str, Any] = {
        "stream": "readings", "topic": "oddtide.readings", "partition": partition, "from_offset": first,
        "to_offset": until, "records": count, "holes": 0, "readings": count, "scored": count, "hash": f"{until:016x}",
        "worker": "w1", "time": at(until),
    }  # fmt: skip
    return BatchCompleted(**fields | more)


def registered(model: str) -> ModelRegistered:
    return ModelRegistered(model=model, stream="readings", algorithm="pyod:IForest", time=at(0), detector="iforest")


def trained(model: str, version: int, **more: Any) -> ModelTrained:
    fields: dict[str, Any] = {
        "model": model, "version": version, "stream": "readings", "algorithm": "pyod:IForest",
        "artifact": f"{model}/{version}", "digest": "d" * 64, "rows": 1_000, "features": ["value"],
        "time": at(version), "metrics": {"contamination": 0.1},
    }  # fmt: skip
    return ModelTrained(**fields | more)


def promoted(model: str, version: int, *, alias: str = "champion", second: float = 9) -> ModelPromoted:
    return ModelPromoted(
        model=model, version=version, stream="readings", digest="d" * 64, artifact=f"{model}/{version}",
        time=at(second), by="ada", alias=alias,
    )  # fmt: skip
