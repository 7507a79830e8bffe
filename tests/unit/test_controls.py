"""What is due in a partition, as a fold of the control topics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, cast

import msgspec
import pytest

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.threshold import ThresholdRule
from oddtide.domain.errors import ConfigurationError, NotFoundError
from oddtide.domain.events import Message
from oddtide.domain.mlops.events import ModelPromoted, ModelRegistered
from oddtide.domain.observability.controls import (
    ControlApplied,
    ControlsInForce,
    PipelinePublished,
    PlannedWindow,
    PlannedWorkCancelled,
    PlannedWorkDeclared,
)
from oddtide.domain.observability.events import FeedbackGiven, FeedbackWithdrawn
from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.controls import (
    ControlBoard,
    Controls,
    Place,
    PublishedPipelines,
    check_pipelines,
    pipeline_key,
    plan_content,
    plan_of,
    publication,
)
from oddtide.streams.envelope import Envelope
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import LoggedEvent
from oddtide.streams.topics import TopicCatalogue

T = "2026-01-01T00:00:00Z"
FOREST = DetectorSpec("pyod:IForest", label="forest")
PLAN = StreamPlan("pumps", "plant.pumps", detectors=(DetectorSpec("ewma"), FOREST), profile="deep")
OTHER = replace(PLAN, detectors=(DetectorSpec("ewma", {"warm_up": 3}), FOREST), threshold=ThresholdRule(1e-3, 5.0))
PLACE = Place("pumps", "plant.pumps", 2)


def logged(event: Message) -> LoggedEvent:
    return LoggedEvent("oddtide.models", 0, 0, 0, "m", Envelope("i", event.type_name(), "/"), event)


def promoted(version: int, *, alias: str = "champion", stream: str = "pumps", model: str = "m") -> ModelPromoted:
    return ModelPromoted(
        model=model, version=version, stream=stream, digest=f"d{version}", artifact=f"a{version}", time=T, by="ann",
        alias=alias,
    )  # fmt: skip


def registered(algorithm: str = "IForest", detector: str = "", model: str = "m") -> ModelRegistered:
    return ModelRegistered(model=model, stream="pumps", algorithm=algorithm, time=T, detector=detector)


def published(plan: StreamPlan) -> PipelinePublished:
    return publication(plan, 4, by="ann", time=T, settings={"name": plan.name})


def folded(*events: Message) -> Controls:
    controls = Controls()
    for event in events:
        controls.fold(logged(event))
    return controls


def applied(controls: list[ControlApplied], before: ControlsInForce | None = None) -> ControlsInForce:
    in_force = before or ControlsInForce()
    for control in controls:
        in_force = in_force.after(control)
    return in_force


def models_due(*events: Message, place: Place = PLACE) -> list[ControlApplied]:
    due = folded(published(PLAN), *events).due(place, ControlsInForce(pipeline=PLAN.version), 40)
    assert all(control.kind == "model" for control in due)
    return due


def test_the_newest_champion_is_due_until_it_is_in_force() -> None:
    controls = folded(published(PLAN), registered(), promoted(1), promoted(2))
    pipeline, model = due = controls.due(PLACE, ControlsInForce(), 40)
    assert (pipeline.kind, pipeline.pipeline, pipeline.offset, pipeline.kept) == ("pipeline", PLAN.version, 40, ())
    assert (model.kind, model.detector, model.offset) == ("model", "forest", 40)
    assert (model.model, model.version, model.digest, model.artifact) == ("m", 2, "d2", "a2")
    assert controls.due(PLACE, applied([pipeline]), 41) == [msgspec.structs.replace(model, offset=41)]
    assert controls.due(PLACE, applied(due), 42) == []
    controls.fold(logged(promoted(3)))
    assert [control.version for control in controls.due(PLACE, applied(due), 43)] == [3]


def test_nothing_new_costs_no_second_look() -> None:
    controls = folded(published(PLAN))
    in_force = ControlsInForce(pipeline=PLAN.version)
    assert controls.due(PLACE, in_force, 1) == controls.due(PLACE, in_force, 2) == []
    controls.fold(logged(published(OTHER)))
    assert [control.pipeline for control in controls.due(PLACE, in_force, 3)] == [OTHER.version]


def test_models_of_others_are_left_alone() -> None:
    assert models_due(registered(), promoted(1))
    assert models_due(registered(), promoted(1, alias="challenger")) == []
    assert models_due(registered("KNN"), promoted(1)) == []
    assert models_due(registered(detector="other"), promoted(1)) == []
    assert models_due(promoted(1)) == []
    assert models_due(registered(), promoted(1, stream="fans")) == []


def test_of_several_champions_the_one_crowned_last_serves() -> None:
    due = models_due(registered(), registered(model="n"), promoted(1, model="n"), promoted(5), promoted(2, model="n"))
    assert [(control.model, control.version) for control in due] == [("n", 2)]


def test_another_pipeline_keeps_what_it_does_not_change() -> None:
    controls = folded(published(PLAN), registered(), promoted(1))
    in_force = applied(controls.due(PLACE, ControlsInForce(), 0))
    controls.fold(logged(published(OTHER)))
    (pipeline,) = controls.due(PLACE, in_force, 7)
    assert (pipeline.pipeline, pipeline.kept) == (OTHER.version, ("validator", "profiles", "detector forest"))
    assert list(in_force.after(pipeline).models) == ["forest"]
    wider = replace(OTHER, contract=Contract(features=(FeatureRule("value"), FeatureRule("load"))))
    controls.fold(logged(published(wider)))
    pipeline, model = controls.due(PLACE, in_force, 8)
    assert (pipeline.kept, in_force.after(pipeline).models) == (("validator",), {})
    assert (model.kind, model.detector) == ("model", "forest")


def test_going_back_to_an_older_version_is_publishing_it_again() -> None:
    pipelines = PublishedPipelines()
    for plan in (PLAN, OTHER, PLAN):
        pipelines.take(published(plan))
    assert [event.version for event in pipelines.versions("pumps")] == [OTHER.version, PLAN.version]
    newest = pipelines.newest("pumps")
    assert newest is not None
    assert pipeline_key(newest) == f"pumps/{PLAN.version}"
    assert pipelines.plan("pumps", OTHER.version) == replace(OTHER, published_as=OTHER.version)


def test_a_version_that_was_never_published_is_an_error() -> None:
    with pytest.raises(NotFoundError, match="'abc' of the stream 'pumps' was never published"):
        PublishedPipelines().plan("pumps", "abc")


def test_a_pipeline_for_another_topic_is_refused() -> None:
    controls = folded(published(replace(PLAN, topic="elsewhere")))
    with pytest.raises(ConfigurationError, match=r"reads elsewhere, not plant\.pumps"):
        controls.due(PLACE, ControlsInForce(), 0)


def test_a_plan_goes_through_the_log_unchanged() -> None:
    rich = replace(
        OTHER,
        contract=Contract(features=(FeatureRule("a", False, -1.5, 2, "skip"), FeatureRule("b")), order="skip"),
        detectors=(DetectorSpec("half_space_trees", {"trees": 5, "seed": 3}), DetectorSpec("ewma", {"alpha": 0.5})),
        profile_every=0,
    )
    event = msgspec.json.decode(msgspec.json.encode(published(rich)), type=PipelinePublished)
    read = plan_of(event)
    assert (read.version, read.content()) == (rich.version, rich.content())
    assert replace(rich, publish="all").version == rich.version


def test_a_plan_that_json_cannot_say_is_not_published() -> None:
    with pytest.raises(ConfigurationError, match="finite"):
        plan_content(replace(PLAN, contract=Contract(max_age_s=float("inf"))))


def test_a_plan_of_an_older_build_keeps_the_version_that_it_was_published_as() -> None:
    event = published(PLAN)
    older = {name: value for name, value in event.plan.items() if name != "drift"}
    read = plan_of(msgspec.structs.replace(event, plan=older, version="0123456789ab"))
    assert (read.version, read.digest) == ("0123456789ab", PLAN.digest)


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: {**plan, "novelty": 3},
        lambda plan: {**plan, "detectors": [{**plan["detectors"][0], "weight": 2.0}, plan["detectors"][1]]},
        lambda plan: {**plan, "profile": "abyssal"},
    ],
)
def test_a_plan_of_a_newer_build_is_refused(change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    event = published(PLAN)
    with pytest.raises(ConfigurationError, match="Upgrade oddtide"):
        plan_of(msgspec.structs.replace(event, plan=change(event.plan)))


def test_settings_that_differ_from_what_is_in_force_are_refused_with_the_remedy() -> None:
    pipelines = PublishedPipelines()
    check_pipelines([PLAN], pipelines)
    pipelines.take(published(PLAN))
    check_pipelines([PLAN, replace(PLAN, name="fans")], pipelines)
    with pytest.raises(ConfigurationError, match=f"{OTHER.version}; in force is {PLAN.version}, published by ann") as e:
        check_pipelines([OTHER], pipelines)
    assert "oddtide pipelines publish" in e.value.remedy


def accepted(
    id: str,
    verdict: str = "app/pumps/plant.pumps/2/17/0@abc",
    label: Literal["accepted", "dismissed"] = "accepted",
) -> FeedbackGiven:
    return FeedbackGiven(id=id, verdict=verdict, label=label, by="ann", time=T, series="pump-1")


def test_an_accepted_level_is_due_once_where_its_verdict_is_from() -> None:
    controls = folded(published(PLAN), accepted("f1"), accepted("f2"), accepted("f3"))
    controls.fold(logged(FeedbackWithdrawn(feedback="f2", by="ann", time=T)))
    in_force = ControlsInForce(pipeline=PLAN.version)
    due = controls.due(PLACE, in_force, 9)
    assert [(c.kind, c.feedback, c.series, c.offset) for c in due] == [
        ("feedback", "f1", "pump-1", 9),
        ("feedback", "f3", "pump-1", 9),
    ]
    assert controls.due(PLACE._replace(partition=1), in_force, 9) == []
    controls.fold(logged(FeedbackWithdrawn(feedback="f1", by="ann", time=T)))
    assert controls.due(PLACE, applied(due, in_force), 10) == []


@pytest.mark.parametrize(
    "verdict",
    [
        "v1",
        "a/b/c/2/17@x",
        "app/pumps/plant.pumps/two/17/0@abc",
        "app/pumps//2/17/0@a",
        f"app/pumps/plant.pumps/{'2' * 5_000}/17/0@a",
    ],
)
def test_a_word_about_no_verdict_alters_nothing(verdict: str) -> None:
    controls = folded(published(PLAN), accepted("f1", verdict), accepted("f2", label="dismissed"))
    assert controls.due(PLACE, ControlsInForce(pipeline=PLAN.version), 0) == []


def work(id: str, stream: str = "pumps") -> PlannedWorkDeclared:
    window = PlannedWindow(id=id, from_time=T, to_time="2026-01-02T00:00:00Z", series=("pump-*",))
    return PlannedWorkDeclared(stream=stream, window=window, by="ann", time=T)


def test_planned_work_is_due_in_every_partition_until_it_is_cancelled() -> None:
    controls = folded(published(PLAN), work("w1"), work("w2"), work("w3", "fans"))
    in_force = ControlsInForce(pipeline=PLAN.version)
    due = controls.due(PLACE, in_force, 5)
    assert [(c.kind, c.work and c.work.id, c.cancelled) for c in due] == [
        ("planned_work", "w1", ""),
        ("planned_work", "w2", ""),
    ]
    assert controls.due(PLACE._replace(partition=0), in_force, 5) == due
    then = applied(due, in_force)
    controls.fold(logged(PlannedWorkCancelled(work="w1", stream="pumps", by="ann", time=T)))
    (ended,) = controls.due(PLACE, then, 8)
    assert (ended.work, ended.cancelled) == (None, "w1")
    assert [window.id for window in then.after(ended).planned_work] == ["w2"]
    assert [c.work and c.work.id for c in controls.due(PLACE, in_force, 8)] == ["w2"]


class Follower:
    """A follower that knows one event more each time it catches up."""

    def __init__(self, controls: Controls, *unread: Message) -> None:
        self.controls, self.unread = controls, list(unread)

    async def start(self) -> None: ...
    async def catch_up(self) -> None:
        self.controls.fold(logged(self.unread.pop(0)))


def board_of(*unread: Message) -> ControlBoard:
    board = ControlBoard(
        BrokerAccess("nowhere:1"), TopicCatalogue((("pumps", "plant.pumps", 4),)), [PLAN], lambda error: None,
        worker="w", clock=lambda: 0, settings={},
    )  # fmt: skip
    board._follower = cast(Any, Follower(board.controls, *unread))
    return board


async def test_a_pipeline_that_another_owner_heard_of_first_is_waited_for() -> None:
    board = board_of(published(PLAN), published(OTHER))
    await board.know("pumps", ["", PLAN.version])
    assert board.plan("pumps").version == PLAN.version
    await board.know("pumps", [PLAN.version, ""])
    assert len(cast(Any, board._follower).unread) == 1
    await board.know("pumps", [OTHER.version])
    assert board.plan("pumps").version == OTHER.version


async def test_a_board_publishes_only_what_was_never_published(monkeypatch: pytest.MonkeyPatch) -> None:
    board, asked = board_of(published(PLAN)), []

    async def publish() -> bool:
        asked.append(1)
        return True

    monkeypatch.setattr(board, "_publish_missing", publish)
    await board.start()
    await board.start()
    assert (len(asked), board.plan("pumps").version) == (1, PLAN.version)


def test_planned_work_at_no_time_alters_nothing() -> None:
    good = work("w1")
    for begin, end in (("soon", T), (T, "2026-02-31T00:00:00Z")):
        window = msgspec.structs.replace(good.window, id="w2", from_time=begin, to_time=end)
        controls = folded(published(PLAN), msgspec.structs.replace(good, window=window), good)
        due = controls.due(PLACE, ControlsInForce(pipeline=PLAN.version), 5)
        assert [control.work and control.work.id for control in due] == ["w1"]
