"""What sets two configurations apart on the same readings, as plain values that add up over batches and partitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np

from oddtide.domain.detection.events import Verdict
from oddtide.domain.readings import IntArray
from oddtide.streams.replay.verifying import Verification

__all__ = ["Alarms", "Change", "Kind", "PartitionDiff", "SeriesCount", "Side", "Timeline", "kind_of"]

Kind = Literal["appeared", "vanished", "changed"]
KINDS: tuple[Kind, ...] = ("appeared", "vanished", "changed")
HOUR_NS = 3_600 * 10**9
#: Bars that a timeline may have before it halves their number.
_MOST_BARS = 240
#: Width of its first bars: a second.
_FIRST_NS = 10**9


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """How one configuration sees a reading. ``reason`` is empty where it is no detection."""

    score: float
    p_value: float
    detector: str
    maturity: float
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    reason: str = ""

    @classmethod
    def of(cls, verdict: Verdict) -> Side:
        """Out of a verdict."""
        return cls(
            score=verdict.score, p_value=verdict.p_value, detector=verdict.detector, maturity=verdict.maturity,
            expected=verdict.expected, lower=verdict.lower, upper=verdict.upper, reason=verdict.reason,
        )  # fmt: skip


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A reading about which the two disagree. A side is None where it has not scored it (or where that is not known:
    the live side read from the detections topic)."""

    kind: Kind
    series: str
    time: str
    value: float | None
    topic: str
    partition: int
    offset: int
    row: int
    live: Side | None
    other: Side | None

    @property
    def weight(self) -> float:
        """How strange the reading is to whichever side finds it strangest: a p-value, smaller is stranger."""
        return min((side.p_value for side in (self.live, self.other) if side is not None), default=1.0)


def kind_of(live: Verdict | None, other: Verdict | None) -> Kind | None:
    """What became of a detection; None where both have it and agree on score, p-value, detector and reason."""
    if live is None or other is None:
        return "appeared" if live is None else "vanished"
    same = (live.score, live.p_value, live.detector, live.reason) == (
        other.score, other.p_value, other.detector, other.reason,
    )  # fmt: skip
    return None if same else "changed"


class SeriesCount(msgspec.Struct, kw_only=True):
    """Detections of one series, and what became of them."""

    live: int = 0
    other: int = 0
    appeared: int = 0
    vanished: int = 0
    changed: int = 0

    def add(self, other: SeriesCount) -> None:
        """Count what another has counted."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def count(self, kind: Kind | None, *, live: bool, other: bool) -> None:
        """Count one detection."""
        self.live += live
        self.other += other
        if kind is not None:
            setattr(self, kind, getattr(self, kind) + 1)


class Timeline(msgspec.Struct, kw_only=True):
    """Detections over event time, in bars of one width, which doubles when there would be too many bars.

    ``bars`` maps a bar's number (time // width) to its counts. The same detections give the same bars, in whatever
    order and over however many timelines they came."""

    width: int = _FIRST_NS
    bars: dict[int, SeriesCount] = {}

    def count(self, time: int, kind: Kind | None, *, live: bool, other: bool) -> None:
        """Count a detection at ``time`` (ns)."""
        self.bars.setdefault(time // self.width, SeriesCount()).count(kind, live=live, other=other)
        self._fit()

    def add(self, other: Timeline) -> None:
        """Count what another has counted."""
        theirs = Timeline(width=other.width, bars=dict(other.bars))
        while self.width != theirs.width:
            (self if self.width < theirs.width else theirs)._double()
        for number, counts in theirs.bars.items():
            self.bars.setdefault(number, SeriesCount()).add(counts)
        self._fit()

    def _fit(self) -> None:
        while self.bars and max(self.bars) - min(self.bars) >= _MOST_BARS:
            self._double()

    def _double(self) -> None:
        self.width *= 2
        bars: dict[int, SeriesCount] = {}
        for number, counts in self.bars.items():
            bars.setdefault(number // 2, SeriesCount()).add(counts)
        self.bars = bars


class Alarms:
    """How often somebody would be called: detections of a series less than the quiet time apart are one alarm.

    Memory grows with the series that have detections."""

    def __init__(self, quiet_ns: int) -> None:
        self._quiet = quiet_ns
        self._last: dict[str, int] = {}
        self.count = 0

    def take(self, series: str, time: int) -> None:
        """The next detection, in log order."""
        last = self._last.get(series)
        self.count += last is None or time - last > self._quiet
        self._last[series] = time if last is None else max(last, time)


class PartitionDiff(msgspec.Struct, kw_only=True):
    """What comparing two configurations over one partition gave; adds up over partitions.

    ``readings`` were judged (rejected ones included), ``hours`` are the hours of event time that scored readings lie
    in. ``live_seconds`` and ``other_seconds`` are processor time of folding ``folded`` readings; None for a live side
    that was not computed.
    """

    partition: int = -1
    records: int = 0
    readings: int = 0
    folded: int = 0
    live_scored: int | None = None
    other_scored: int = 0
    total: SeriesCount = msgspec.field(default_factory=SeriesCount)
    series: dict[str, SeriesCount] = {}
    timeline: Timeline = msgspec.field(default_factory=Timeline)
    live_alarms: int = 0
    other_alarms: int = 0
    hours: set[int] = set()
    live_seconds: float | None = None
    other_seconds: float = 0.0
    verification: Verification | None = None

    def count(self, series: str, time: int, kind: Kind | None, *, live: bool, other: bool) -> None:
        """Count one detection, of one side or of both."""
        self.total.count(kind, live=live, other=other)
        self.series.setdefault(series, SeriesCount()).count(kind, live=live, other=other)
        self.timeline.count(time, kind, live=live, other=other)

    def note_hours(self, times: IntArray) -> None:
        """Event times of scored readings."""
        self.hours.update(np.unique(times // HOUR_NS).tolist())

    @classmethod
    def added(cls, parts: Iterable[PartitionDiff]) -> PartitionDiff:
        """All of ``parts`` as one."""
        whole = cls()
        for part in parts:
            for name in (
                "records",
                "readings",
                "folded",
                "other_scored",
                "live_alarms",
                "other_alarms",
                "other_seconds",
            ):
                setattr(whole, name, getattr(whole, name) + getattr(part, name))
            if part.live_seconds is not None:
                whole.live_seconds = (whole.live_seconds or 0.0) + part.live_seconds
            if part.live_scored is not None:
                whole.live_scored = (whole.live_scored or 0) + part.live_scored
            whole.total.add(part.total)
            whole.timeline.add(part.timeline)
            whole.hours |= part.hours
            for name, counts in part.series.items():
                whole.series.setdefault(name, SeriesCount()).add(counts)
        return whole

    @property
    def days(self) -> float:
        """Days of event time, counted in hours that have readings: gaps and stray times do not stretch it."""
        return len(self.hours) / 24
