"""The plan of a stream: everything that decides its verdicts, as plain frozen values.

Two workers with equal plans give equal verdicts; the plan's version is a digest of it and part of every verdict's
id, so a changed plan never passes for the old one.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import orjson

from oddtide.domain.detection.absence import AbsencePolicy
from oddtide.domain.detection.alarm_budget import BudgetRule
from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.detection.auto import auto_detectors
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.threshold import ThresholdRule
from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.quality.contract import Contract

__all__ = ["Profile", "Publish", "StreamPlan"]

Profile = Literal["light", "deep"]
Publish = Literal["anomalies", "all"]


@dataclass(frozen=True)
class StreamPlan:
    """One stream. ``profile_every`` is in readings of a series (0: no profiles published). Without ``absence``
    nobody minds whether a series falls silent. With ``prior`` series that no detector knows yet are judged by how
    others of their partition began.

    ``published_as`` is the version under which the plan was published, where it was read back from the log: an older
    build may have known fewer settings, and its digest of the same plan was another."""

    name: str
    topic: str
    contract: Contract = field(default_factory=Contract)
    detectors: tuple[DetectorSpec, ...] = auto_detectors(1)
    threshold: ThresholdRule = field(default_factory=ThresholdRule)
    alarms: AlarmRules = field(default_factory=AlarmRules)
    alarm_budget: BudgetRule = field(default_factory=BudgetRule)
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    publish: Publish = "anomalies"
    profile: Profile = "light"
    profile_every: int = 1_000
    absence: AbsencePolicy | None = None
    prior: bool = False
    published_as: str = ""

    @cached_property
    def digest(self) -> str:
        """12 hex digits that change when a verdict could; ``publish`` alone does not change one."""
        raw = orjson.dumps(self.content(), option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(raw, digest_size=6).hexdigest()

    @property
    def version(self) -> str:
        """What verdicts name as their pipeline's version: the digest, unless it was published under another."""
        return self.published_as or self.digest

    def content(self) -> dict[str, Any]:
        """Everything that decides verdicts, as plain values."""
        content = asdict(self)
        del content["publish"], content["published_as"]
        if self.absence is None:  # as before there was such a thing: the digest of a plan without it stays
            del content["absence"]
        if not self.prior:
            del content["prior"]
        for rule in content["contract"]["features"]:
            if not rule["counter"]:
                del rule["counter"]
        return content

    def kept_by(self, successor: StreamPlan) -> tuple[str, ...]:
        """The stages that go on with their state when ``successor`` takes the place of this plan; see ``stages``."""
        alike = self._counts_as(successor)
        same = self.detectors == successor.detectors and alike
        goes_on = {
            "validator": True,
            "ensemble": same and len(self.detectors) > 1,
            "alarms": same and self.alarms.active and self.alarms == successor.alarms,
            "absences": self.absence is not None and self.absence == successor.absence,
            "alarm_budget": self.alarm_budget.active and self.alarm_budget == successor.alarm_budget,
            "profiles": self.contract.names == successor.contract.names and self.profile == successor.profile,
            "prior": alike and self.prior and successor.prior,
            "counters": alike and any(self.contract.counters),
        }
        kept = [name for name, on in goes_on.items() if on]
        if alike:
            kept += [f"detector {spec.name}" for spec in self.detectors if spec in successor.detectors]
            if self._watches_as(successor):
                kept.append("drift")
        return tuple(kept)

    def _counts_as(self, other: StreamPlan) -> bool:
        """Whether the features are the same, and mean the same."""
        mine, theirs = self.contract, other.contract
        return (mine.names, mine.counters) == (theirs.names, theirs.counters)

    def _watches_as(self, other: StreamPlan) -> bool:
        mine, theirs = self.drift, other.drift
        return (
            self.profile == other.profile == "deep"
            and self.detectors[0] == other.detectors[0]
            and (mine.monitor, mine.delta, mine.warning_delta) == (theirs.monitor, theirs.delta, theirs.warning_delta)
        )
