"""A verdict with what belongs to it: the verdicts before it, the rules it was judged by, what it was compared with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from oddtide.domain.detection.events import Verdict
from oddtide.domain.detection.ports import Pattern
from oddtide.domain.detection.telling import tell
from oddtide.domain.observability.controls import PlannedWindow
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.verdicts import VerdictColumns

__all__ = ["Explained", "SeriesView"]


@dataclass(frozen=True, slots=True)
class Explained:
    """``before`` are verdicts of the series up to this one, oldest first; ``nearest`` by detector what it was compared
    with; ``plan`` what it was judged by (None where that is not known); ``notes`` what to know about all this."""

    verdict: Verdict
    plan: StreamPlan | None
    before: tuple[Verdict, ...] = ()
    nearest: dict[str, Pattern] = field(default_factory=dict)
    work: PlannedWindow | None = None
    notes: tuple[str, ...] = ()

    def account(self) -> list[tuple[str, str]]:
        """It in words: (subject, sentence) pairs, the most important first."""
        verdict, plan = self.verdict, self.plan
        told = tell(verdict, plan.threshold, plan.alarms, self.before) if plan is not None else []
        told += [(f"nearest ({name})", _likeness(pattern)) for name, pattern in self.nearest.items()]
        if self.work is not None:
            told.append(("planned work", f"{self.work.reason}, from {self.work.from_time} to {self.work.to_time}"))
        if verdict.labels:
            told.append(("labels", ", ".join(f"{name}={text}" for name, text in verdict.labels.items())))
        row = f" row {verdict.row}" if verdict.row else ""
        told.append(("reading", f"{verdict.topic} partition {verdict.partition} offset {verdict.offset}{row}"))
        told.append(("pipeline", f"{verdict.stream} {verdict.pipeline_version}"))
        return told


def _likeness(pattern: Pattern) -> str:
    each = f"{pattern.step} readings each" if pattern.step > 1 else "a reading each"
    return (
        f"the last {len(pattern.now)} values of {pattern.feature} ({each}) are most like those that ended "
        f"{pattern.ago:,} readings before, and {pattern.distance:.3g} of the series' own scale away from them"
    )


class SeriesView:
    """The newest verdicts of one series, on the way to a certain reading."""

    def __init__(self, series: str, most: int) -> None:
        self._series = series
        self._held: deque[tuple[VerdictColumns, int]] = deque(maxlen=most + 1)

    def take(self, verdicts: VerdictColumns, place: tuple[int, int]) -> bool:
        """The next verdicts, in order; returns whether the reading at ``place`` (offset, row) was among them. Nothing
        after it is taken."""
        offsets, rows = verdicts.readings.offsets.tolist(), verdicts.readings.rows.tolist()
        for i, series in enumerate(verdicts.readings.series):
            if (offsets[i], rows[i]) > place:
                return False
            if series == self._series:
                self._held.append((verdicts, i))
            if (offsets[i], rows[i]) == place:
                return series == self._series
        return False

    @property
    def newest(self) -> tuple[VerdictColumns, int]:
        """Where the verdict taken last stands."""
        return self._held[-1]

    def verdicts(self) -> tuple[Verdict, ...]:
        """All of them, oldest first."""
        return tuple(columns.verdict(i) for columns, i in self._held)
