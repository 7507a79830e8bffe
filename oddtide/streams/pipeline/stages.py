"""The stages of a partition's pipeline as one value, and what of them goes on when the stream's plan changes.

The rule of succession is a function of the two plans alone (:meth:`StreamPlan.kept_by`), so that a rebuild and a replay
come to the same state:

- *order*: the newest time of each series goes on, whatever changes in the contract; so does what was loaded as history;
- *profiles* go on where the features and the profile (``light``, ``deep``) are the same;
- a *detector* goes on where its kind, parameters, label and the stream's features are the same; a trained one goes on
  with its model; every other starts anew and warms up;
- the *ensemble*'s past goes on where the detectors and the features are the same;
- the *alarms*' runs and refractory periods go on where the rules, the detectors and the features are the same;
- the population *prior* goes on where the features are the same;
- the *counters*' last values go on where the features, and which of them are counters, are the same (a feature that
  becomes a counter is another feature to all but the validator and the profiles);
- the timers of *absence* go on where its policy is the same;
- the *alarm budget* goes on where its own settings are the same, whatever gives the p-values;
- *drift* monitors go on where the features, the method and its confidence are the same, and the first detector, whose
  score they watch, goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.alarm_budget import AlarmBudget
from oddtide.domain.detection.alarms import Alarms
from oddtide.domain.detection.ensemble import Combined, Ensemble, alone
from oddtide.domain.detection.ports import Detector, Scores
from oddtide.domain.detection.prior import PRIOR, PopulationPrior
from oddtide.domain.quality.counters import Rates
from oddtide.domain.quality.validation import Validator
from oddtide.domain.readings import FloatArray, IntArray, Readings
from oddtide.domain.slots import PerSlot, SlotState
from oddtide.streams.codecs.readings import ReadingDecoder
from oddtide.streams.pipeline.absences import AbsenceStage
from oddtide.streams.pipeline.drifting import DriftStage
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.profiling import ProfileStage
from oddtide.streams.pipeline.verdicts import Origin
from oddtide.streams.pipeline.warming import Warming
from oddtide.streams.ports import Toolkit

__all__ = ["Stages"]


class Shared(Protocol):
    """A stage that keeps state of the partition beside that of its series."""

    def save(self) -> SlotState:
        """A copy of it."""
        ...

    def load(self, state: SlotState) -> None:
        """Take it up, before any series is inserted. Raises ``StateMismatchError`` for one that does not fit."""
        ...


@dataclass(slots=True)
class Stages:
    """What a plan amounts to, with the state of one partition. ``detectors`` are parallel to the plan's."""

    plan: StreamPlan
    decoder: ReadingDecoder
    validator: Validator
    profiles: ProfileStage
    detectors: list[Detector]
    ensemble: Ensemble | None
    drift: DriftStage | None
    alarms: Alarms | None
    absences: AbsenceStage | None = None
    alarm_budget: AlarmBudget | None = None
    prior: PopulationPrior | None = None
    counters: Rates | None = None
    warming: Warming = field(default_factory=Warming)

    @classmethod
    def of(cls, plan: StreamPlan, toolkit: Toolkit, partition: int) -> Stages:
        """Stages that have seen nothing. Raises ``ConfigurationError`` where a detector cannot be made here."""
        return cls(
            plan,
            ReadingDecoder(plan.contract),
            Validator(plan.contract, plan.name, plan.topic, partition),
            ProfileStage(plan, partition),
            [toolkit.detector(spec, plan.contract.names) for spec in plan.detectors],
            _ensemble(plan),
            DriftStage(plan, toolkit, partition) if plan.profile == "deep" else None,
            _alarms(plan),
            _absences(plan, partition),
            _budget(plan),
            _prior(plan),
            _counters(plan),
        )

    @property
    def parts(self) -> dict[str, PerSlot]:
        """Whatever keeps state per series, by the name that :meth:`StreamPlan.kept_by` gives it."""
        parts: dict[str, PerSlot] = {"validator": self.validator, "profiles": self.profiles}
        if self.drift is not None:
            parts["drift"] = self.drift
        if self.ensemble is not None:
            parts["ensemble"] = self.ensemble
        if self.alarms is not None:
            parts["alarms"] = self.alarms
        if self.absences is not None:
            parts["absences"] = self.absences
        if self.counters is not None:
            parts["counters"] = self.counters
        if self.prior is not None:
            parts["prior"] = self.prior
        named = zip(self.plan.detectors, self.detectors, strict=True)
        return parts | {f"detector {spec.name}": detector for spec, detector in named}

    @property
    def versions(self) -> tuple[str, ...]:
        """Each detector's version, in the plan's order."""
        return tuple(detector.version for detector in self.detectors)

    def origin(self, application: str, partition: int) -> Origin:
        """What all verdicts share."""
        plan, versions = self.plan, self.versions
        names = tuple(spec.name for spec in plan.detectors)
        if plan.prior:
            names, versions = (*names, PRIOR), (*versions, PopulationPrior.version)
        return Origin(application, plan.name, plan.topic, partition, plan.version, plan.contract.names, names, versions)

    @property
    def shared(self) -> dict[str, Shared]:
        """Whatever keeps state of the partition beside that of its series, by name."""
        stages = {
            "absences": self.absences, "alarm budget": self.alarm_budget, "history": self.warming, "prior": self.prior,
        }  # fmt: skip
        return {name: stage for name, stage in stages.items() if stage is not None}

    def rated(self, kept: Readings, slots: IntArray) -> Readings:
        """``kept`` with counters as growth per second."""
        if self.counters is None:
            return kept
        return replace(kept, values=self.counters.of(slots, kept.times, kept.values))

    def combined(
        self, slots: IntArray, values: FloatArray, scored: Sequence[Scores], untaught: NDArray[np.bool_] | None
    ) -> Combined:
        """What the detectors said of rows in log order, as one, and the prior of those that none of them knows yet;
        rows that are ``untaught`` teach nothing."""
        combined = self._of_detectors(slots, scored, untaught)
        if self.prior is None:
            return combined
        young = np.ones(len(slots), dtype=np.bool_)
        for detector, scores in zip(self.detectors, scored, strict=True):
            young &= scores.seen < detector.warm_up
        return self.prior.fill(slots, values, combined, young, untaught, len(self.detectors))

    def _of_detectors(self, slots: IntArray, scored: Sequence[Scores], untaught: NDArray[np.bool_] | None) -> Combined:
        needed = [detector.warm_up for detector in self.detectors]
        if self.ensemble is None:
            return alone(scored[0], needed[0])
        taught = np.ones(len(slots), dtype=np.bool_) if untaught is None else ~untaught
        return self.ensemble.combine(slots, scored, needed, taught)

    def under(self, plan: StreamPlan, toolkit: Toolkit, partition: int, slots: int) -> Stages:
        """The stages of ``plan``, which take over what goes on of these; these must not be used any more. There is
        state for ``slots`` slots.

        Raises ``ConfigurationError`` where a detector cannot be made here; these are as before then."""
        kept = set(self.plan.kept_by(plan))
        mine = {spec.name: detector for spec, detector in zip(self.plan.detectors, self.detectors, strict=True)}
        after = Stages(
            plan,
            ReadingDecoder(plan.contract),
            Validator(plan.contract, plan.name, plan.topic, partition),
            self.profiles if "profiles" in kept else ProfileStage(plan, partition),
            [
                mine[spec.name] if f"detector {spec.name}" in kept else toolkit.detector(spec, plan.contract.names)
                for spec in plan.detectors
            ],
            self.ensemble if "ensemble" in kept else _ensemble(plan),
            self._drift_under(plan, toolkit, partition, kept),
            self.alarms if "alarms" in kept else _alarms(plan),
            self.absences if "absences" in kept else _absences(plan, partition),
            _budget(plan),
            self.prior if "prior" in kept else _prior(plan),
            self.counters if "counters" in kept else _counters(plan),
            self.warming,
        )
        for part in after.parts.values():
            part.grow(slots)
        every = np.arange(slots)
        after.validator.insert(every, self.validator.extract(every))
        after.profiles.plan = plan
        if after.absences is not None:
            after.absences.plan = plan
        if self.alarm_budget is not None and after.alarm_budget is not None and "alarm_budget" in kept:
            after.alarm_budget.load(self.alarm_budget.save())
        if after.drift is not None:
            after.drift.plan = plan
        return after

    def _drift_under(self, plan: StreamPlan, toolkit: Toolkit, partition: int, kept: set[str]) -> DriftStage | None:
        if plan.profile != "deep":
            return None
        return self.drift if "drift" in kept else DriftStage(plan, toolkit, partition)


def _ensemble(plan: StreamPlan) -> Ensemble | None:
    return Ensemble([spec.kind for spec in plan.detectors]) if len(plan.detectors) > 1 else None


def _alarms(plan: StreamPlan) -> Alarms | None:
    return Alarms(plan.alarms) if plan.alarms.active else None


def _absences(plan: StreamPlan, partition: int) -> AbsenceStage | None:
    return AbsenceStage(plan, partition) if plan.absence is not None else None


def _budget(plan: StreamPlan) -> AlarmBudget | None:
    return AlarmBudget(plan.alarm_budget, plan.threshold.p_value) if plan.alarm_budget.active else None


def _prior(plan: StreamPlan) -> PopulationPrior | None:
    return PopulationPrior(plan.contract.names) if plan.prior else None


def _counters(plan: StreamPlan) -> Rates | None:
    return Rates(plan.contract.counters) if any(plan.contract.counters) else None
