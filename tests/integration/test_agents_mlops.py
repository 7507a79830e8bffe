"""The mlops role on a real Kafka: commands decided once, trained on exactly what the lineage says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence, Sized
from pathlib import Path

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.drift.events import DetectorAdapted
from oddtide.domain.errors import UsageError
from oddtide.domain.mlops.events import (
    ModelPromoted,
    ModelRegistered,
    ModelRolledBack,
    ModelTrained,
    PromoteModel,
    TrainingFailed,
    TrainModel,
)
from oddtide.domain.observability.events import CommandRefused
from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.streams.agents.mlops import build
from oddtide.streams.pipeline.plan import StreamPlan
from tests.integration.agents_kit import Application, Memory, Shelf, eventually, running

NOW = "2026-01-01T00:00:00Z"


class Teacher:
    """A trainer that remembers what it was given."""

    def __init__(self) -> None:
        self.lessons: list[np.ndarray] = []
        self.threads: set[int] = set()

    def __call__(
        self, algorithm: str, parameters: Mapping[str, object], values: object, features: tuple[str, ...]
    ) -> tuple[bytes, dict[str, str], dict[str, float]]:
        if algorithm == "Broken":
            raise UsageError("there is no algorithm 'Broken'.", remedy="Choose another.")
        assert isinstance(values, np.ndarray)
        self.lessons.append(values)
        self.threads.add(threading.get_ident())
        return f"{algorithm}{len(self.lessons)}".encode(), {"numpy": "2"}, {"rows": float(len(values))}


@pytest.fixture
async def application(kafka: str, topic_prefix: str, tmp_path: Path) -> Application:
    plan = StreamPlan(
        "plant",
        f"{topic_prefix}.readings",
        contract=Contract(features=(FeatureRule("value", maximum=1_000.0),)),
        detectors=(DetectorSpec("pyod:IForest", {"n_estimators": 5}), DetectorSpec("ewma")),
    )
    application = Application(kafka, topic_prefix, tmp_path, plans=(plan,))
    await application.create()
    return application


async def push(application: Application, values: Sequence[float | str], partition: int = 0) -> None:
    async with AIOKafkaProducer(bootstrap_servers=application.kafka) as producer:
        for number, value in enumerate(values):
            reading = {"series": f"s{partition}", "time": 1_700_000_000 + number, "value": value}
            await producer.send_and_wait(
                f"{application.prefix}.readings", json.dumps(reading).encode(), partition=partition
            )


def ask(model: str = "plant-pyod-IForest", **changes: object) -> TrainModel:
    fields: dict[str, object] = {
        "model": model, "stream": "plant", "algorithm": "pyod:IForest", "time": NOW, "by": "ann", "window": 10,
    }  # fmt: skip
    return TrainModel(**{**fields, **changes})  # type: ignore[arg-type]  # fields by name


def at_least(least: int) -> Callable[[Sized], bool]:
    return lambda found: len(found) >= least


async def test_a_model_is_trained_on_the_newest_readings_and_put_in_force(application: Application) -> None:
    teacher, shelf, memory = Teacher(), Shelf(), Memory()
    await push(application, [float(n) for n in range(8)], 0)
    await push(application, [*(100.0 + n for n in range(4)), "broken", 5_000.0], 1)
    parts = application.parts(trainer=teacher, artifacts=shelf, read_models=memory)
    async with running(build(application.context(), parts)):
        (id,) = await application.publish("commands", [ask()])
        (trained,) = await eventually(lambda: application.events("models", ModelTrained), at_least(1))
        (registered,) = await application.events("models", ModelRegistered)
        (promoted,) = await eventually(lambda: application.events("models", ModelPromoted), at_least(1))

        async def projected() -> list[str]:
            return [type(each.event).__name__ for each in memory.events.get("mlops", [])]

        names = await eventually(projected, at_least(3))
    assert names == ["ModelRegistered", "ModelTrained", "ModelPromoted"]
    assert (registered.algorithm, registered.detector) == ("IForest", "pyod:IForest")
    assert (trained.version, trained.rows, trained.causation, trained.features) == (1, 10, id, ["value"])
    assert teacher.lessons[0].ravel().tolist() == [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 100.0, 101.0, 102.0, 103.0]
    lineage = {(span.partition, span.from_offset, span.to_offset) for span in trained.lineage}
    assert lineage == {(0, 2, 8), (1, 0, 4)}
    assert shelf.get(trained.artifact, trained.digest) == b"IForest1"
    assert (promoted.version, promoted.alias, promoted.digest, promoted.by) == (1, "champion", trained.digest, "ann")
    assert threading.get_ident() not in teacher.threads


async def test_commands_are_decided_in_order_and_once_over_restarts(application: Application) -> None:
    teacher = Teacher()
    await push(application, [float(n) for n in range(20)])
    commands = [
        ask(), ask(promote=True), PromoteModel(model="plant-pyod-IForest", version=1, time=NOW, by="bob"),
        PromoteModel(model="nope", version=1, time=NOW, by="bob"), ask(stream="office"),
        ask("other", algorithm="Broken"),
    ]  # fmt: skip
    ids = await application.publish("commands", commands)
    async with application.publisher() as publisher:
        await publisher.publish(application.catalogue.name("commands"), commands[0], id=ids[0], key="k", partition=0)
    for extra in ([], [ask("third")]):
        parts = application.parts(trainer=teacher)
        async with running(build(application.context(), parts)):
            if extra:
                await application.publish("commands", extra)
            wanted = 3 if extra else 2
            await eventually(lambda: application.events("models", ModelTrained), at_least(wanted))
            (failed,) = await eventually(lambda: application.events("models", TrainingFailed), at_least(1))
            await eventually(lambda: application.events("models", ModelPromoted), at_least(wanted))
    assert len(teacher.lessons) == 3
    assert [(m.model, m.version) for m in await application.events("models", ModelTrained)] == [
        ("plant-pyod-IForest", 1), ("plant-pyod-IForest", 2), ("third", 1),
    ]  # fmt: skip
    (back,) = await application.events("models", ModelRolledBack)
    assert (back.version, back.replaces) == (1, 2)
    refused = await application.events("models", CommandRefused)
    assert [(one.command, one.causation) for one in refused] == [("PromoteModel", ids[3]), ("TrainModel", ids[4])]
    assert (failed.model, failed.causation) == ("other", ids[5])
    assert "no algorithm 'Broken'" in failed.reason


async def test_an_empty_log_is_a_failed_training(application: Application) -> None:
    async with running(build(application.context(), application.parts(trainer=Teacher()))):
        await application.publish("commands", [ask()])
        (failed,) = await eventually(lambda: application.events("models", TrainingFailed), at_least(1))
    assert "holds no valid readings" in failed.reason


async def test_a_drift_asks_for_a_retraining_once(application: Application) -> None:
    teacher = Teacher()
    await push(application, [float(n) for n in range(20)])
    adapted = [
        DetectorAdapted(
            id=f"a{number}", stream="plant", series=f"s{number}", time=NOW, policy=policy, detector=detector,
            causation="d",
        )
        for number, (policy, detector) in enumerate(
            [("reset", "pyod:IForest"), ("retrain", "ewma"), ("retrain", "pyod:IForest"), ("retrain", "pyod:IForest")]
        )
    ]  # fmt: skip
    async with running(build(application.context(), application.parts(trainer=teacher))):
        await application.publish("drift", adapted, partition=1)
        (trained,) = await eventually(lambda: application.events("models", ModelTrained), at_least(1))
        (promoted,) = await eventually(lambda: application.events("models", ModelPromoted), at_least(1))
    (command,) = await application.events("commands", TrainModel)
    assert (command.causation, command.by, command.parameters) == ("a2", "drift", {"n_estimators": 5})
    assert (trained.model, trained.algorithm, promoted.by) == ("plant-pyod-IForest", "IForest", "drift")
