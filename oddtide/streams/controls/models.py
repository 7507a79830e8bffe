"""Promoted models: the champion of each of a stream's detectors that are trained elsewhere."""

from __future__ import annotations

from oddtide.domain.mlops.events import ModelPromoted, ModelRegistered
from oddtide.domain.observability.controls import ControlApplied, ControlsInForce
from oddtide.streams.controls.kinds import Place
from oddtide.streams.controls.pipelines import PublishedPipelines
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import LoggedEvent

__all__ = ["ModelControls"]

BATCH_FAMILY = "pyod:"
CHAMPION = "champion"


class ModelControls:
    """A fold of the models topic. Which detectors want a model, the plan in force says (``pipelines`` knows it)."""

    def __init__(self, pipelines: PublishedPipelines) -> None:
        self._pipelines = pipelines
        self._registered: dict[str, ModelRegistered] = {}
        self._promoted: dict[str, dict[str, ModelPromoted]] = {}

    def fold(self, logged: LoggedEvent) -> None:
        """Take the next event."""
        event = logged.event
        if isinstance(event, ModelRegistered):
            self._registered[event.model] = event
        elif isinstance(event, ModelPromoted) and event.alias == CHAMPION and event.model in self._registered:
            champions = self._promoted.setdefault(event.stream, {})
            champions.pop(event.model, None)  # the one crowned last stands last
            champions[event.model] = event

    def due(self, place: Place, in_force: ControlsInForce, offset: int) -> list[ControlApplied]:
        """A control for each detector whose champion is another than the model that it has, by detector's name."""
        promoted = self._promoted.get(place.stream)
        if not promoted or not in_force.pipeline:
            return []
        champions = self._champions(self._pipelines.plan(place.stream, in_force.pipeline), promoted)
        return [
            ControlApplied(
                kind="model",
                offset=offset,
                detector=detector,
                artifact=event.artifact,
                model=event.model,
                version=event.version,
                digest=event.digest,
                causation=f"{event.model}@{event.version}",
            )
            for detector, event in sorted(champions.items())
            if detector not in in_force.models or in_force.models[detector].digest != event.digest
        ]

    def _champions(self, plan: StreamPlan, promoted: dict[str, ModelPromoted]) -> dict[str, ModelPromoted]:
        """By detector, the champion crowned last among the models that fit it."""
        wanting = {
            spec.name: spec.kind.removeprefix(BATCH_FAMILY)
            for spec in plan.detectors
            if spec.kind.startswith(BATCH_FAMILY)
        }
        found = {}
        for event in promoted.values():
            model = self._registered[event.model]
            for detector, algorithm in wanting.items():
                if algorithm == model.algorithm and model.detector in ("", detector):
                    found[detector] = event
        return found
