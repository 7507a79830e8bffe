"""The model registry: a fold of the models' log, and the decisions that add to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oddtide.domain.events import Event
from oddtide.domain.mlops.events import (
    LogRange,
    ModelEvaluated,
    ModelPromoted,
    ModelRegistered,
    ModelRolledBack,
    ModelTrained,
    PromoteModel,
    TrainingFailed,
    TrainModel,
)
from oddtide.domain.readings import Rfc3339

__all__ = ["CHALLENGER", "CHAMPION", "Model", "Registry", "Training", "default_name"]

CHAMPION = "champion"
CHALLENGER = "challenger"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: Readings that a training may ask for: fewer teach nothing, more don't fit into memory.
_WINDOWS = range(10, 10_000_001)


def default_name(stream: str, detector: str) -> str:
    """The name of the model that serves a stream's detector where nobody gave it one."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{stream}-{detector}").strip("-._")[:100]


@dataclass(frozen=True, slots=True)
class Training:
    """What came out of a training: the artifact, what it was trained on, and what was measured."""

    artifact: str
    digest: str
    rows: int
    features: Sequence[str]
    lineage: Sequence[LogRange]
    libraries: Mapping[str, str]
    metrics: Mapping[str, float]
    duration_s: float
    time: Rfc3339


@dataclass(slots=True)
class Model:
    """A model as the log has it. ``aliases`` maps an alias to its version, ``evaluations`` a version to its
    measurements."""

    registered: ModelRegistered
    versions: dict[int, ModelTrained] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    evaluations: dict[int, list[ModelEvaluated]] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The highest version, 0 where there is none."""
        return max(self.versions, default=0)

    @property
    def champion(self) -> ModelTrained | None:
        """The version in force."""
        return self.versions.get(self.aliases.get(CHAMPION, 0))


class Registry:
    """Guaranteed: the state equals the fold of the applied events; a request whose id was decided decides nothing
    again; a version's number is never used twice. Decisions change nothing until they are applied."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._crowned: dict[str, None] = {}
        self._decided: set[str] = set()

    @property
    def models(self) -> Mapping[str, Model]:
        """All models by name."""
        return self._models

    def is_decided(self, id: str) -> bool:
        """Whether the request with this id was decided before."""
        return id in self._decided

    def serving(self, stream: str, algorithm: str, detector: str) -> str:
        """The model that serves a stream's detector: the one whose champion was promoted last, or the name that a
        new one would get."""
        fitting = [
            name
            for name, model in self._models.items()
            if model.registered.stream == stream
            and model.registered.algorithm == algorithm
            and model.registered.detector in ("", detector)
        ]
        crowned = [name for name in self._crowned if name in fitting] or fitting
        return crowned[-1] if crowned else default_name(stream, detector)

    def objection(self, command: TrainModel, streams: Sequence[str]) -> str:
        """Why a training can't be begun; empty where it can. ``streams`` are those that exist."""
        if not _NAME.fullmatch(command.model):
            return f"model name {command.model!r} is not 1 to 100 letters, digits, '.', '_' or '-'"
        if command.stream not in streams:
            return f"stream {command.stream!r} is not declared; declared are: {', '.join(sorted(streams)) or 'none'}"
        if command.window not in _WINDOWS:
            return f"window {command.window} is not between {_WINDOWS[0]} and {_WINDOWS[-1]} readings"
        known = self._models.get(command.model)
        if known is None:
            return ""
        for name in ("stream", "algorithm"):
            have, want = getattr(known.registered, name), getattr(command, name)
            if have != want:
                return f"model {command.model!r} belongs to {name} {have!r}, not {want!r}; choose another name"
        return ""

    def trained(self, command: TrainModel, id: str, training: Training, detector: str = "") -> list[Event]:
        """The events of a training that succeeded: the model where it is new (for one ``detector`` of its stream, or
        for all that use its algorithm), its version, and the promotion where it was asked for or there is no champion
        yet."""
        model = self._models.get(command.model)
        events: list[Event] = []
        if model is None:
            events.append(
                ModelRegistered(
                    model=command.model, stream=command.stream, algorithm=command.algorithm,
                    time=training.time, parameters=command.parameters, detector=detector,
                )
            )  # fmt: skip
        version = ModelTrained(
            model=command.model,
            version=(model.newest if model else 0) + 1,
            stream=command.stream,
            algorithm=command.algorithm,
            artifact=training.artifact,
            digest=training.digest,
            rows=training.rows,
            features=list(training.features),
            time=training.time,
            lineage=list(training.lineage),
            parameters=command.parameters,
            libraries=dict(training.libraries),
            metrics=dict(training.metrics),
            duration_s=training.duration_s,
            causation=id,
        )
        events.append(version)
        replaces = model.aliases.get(CHAMPION, 0) if model else 0
        if command.promote or not replaces:
            events.append(_promotion(ModelPromoted, version, CHAMPION, replaces, training.time, command.by, id))
        return events

    def failed(self, command: TrainModel, id: str, reason: str, time: Rfc3339) -> TrainingFailed:
        """The event of a training from which nothing came."""
        return TrainingFailed(
            model=command.model, stream=command.stream, algorithm=command.algorithm, reason=reason, time=time,
            causation=id,
        )  # fmt: skip

    def promote(self, command: PromoteModel, id: str) -> ModelPromoted | str:
        """The promotion (a rollback where an older champion comes back), or why it is refused."""
        model = self._models.get(command.model)
        if model is None:
            return f"there is no model {command.model!r}; models: {', '.join(sorted(self._models)) or 'none'}"
        version = model.versions.get(command.version)
        if version is None:
            have = ", ".join(map(str, sorted(model.versions))) or "none"
            return f"model {command.model!r} has no version {command.version}; versions: {have}"
        if command.alias not in (CHAMPION, CHALLENGER):
            return f"alias {command.alias!r} is neither {CHAMPION!r} nor {CHALLENGER!r}"
        replaces = model.aliases.get(command.alias, 0)
        if replaces == command.version:
            return f"version {command.version} of {command.model!r} is the {command.alias} already"
        back = command.alias == CHAMPION and replaces > command.version
        kind = ModelRolledBack if back else ModelPromoted
        return _promotion(kind, version, command.alias, replaces, command.time, command.by, id)

    def apply(self, event: Event) -> None:
        """Fold one event of the log. Events of other kinds, or of unknown models, change nothing."""
        causation = getattr(event, "causation", "")
        if causation:
            self._decided.add(causation)
        if isinstance(event, ModelRegistered):
            if event.model not in self._models:
                self._models[event.model] = Model(event)
            return
        model = self._models.get(getattr(event, "model", ""))
        if model is not None:
            _fold(model, event)
            if isinstance(event, ModelPromoted) and event.alias == CHAMPION:
                self._crowned.pop(event.model, None)  # the last to be crowned comes last
                self._crowned[event.model] = None

    def apply_all(self, events: Sequence[Event]) -> None:
        """Fold events in order."""
        for event in events:
            self.apply(event)


def _fold(model: Model, event: Event) -> None:
    if isinstance(event, ModelTrained):
        model.versions[event.version] = event
    elif isinstance(event, ModelPromoted):
        model.aliases[event.alias] = event.version
    elif isinstance(event, ModelEvaluated):
        model.evaluations.setdefault(event.version, []).append(event)


def _promotion(
    kind: type[ModelPromoted], version: ModelTrained, alias: str, replaces: int, time: Rfc3339, by: str, id: str
) -> ModelPromoted:
    return kind(
        model=version.model, version=version.version, stream=version.stream, digest=version.digest,
        artifact=version.artifact, time=time, by=by, alias=alias, replaces=replaces, causation=id,
    )  # fmt: skip
