"""The one catalogue of topics: name, key, what travels on it, partitions, retention.

``oddtide topics create`` makes them, the worker refuses to start when the cluster's differ, the schemas and the
AsyncAPI document are generated from here. Names carry the configured prefix (``oddtide`` by default).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from oddtide.domain.detection.events import AbsenceDetected, AnomalyDetected, SeriesReturned, Verdict
from oddtide.domain.drift.events import DetectorAdapted, DriftDetected, DriftWarned
from oddtide.domain.events import Message
from oddtide.domain.mlops.events import (
    ModelEvaluated,
    ModelPromoted,
    ModelRegistered,
    ModelRolledBack,
    ModelTrained,
    PromoteModel,
    TrainingFailed,
    TrainModel,
)
from oddtide.domain.observability.controls import PipelinePublished, PlannedWorkCancelled, PlannedWorkDeclared
from oddtide.domain.observability.events import (
    AcknowledgeAlert,
    AgentDegraded,
    AlertAcknowledged,
    AlertOpened,
    AlertResolved,
    AlertUpdated,
    AlertWithheld,
    CommandRefused,
    FeedbackGiven,
    FeedbackWithdrawn,
    HeartbeatRecorded,
    HistoryLost,
    LedgerBroken,
    ResolveAlert,
    WorkerLost,
    WorkerStarted,
    WorkerStopped,
)
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.profiling.events import ProfileUpdated
from oddtide.domain.quality.events import ContractViolated, ReadingRejected

__all__ = ["DEAD_LETTER_BYTES", "TopicCatalogue", "TopicSpec"]

_DAY_MS = 86_400_000
#: Twice what an input topic takes by default, so that every ordinary record fits with its rejection.
DEAD_LETTER_BYTES = 2 << 20
_FOREVER = {"retention.ms": "-1", "retention.bytes": "-1"}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it must be. ``role`` is its name without the prefix; ``config`` Kafka's topic settings.

    A ``foreign`` topic belongs to the producers: ``config`` is what it is created with where it does not exist yet,
    its owner may change it; only the number of partitions must match."""

    name: str
    role: str
    key: str
    carries: tuple[type[Message], ...]
    partitions: int
    purpose: str
    config: dict[str, str] = field(default_factory=dict)
    stream: str = ""
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class TopicCatalogue:
    """Every topic of one application.

    ``streams`` lists (stream name, readings topic, partitions). Result topics have ``partitions`` partitions: a
    result goes to partition (source partition mod their count), never by key hash.
    """

    streams: tuple[tuple[str, str, int], ...]
    prefix: str = "oddtide"
    partitions: int = 4
    retention_days: int = 30
    replication: int = 1

    def name(self, role: str) -> str:
        """The topic with this role: ``name("detections")`` is ``oddtide.detections``."""
        return f"{self.prefix}.{role}"

    @staticmethod
    def ledger_of(readings_topic: str) -> str:
        """The ledger topic of a readings topic; partitions are aligned one to one."""
        return f"{readings_topic}.ledger"

    def all(self) -> list[TopicSpec]:
        """All topics, readings and their ledgers first."""
        return [*self._inputs(), *self._results(), *self._control()]

    def find(self, name: str) -> TopicSpec | None:
        """The topic of this full name, or None for one that is not ours."""
        return next((spec for spec in self.all() if spec.name == name), None)

    def _inputs(self) -> list[TopicSpec]:
        specs = []
        for stream, topic, partitions in self.streams:
            specs.append(
                TopicSpec(topic, "readings", "series", (), partitions, f"readings of the stream {stream}",
                          self._kept(), stream, foreign=True)
            )  # fmt: skip
            specs.append(
                TopicSpec(self.ledger_of(topic), "ledger", "partition", (BatchCompleted,), partitions,
                          f"what became of every reading of {topic}; where a partition resumes", dict(_FOREVER), stream)
            )  # fmt: skip
        return specs

    def _results(self) -> list[TopicSpec]:
        return [
            self._result(
                "detections",
                "series",
                (AnomalyDetected, AbsenceDetected, SeriesReturned),
                "anomalies, one event each; series that fall silent and return",
            ),
            self._result("verdicts", "partition", (Verdict,), "every verdict of streams that publish all, in frames"),
            self._result(
                "deadletters",
                "series or none",
                (ReadingRejected,),
                "rejected input, bytes as they came",
                {"max.message.bytes": str(DEAD_LETTER_BYTES)},
            ),
            self._result("quality", "series", (ContractViolated, ProfileUpdated), "contracts broken, profiles"),
            self._result("drift", "series", (DriftWarned, DriftDetected, DetectorAdapted), "changes of distribution"),
        ]

    def _control(self) -> list[TopicSpec]:
        alerts = (AlertOpened, AlertUpdated, AlertWithheld, AlertAcknowledged, AlertResolved, CommandRefused)
        health = (
            WorkerStarted, HeartbeatRecorded, WorkerStopped, WorkerLost, AgentDegraded, LedgerBroken,
            HistoryLost,
        )  # fmt: skip
        models = (
            ModelRegistered, ModelTrained, ModelEvaluated, ModelPromoted, ModelRolledBack, TrainingFailed,
            CommandRefused,
        )  # fmt: skip
        commands = (AcknowledgeAlert, ResolveAlert, TrainModel, PromoteModel)
        feedback = (FeedbackGiven, FeedbackWithdrawn)
        work = (PlannedWorkDeclared, PlannedWorkCancelled)
        return [
            self._kept_topic("alerts", "alert", alerts, "alerts and their lifecycle", self.partitions),
            self._kept_topic("models", "model", models, "the model registry's log", 1),
            TopicSpec(self.name("pipelines"), "pipelines", "stream/version", (PipelinePublished,), 1,
                      "published pipeline versions; a stream's newest record is the one in force",
                      {"cleanup.policy": "compact"}),
            self._kept_topic("feedback", "series", feedback, "labels from people", self.partitions),
            self._kept_topic("plannedwork", "stream", work, "planned work: when not to wake anybody", 1),
            self._kept_topic("commands", "target", commands, "requests to the agents", 1),
            TopicSpec(self.name("health"), "health", "worker", health, 1, "workers' heartbeats",
                      {"retention.ms": str(7 * _DAY_MS)}),
        ]  # fmt: skip

    def _result(
        self,
        role: str,
        key: str,
        carries: tuple[type[Message], ...],
        purpose: str,
        config: Mapping[str, str] | None = None,
    ) -> TopicSpec:
        return TopicSpec(
            self.name(role), role, key, carries, self.partitions, purpose, {**self._kept(), **(config or {})}
        )

    def _kept_topic(
        self, role: str, key: str, carries: tuple[type[Message], ...], purpose: str, partitions: int
    ) -> TopicSpec:
        return TopicSpec(self.name(role), role, key, carries, partitions, purpose, dict(_FOREVER))

    def _kept(self) -> dict[str, str]:
        return {"retention.ms": str(self.retention_days * _DAY_MS)}
