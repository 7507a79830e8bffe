"""What profiling says: summaries of the data seen."""

from __future__ import annotations

import msgspec

from oddtide.domain.events import Event
from oddtide.domain.readings import Rfc3339

__all__ = ["FeatureProfile", "ProfileUpdated"]


class FeatureProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One feature of one series since its first reading. Quantiles by probability, as text: ``{"0.5": 1.2}``."""

    count: int
    missing: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    variance: float | None
    quantiles: dict[str, float] = {}


class ProfileUpdated(Event, frozen=True, kw_only=True):
    """A series' profile after ``readings`` readings; published every so many of them."""

    id: str
    stream: str
    series: str
    readings: int
    time: Rfc3339
    features: dict[str, FeatureProfile]
    topic: str = ""
    partition: int = 0
    offset: int = 0
