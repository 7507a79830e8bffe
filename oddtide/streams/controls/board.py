"""The board: what is to be in force by now, as the control topics say. Every ingest worker keeps one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from oddtide.domain.errors import OddtideError
from oddtide.domain.observability.controls import ControlApplied, ControlsInForce
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.controls.feedback import FeedbackControls
from oddtide.streams.controls.following import TopicFollower
from oddtide.streams.controls.kinds import ControlKind, Place
from oddtide.streams.controls.models import ModelControls
from oddtide.streams.controls.opening import publish_missing
from oddtide.streams.controls.pipelines import PublishedPipelines
from oddtide.streams.controls.planned_work import PlannedWorkControls
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import LoggedEvent
from oddtide.streams.topics import TopicCatalogue

__all__ = ["ControlBoard", "Controls", "control_topics"]

#: The topics that controls travel on, by role.
CONTROL_ROLES = ("pipelines", "models", "feedback", "plannedwork")


def control_topics(catalogue: TopicCatalogue) -> Mapping[str, int]:
    """Name and number of partitions of the topics that controls travel on."""
    names = {catalogue.name(role) for role in CONTROL_ROLES}
    return {spec.name: spec.partitions for spec in catalogue.all() if spec.name in names}


class Controls:
    """All kinds of controls as one fold, without Kafka.

    What is due comes in a fixed order (pipeline, models, feedback, planned work) and as if each were in force before
    the next is asked for: a model may be due only because the pipeline before it brings its detector."""

    def __init__(self) -> None:
        self.pipelines = PublishedPipelines()
        self._kinds: tuple[ControlKind, ...] = (
            self.pipelines, ModelControls(self.pipelines), FeedbackControls(), PlannedWorkControls(),
        )  # fmt: skip
        self._folded = 0
        self._nothing_due: dict[Place, tuple[int, ControlsInForce]] = {}

    def fold(self, logged: LoggedEvent) -> None:
        """Take the next event of a control topic."""
        self._folded += 1
        for kind in self._kinds:
            kind.fold(logged)

    def due(self, place: Place, in_force: ControlsInForce, offset: int) -> list[ControlApplied]:
        """What brings the partition up to date at ``offset``, where ``in_force`` is by now; asked before every batch.

        Raises ``ConfigurationError`` where a published pipeline cannot be understood by this build."""
        folded, seen = self._nothing_due.get(place, (-1, in_force))
        if folded == self._folded and seen is in_force:
            return []
        controls: list[ControlApplied] = []
        then = in_force
        for kind in self._kinds:
            for control in kind.due(place, then, offset):
                controls.append(control)
                then = then.after(control)
        if not controls:
            self._nothing_due[place] = (self._folded, in_force)
        return controls


class ControlBoard:
    """Keeps :class:`Controls` up to date from the log. ``plans`` are those of this worker's settings, ``settings``
    their sections as written. ``blind`` is called once when it cannot follow any further (an event of a newer schema
    version)."""

    def __init__(
        self,
        broker: BrokerAccess,
        catalogue: TopicCatalogue,
        plans: Sequence[StreamPlan],
        blind: Callable[[OddtideError], None],
        *,
        worker: str,
        clock: Callable[[], int],
        settings: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.controls = Controls()
        self._follower = TopicFollower(broker, control_topics(catalogue), self.controls.fold, blind)
        self._publish_missing = partial(
            publish_missing, broker, catalogue, plans, self.controls.pipelines, worker=worker, clock=clock,
            settings=settings,
        )  # fmt: skip
        self._following = self._begun = False

    async def start(self) -> None:
        """Read the control topics to their present ends and follow them in the background from then on; publish the
        pipelines of streams that never had one. Does what is left to do when called again after an error.

        Where the settings say something else than what is published, what is published counts: the command line refuses
        to start so, but a worker that only comes back after a crash has to go on."""
        if not self._following:
            await self._follower.start()
            self._following = True
        if not self._begun:
            if await self._publish_missing():
                await self._follower.catch_up()
            self._begun = True

    async def know(self, stream: str, versions: Iterable[str]) -> None:
        """Wait until the pipelines ``versions`` (empty ones are none) are known: another owner may have heard of one
        before we did."""
        known = {"", *(event.version for event in self.controls.pipelines.versions(stream))}
        if not known.issuperset(versions):
            await self._follower.catch_up()

    def plan(self, stream: str) -> StreamPlan:
        """The plan to begin a partition's state with; the controls of its ledger lead from there to the one in force at
        each offset."""
        newest = self.controls.pipelines.newest(stream)
        return self.controls.pipelines.plan(stream, newest.version if newest else "")

    async def stop(self) -> None:
        """Stop following."""
        await self._follower.stop()
