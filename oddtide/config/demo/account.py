"""The demo's books: what went in, what came out, and what that is worth against the documented truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oddtide.adapters.river.datasets import WATER_FLOW_ANOMALIES
from oddtide.config.demo.feeding import RUN, TRUTH, Fed, Series
from oddtide.domain.detection.events import AnomalyDetected
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.readings import parse_rfc3339

__all__ = ["Account", "Summary"]


@dataclass(frozen=True)
class Summary:
    """What a run of the demo came to. ``water_found`` says for each documented anomaly whether it was detected."""

    run: int
    pushed: int
    backlog: int
    scored: int
    rejected: dict[str, int]
    skipped: dict[str, int]
    detections: int
    water_found: list[bool]
    water_outside: int
    shuttle_detections: int
    shuttle_right: int
    shuttle_anomalies: int
    host_detections: int
    readings_per_s: float
    first_detection_s: float | None
    lag: int
    folder: str

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        earlier = f" (and {self.backlog:,} left by an earlier run)" if self.backlog else ""
        found, documented = sum(self.water_found), len(self.water_found)
        precision = self.shuttle_right / self.shuttle_detections if self.shuttle_detections else 0.0
        recall = self.shuttle_right / self.shuttle_anomalies if self.shuttle_anomalies else 0.0
        first = "none" if self.first_detection_s is None else f"{self.first_detection_s:.1f} s after the start"
        skipped = f", {_reasons('skipped', self.skipped)}" if self.skipped else ""
        rejected = _reasons("rejected", self.rejected)
        labelled = f"{self.shuttle_anomalies:,} labelled anomalies"
        shuttle = f"{self.shuttle_detections:,} {_noun(self.shuttle_detections)}"
        return [
            f"readings     {self.pushed:,} pushed{earlier}, {self.scored:,} scored, {rejected}{skipped}",
            f"detections   {self.detections:,}; the first {first}",
            f"WaterFlow    {found} of {documented} documented anomalies found, {self.water_outside} found elsewhere",
            f"Shuttle      {shuttle}; precision {precision:.0%}, recall {recall:.0%} of {labelled}",
            f"this machine {self.host_detections:,} {_noun(self.host_detections)}",
            f"speed        {self.readings_per_s:,.0f} readings/s through Kafka and the worker (data sets)",
            f"lag          {self.lag:,} records not yet dealt with",
            f"data         {self.folder}",
        ]


def _noun(count: int) -> str:
    return "detection" if count == 1 else "detections"


def _reasons(word: str, counts: dict[str, int]) -> str:
    named = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items()))
    return f"{sum(counts.values()):,} {word}" + (f" ({named})" if named else "")


@dataclass
class Account:
    """Counts of one run. Fed by one thread; ``clock`` readings are seconds."""

    run: int
    series: Series
    started: float
    pushed: int = 0
    scored: int = 0
    detections: int = 0
    water: list[int] = field(default_factory=lambda: [0] * len(WATER_FLOW_ANOMALIES))
    outside: int = 0
    shuttle: int = 0
    right: int = 0
    host: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    fed: Fed | None = None
    first: float | None = None
    bulk: list[tuple[int, int]] = field(default_factory=list)
    backlog: int = 0
    done: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def settled(self) -> int:
        """Readings whose outcome is in the ledger."""
        return self.scored + sum(self.rejected.values()) + sum(self.skipped.values())

    @property
    def behind(self) -> bool:
        """Whether the outcome of something pushed, now or before this run, is still to come."""
        return self.settled < self.pushed + self.backlog

    def lag(self, ends: Mapping[str, Mapping[int, int]]) -> int:
        """Records before ``ends`` whose outcome is not in the ledger."""
        return sum(
            max(0, end - self.done.get((topic, place), 0))
            for topic, each in ends.items()
            for place, end in each.items()
        )

    def take_batch(self, batch: BatchCompleted, written: int) -> None:
        """A ledger record, written at ``written`` (ms)."""
        self.done[batch.topic, batch.partition] = batch.to_offset
        if self.fed is None or self.settled < self.backlog + self.fed.water + self.fed.shuttle:
            self.bulk.append((written, batch.readings))
        self.scored += batch.scored
        self.rejected.update(batch.rejected)
        self.skipped.update(batch.skipped)

    def take_fed(self, fed: Fed) -> None:
        """The data sets are in the log."""
        self.fed = fed

    @property
    def readings_per_s(self) -> float:
        """How fast the data sets were dealt with: from the first ledger record's time to the last's, the first
        record's readings left out. 0 where that is too short to tell."""
        times = sorted(self.bulk)
        seconds = (times[-1][0] - times[0][0]) / 1_000 if times else 0.0
        return sum(readings for _, readings in times[1:]) / seconds if seconds > 0 else 0.0

    def is_ours(self, found: AnomalyDetected) -> bool:
        """Whether it is of this run's data, or of this machine."""
        return found.series in (self.series.water, self.series.shuttle) or not found.series.startswith(RUN)

    def take_detection(self, found: AnomalyDetected, now: float) -> None:
        """A detection of this run; one of what an earlier run left behind is passed over."""
        if not self.is_ours(found):
            return
        self.detections += 1
        if self.first is None:
            self.first = now - self.started
        if found.series == self.series.water:
            self._take_water(parse_rfc3339(found.time))
        elif found.series == self.series.shuttle:
            self.shuttle += 1
            self.right += found.labels.get(TRUTH) == "1"
        else:
            self.host += 1

    def summary(self, *, lag: int, folder: str) -> Summary:
        """What it came to."""
        return Summary(
            run=self.run,
            pushed=self.pushed,
            backlog=self.backlog,
            scored=self.scored,
            rejected=dict(self.rejected),
            skipped=dict(self.skipped),
            detections=self.detections,
            water_found=[hits > 0 for hits in self.water],
            water_outside=self.outside,
            shuttle_detections=self.shuttle,
            shuttle_right=self.right,
            shuttle_anomalies=self.fed.anomalies if self.fed else 0,
            host_detections=self.host,
            readings_per_s=self.readings_per_s,
            first_detection_s=self.first,
            lag=lag,
            folder=folder,
        )

    def _take_water(self, time: int) -> None:
        for place, known in enumerate(WATER_FLOW_ANOMALIES):
            if known.first <= time <= known.last:
                self.water[place] += 1
                return
        self.outside += 1
