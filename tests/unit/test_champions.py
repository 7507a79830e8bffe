"""Which model is in force, as a fold of the models topic."""

from __future__ import annotations

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.events import Message
from oddtide.domain.mlops.events import ModelPromoted, ModelRegistered
from oddtide.streams.champions import Champions
from oddtide.streams.envelope import Envelope
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import LoggedEvent

T = "2026-01-01T00:00:00Z"
PLAN = StreamPlan(
    "pumps", "plant.pumps", detectors=(DetectorSpec("ewma"), DetectorSpec("pyod:IForest", label="forest"))
)


def logged(event: Message) -> LoggedEvent:
    return LoggedEvent("oddtide.models", 0, 0, 0, "m", Envelope("i", event.type_name(), "/"), event)


def promoted(version: int, *, alias: str = "champion", stream: str = "pumps", model: str = "m") -> ModelPromoted:
    return ModelPromoted(
        model=model, version=version, stream=stream, digest=f"d{version}", artifact=f"a{version}", time=T, by="ann",
        alias=alias,
    )  # fmt: skip


def registered(algorithm: str = "IForest", detector: str = "") -> ModelRegistered:
    return ModelRegistered(model="m", stream="pumps", algorithm=algorithm, time=T, detector=detector)


def folded(*events: Message) -> Champions:
    champions = Champions([PLAN])
    for event in events:
        champions.fold(logged(event))
    return champions


def test_the_newest_champion_is_due_until_it_is_applied() -> None:
    champions = folded(registered(), promoted(1), promoted(2))
    (control,) = champions.due("pumps", {}, 40)
    assert (control.kind, control.detector, control.offset) == ("model", "forest", 40)
    assert (control.model, control.version, control.digest, control.artifact) == ("m", 2, "d2", "a2")
    assert champions.due("pumps", {"forest": "d1"}, 40) == [control]
    assert champions.due("pumps", {"forest": "d2"}, 40) == []


def test_others_are_left_alone() -> None:
    assert folded(registered(), promoted(1)).due("fans", {}, 0) == []
    assert folded(registered(), promoted(1, alias="challenger")).due("pumps", {}, 0) == []
    assert folded(registered("KNN"), promoted(1)).due("pumps", {}, 0) == []
    assert folded(registered(detector="other"), promoted(1)).due("pumps", {}, 0) == []
    assert folded(promoted(1)).due("pumps", {}, 0) == []
    assert folded(registered(), promoted(1, stream="fans")).due("pumps", {}, 0) == []


def test_only_streams_with_a_batch_detector_want_models() -> None:
    assert folded().wanted
    assert not Champions([StreamPlan("readings", "oddtide.readings")]).wanted
