"""The plan of a stream: everything that decides its verdicts, as plain frozen values.

Two workers with equal plans give equal verdicts; the plan's version is a digest of it and part of every verdict's
id, so a changed plan never passes for the old one.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

import orjson

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.threshold import ThresholdRule
from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.quality.contract import Contract

__all__ = ["Profile", "Publish", "StreamPlan"]

Profile = Literal["light", "deep"]
Publish = Literal["anomalies", "all"]


@dataclass(frozen=True)
class StreamPlan:
    """One stream. ``profile_every`` is in readings of a series (0: no profiles published)."""

    name: str
    topic: str
    contract: Contract = field(default_factory=Contract)
    detectors: tuple[DetectorSpec, ...] = (DetectorSpec("ewma"),)
    threshold: ThresholdRule = field(default_factory=ThresholdRule)
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    publish: Publish = "anomalies"
    profile: Profile = "light"
    profile_every: int = 1_000

    @cached_property
    def version(self) -> str:
        """12 hex digits that change when a verdict could; ``publish`` alone does not change one."""
        content = asdict(self)
        del content["publish"]
        raw = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(raw, digest_size=6).hexdigest()
