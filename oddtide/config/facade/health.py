"""The health of data at hand, or of a running platform."""

from __future__ import annotations

import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from oddtide.config.facade.detecting import column_options, default_toolkit, score_batch
from oddtide.config.facade.inputs import open_input
from oddtide.config.facade.plans import DetectorLike, make_plan
from oddtide.config.facade.platform import PlatformHealth, platform_health
from oddtide.config.facade.scorer import Scorer, Tally
from oddtide.domain.detection.auto import AUTO
from oddtide.domain.drift.events import DriftDetected
from oddtide.domain.errors import UsageError
from oddtide.domain.profiling.events import FeatureProfile
from oddtide.domain.profiling.profile import Profiler
from oddtide.domain.quality.events import ContractViolated

__all__ = ["DataHealth", "Health", "monitor_health"]

_SHOWN = 10


@dataclass(frozen=True)
class DataHealth:
    """What data looks like. ``profiles`` by series and feature; ``drifts`` and ``violations`` in input order."""

    tally: Tally
    profiles: Mapping[str, Mapping[str, FeatureProfile]]
    drifts: tuple[DriftDetected, ...]
    violations: tuple[ContractViolated, ...]

    @property
    def problems(self) -> list[str]:
        """Everything worth a look, a line each; empty for healthy data."""
        lines = [f"{count:,} rejected: {reason}" for reason, count in sorted(self.tally.rejected.items())]
        lines += [f"{count:,} skipped: {reason}" for reason, count in sorted(self.tally.skipped.items())]
        for series, features in self.profiles.items():
            lines += [f"{series}.{name}: {p.missing:,} missing" for name, p in features.items() if p.missing]
            lines += [f"{series}.{name}: constant" for name, p in features.items() if p.count > 1 and not p.variance]
        lines += [f"{d.series}: drift of {d.watched} at {d.time}" for d in self.drifts]
        return lines

    def __str__(self) -> str:
        lines = [str(self.tally), *(f"  ! {problem}" for problem in self.problems[:_SHOWN])]
        for series, features in list(self.profiles.items())[:_SHOWN]:
            lines += [f"  {series}.{name}: {_profile(p)}" for name, p in features.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Health:
    """The outcome of :func:`monitor_health`: ``data``, or ``platform`` when a running one was asked about. ``healthy``
    when there is no problem; the problems are listed in words."""

    data: DataHealth | None = None
    platform: PlatformHealth | None = None
    problems: tuple[str, ...] = field(default=())

    @property
    def healthy(self) -> bool:
        """Whether nothing is worth a look."""
        return not self.problems

    def __str__(self) -> str:
        return str(self.data or self.platform)


def monitor_health(
    data: Any = None,
    *,
    config: str | Path | None = None,
    detector: DetectorLike | Sequence[DetectorLike] = AUTO,
    time: str = "",
    series: str = "",
    value: str = "",
    features: Sequence[str] = (),
    name: str = "",
) -> Health:
    """The health of ``data``: profile of each series and feature, what was rejected or skipped, drift of values and
    score (arguments as :func:`oddtide.detect_anomalies`).

    Without data: that of the platform which the settings file ``config`` describes (or ``oddtide.toml`` here): workers,
    lag, open alerts. Raises ``BrokerUnreachableError`` when its Kafka does not run.
    """
    if data is None:
        platform = platform_health(None if config is None else Path(config))
        return Health(platform=platform, problems=tuple(platform.problems))
    if config is not None:
        raise UsageError("Both data and config are given.", remedy="Ask about one of them.")
    source = open_input(data, column_options(time, series, value, features, (), name))
    plan = make_plan(source.features, detector=detector, profile="deep")
    scorer = Scorer(plan, default_toolkit(), clock.time_ns)
    profiler, slots = Profiler(source.features), dict[str, int]()
    drifts: list[DriftDetected] = []
    violations: list[ContractViolated] = []
    for batch in source.batches:
        scored = score_batch(scorer, batch)
        drifts += [each.event for each in scored.events if isinstance(each.event, DriftDetected)]
        violations += [each.event for each in scored.events if isinstance(each.event, ContractViolated)]
        if scored.verdicts is not None:
            readings = scored.verdicts.readings
            places = [slots.setdefault(key, len(slots)) for key in readings.series]
            profiler.update(np.asarray(places, dtype=np.int64), readings.values)
    profiles = {key: profiler.profile(slot) for key, slot in slots.items()}
    found = DataHealth(scorer.tally, profiles, tuple(drifts), tuple(violations))
    return Health(data=found, problems=tuple(found.problems))


def _profile(profile: FeatureProfile) -> str:
    if not profile.count:
        return "no value"
    numbers = {"min": profile.minimum, "median": profile.quantiles.get("0.5"), "max": profile.maximum}
    numbers["mean"] = profile.mean
    shown = ", ".join(f"{name} {number:.6g}" for name, number in numbers.items() if number is not None)
    return f"{profile.count:,} values, {shown}"
