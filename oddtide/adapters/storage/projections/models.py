"""Models: the registry as the log has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from oddtide.adapters.storage.columns import digest, moment
from oddtide.adapters.storage.projections.base import Content, Fact, Row, Rows, Store
from oddtide.adapters.storage.tables import MODEL_ALIASES, MODEL_HISTORY, MODEL_VERSIONS, MODELS
from oddtide.domain.events import Message
from oddtide.domain.mlops.events import (
    ModelEvaluated,
    ModelPromoted,
    ModelRegistered,
    ModelRolledBack,
    ModelTrained,
    TrainingFailed,
)
from oddtide.domain.observability.events import CommandRefused

__all__ = ["ModelsProjection"]

_OF_A_MODEL = (ModelRegistered, ModelTrained, ModelEvaluated, ModelPromoted, ModelRolledBack, TrainingFailed)


class ModelsProjection:
    """Models, their versions and aliases, and everything that was said of them. A model's events are one partition's,
    so their order in the log is the order of the facts; one logged twice is known by its id in the history."""

    name: ClassVar[str] = "models"
    group: ClassVar[str] = "mlops"
    takes: ClassVar[tuple[type[Message], ...]] = (*_OF_A_MODEL, CommandRefused)
    contents: ClassVar[tuple[Content, ...]] = (
        Content(MODELS), Content(MODEL_VERSIONS), Content(MODEL_ALIASES), Content(MODEL_HISTORY),
    )  # fmt: skip

    def fold(self, facts: Sequence[Fact], store: Store) -> None:
        known = store.known(MODEL_HISTORY, (fact.id for fact in facts))
        first: dict[str, Fact] = {}
        for fact in facts:
            if fact.id not in known:
                first.setdefault(fact.id, fact)
        new = list(first.values())
        _fold_models(new, store)
        _fold_versions(new, store)
        _fold_aliases(new, store)
        store.add(MODEL_HISTORY, [_history(fact) for fact in new])


def _model(fact: Fact) -> str:
    event = fact.event
    return str(event.target if isinstance(event, CommandRefused) else event.model)


def _fold_models(facts: Sequence[Fact], store: Store) -> None:
    named = [fact for fact in facts if isinstance(fact.event, ModelRegistered | ModelTrained)]
    models = Rows(store, MODELS, (digest(fact.event.model) for fact in named))
    for fact in named:
        event = fact.event
        registered = isinstance(event, ModelRegistered)
        key = digest(event.model)
        if registered or models.get(key) is None:
            row: Row = {
                "key": key, "model": event.model, "stream": event.stream, "algorithm": event.algorithm,
                "detector": event.detector if registered else "", "time_ns": moment(event.time),
                "document": fact.document if registered else None,
            }  # fmt: skip
            models.put(key, row)
    models.save()


def _fold_versions(facts: Sequence[Fact], store: Store) -> None:
    trained = [fact for fact in facts if isinstance(fact.event, ModelTrained)]
    versions = Rows(store, MODEL_VERSIONS, (digest(fact.event.model, fact.event.version) for fact in trained))
    for fact in trained:
        event = fact.event
        key = digest(event.model, event.version)
        if versions.get(key) is None:  # a version's number is never used twice
            row: Row = {
                "key": key, "model_key": digest(event.model), "model": event.model, "version": event.version,
                "time_ns": moment(event.time), "document": fact.document,
            }  # fmt: skip
            versions.put(key, row)
    versions.save()


def _fold_aliases(facts: Sequence[Fact], store: Store) -> None:
    promoted = [fact for fact in facts if isinstance(fact.event, ModelPromoted)]
    aliases = Rows(store, MODEL_ALIASES, (digest(fact.event.model, fact.event.alias) for fact in promoted))
    for fact in promoted:
        event = fact.event
        key = digest(event.model, event.alias)
        row: Row = {
            "key": key, "model_key": digest(event.model), "model": event.model, "alias": event.alias,
            "version": event.version, "time_ns": moment(event.time), "by": event.by, "document": fact.document,
        }  # fmt: skip
        aliases.put(key, row)
    aliases.save()


def _history(fact: Fact) -> Row:
    return {
        "id": fact.id, "model_key": digest(_model(fact)), "type": fact.type, "time_ns": moment(fact.event.time),
        "log_offset": fact.logged.offset, "document": fact.document,
    }  # fmt: skip
