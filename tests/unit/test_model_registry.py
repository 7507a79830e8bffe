"""The model registry: versions, aliases, refusals."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from oddtide.domain.events import Event
from oddtide.domain.mlops import CHALLENGER, CHAMPION, Registry, Training, default_name
from oddtide.domain.mlops.events import (
    LogRange,
    ModelEvaluated,
    ModelPromoted,
    ModelRegistered,
    ModelRolledBack,
    ModelTrained,
    PromoteModel,
    TrainModel,
)

NOW = "2026-01-01T00:00:00Z"
STREAMS = ("plant",)


def ask(model: str = "m", **changes: object) -> TrainModel:
    fields: dict[str, object] = {"stream": "plant", "algorithm": "IForest", "time": NOW, "by": "ann"}
    return TrainModel(model=model, **{**fields, **changes})  # type: ignore[arg-type]  # fields by name


def result(digest: str = "d") -> Training:
    lineage = [LogRange(topic="readings", partition=0, from_offset=5, to_offset=105)]
    return Training(f"ref-{digest}", digest, 100, ["value"], lineage, {"pyod": "3"}, {"auc": 0.9}, 1.5, NOW)


def train(registry: Registry, id: str, **changes: object) -> list[Event]:
    events = registry.trained(ask(**changes), id, result(id))  # type: ignore[arg-type]  # fields by name
    registry.apply_all(events)
    return events


def promote(registry: Registry, version: int, id: str = "p", alias: str = CHAMPION) -> ModelPromoted | str:
    decided = registry.promote(PromoteModel(model="m", version=version, time=NOW, by="ann", alias=alias), id)
    if not isinstance(decided, str):
        registry.apply(decided)
    return decided


def kinds(events: Sequence[Event]) -> list[type]:
    return [type(event) for event in events]


def test_the_first_version_becomes_champion() -> None:
    registry = Registry()
    events = train(registry, "c1")
    assert kinds(events) == [ModelRegistered, ModelTrained, ModelPromoted]
    version, promotion = events[1], events[2]
    assert isinstance(version, ModelTrained)
    assert isinstance(promotion, ModelPromoted)
    assert (version.version, version.causation, version.lineage) == (1, "c1", result().lineage)
    assert (promotion.alias, promotion.version, promotion.replaces, promotion.by) == (CHAMPION, 1, 0, "ann")
    assert (promotion.artifact, promotion.digest) == ("ref-c1", "c1")
    assert registry.models["m"].champion == version


def test_later_versions_wait_unless_promotion_was_asked_for() -> None:
    registry = Registry()
    train(registry, "c1")
    assert kinds(train(registry, "c2")) == [ModelTrained]
    events = train(registry, "c3", promote=True)
    assert kinds(events) == [ModelTrained, ModelPromoted]
    assert registry.models["m"].aliases == {CHAMPION: 3}
    assert registry.models["m"].newest == 3


def test_going_back_is_a_rollback_and_a_challenger_has_no_say() -> None:
    registry = Registry()
    train(registry, "c1")
    train(registry, "c2", promote=True)
    back = promote(registry, 1)
    assert isinstance(back, ModelRolledBack)
    assert (back.version, back.replaces) == (1, 2)
    shadow = promote(registry, 2, alias=CHALLENGER)
    assert type(shadow) is ModelPromoted
    assert registry.models["m"].aliases == {CHAMPION: 1, CHALLENGER: 2}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (PromoteModel(model="x", version=1, time=NOW, by="a"), "there is no model 'x'; models: m"),
        (PromoteModel(model="m", version=9, time=NOW, by="a"), "has no version 9; versions: 1"),
        (PromoteModel(model="m", version=1, time=NOW, by="a"), "is the champion already"),
        (PromoteModel(model="m", version=1, time=NOW, by="a", alias="king"), "alias 'king' is neither"),
    ],
)
def test_promotions_are_refused_with_the_reason(command: PromoteModel, words: str) -> None:
    registry = Registry()
    train(registry, "c1")
    decided = registry.promote(command, "p")
    assert isinstance(decided, str)
    assert words in decided


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (ask("../etc"), "model name '../etc'"),
        (ask("n", stream="office"), "stream 'office' is not declared; declared are: plant"),
        (ask("n", window=1), "window 1 is not between 10 and"),
        (ask("m", algorithm="KNN"), "belongs to algorithm 'IForest', not 'KNN'"),
        (ask("m"), ""),
        (ask("n"), ""),
    ],
)
def test_trainings_are_refused_with_the_reason(command: TrainModel, words: str) -> None:
    registry = Registry()
    train(registry, "c1")
    objection = registry.objection(command, STREAMS)
    assert words in objection
    assert bool(objection) == bool(words)


def test_what_was_decided_is_known_by_its_request() -> None:
    registry = Registry()
    train(registry, "c1")
    failed = registry.failed(ask(), "c2", "no readings", NOW)
    registry.apply(failed)
    assert registry.is_decided("c1")
    assert registry.is_decided("c2")
    assert not registry.is_decided("c3")
    assert registry.models["m"].newest == 1


def test_the_state_is_the_fold_of_the_log() -> None:
    registry = Registry()
    log: list[Event] = []
    for number in range(1, 4):
        log += train(registry, f"c{number}", promote=number == 3)
    evaluated = ModelEvaluated(model="m", version=2, data="nab", metrics={"auc": 0.8}, time=NOW)
    registry.apply(evaluated)
    rebuilt = Registry()
    rebuilt.apply_all([*log, evaluated])
    rebuilt.apply_all(log)
    assert rebuilt.models["m"].versions == registry.models["m"].versions
    assert rebuilt.models["m"].aliases == registry.models["m"].aliases
    assert rebuilt.models["m"].evaluations == {2: [evaluated]}
    rebuilt.apply(ModelEvaluated(model="unknown", version=2, data="nab", metrics={}, time=NOW))


def test_a_detector_is_served_by_the_crowned_model_or_gets_a_name() -> None:
    registry = Registry()
    assert registry.serving("plant", "IForest", "pyod:IForest") == "plant-pyod-IForest"
    registry.apply(ModelRegistered(model="bare", stream="plant", algorithm="IForest", time=NOW))
    assert registry.serving("plant", "IForest", "pyod:IForest") == "bare"
    train(registry, "c1")
    registry.apply(ModelRegistered(model="later", stream="plant", algorithm="IForest", time=NOW))
    registry.apply(ModelRegistered(model="other", stream="plant", algorithm="KNN", time=NOW))
    assert registry.serving("plant", "IForest", "pyod:IForest") == "m"


def test_of_several_champions_the_one_crowned_last_serves() -> None:
    registry = Registry()
    train(registry, "c1")
    train(registry, "c2", model="second")
    assert registry.serving("plant", "IForest", "pyod:IForest") == "second"
    train(registry, "c3")
    assert registry.serving("plant", "IForest", "pyod:IForest") == "second"
    promote(registry, 2)
    assert registry.serving("plant", "IForest", "pyod:IForest") == "m"
    promote(registry, 1, alias=CHALLENGER)
    train(registry, "c4", model="second", promote=True)
    promote(registry, 1, id="q", alias=CHALLENGER)
    assert registry.serving("plant", "IForest", "pyod:IForest") == "second"


@pytest.mark.parametrize(
    ("stream", "name"), [("plant", "plant-pyod-KNN"), ("ä b", "b-pyod-KNN"), ("x" * 200, "x" * 100)]
)
def test_default_names_are_valid(stream: str, name: str) -> None:
    assert default_name(stream, "pyod:KNN") == name
    assert Registry().objection(ask(default_name(stream, "pyod:KNN")), STREAMS) == ""
