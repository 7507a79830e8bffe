"""Trying another settings file on history: both configurations over the same readings, and what sets them apart."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from oddtide.config.going import Going
from oddtide.config.histories import Range, Selection, find_stream, history, to_fold
from oddtide.config.settings import Settings
from oddtide.config.spreading import Tell, spread
from oddtide.domain.readings import rfc3339

if TYPE_CHECKING:
    from oddtide.config.composition import Composition
    from oddtide.streams.replay.differences import Change, PartitionDiff

__all__ = ["Contested", "contest"]


@dataclass(frozen=True, slots=True)
class _Task:
    settings: Settings
    other: Settings
    stream: str
    range: Range
    published: bool


@dataclass(slots=True)
class Contested:
    """What came of it. ``strongest`` are the ``limit`` differences about the strangest readings, strangest first."""

    stream: str
    topic: str
    files: tuple[str, str]
    versions: tuple[str, str]
    configuration: list[dict[str, Any]]
    parts: list[PartitionDiff]
    whole: PartitionDiff
    strongest: list[Change]
    differences: int

    def summary(self) -> dict[str, Any]:
        """Totals, for programs and for pages."""
        whole, total = self.whole, self.whole.total
        days = whole.days
        rates = [_rate(whole.folded, seconds) for seconds in (whole.live_seconds, whole.other_seconds)]
        return {
            "stream": self.stream,
            "topic": self.topic,
            "live": {"settings": self.files[0], "pipeline": self.versions[0]},
            "other": {"settings": self.files[1], "pipeline": self.versions[1]},
            "records": whole.records,
            "readings": whole.readings,
            "scored": {"live": whole.live_scored, "other": whole.other_scored},
            "detections": {
                "live": total.live,
                "other": total.other,
                "appeared": total.appeared,
                "vanished": total.vanished,
                "changed": total.changed,
                "same": total.live - total.vanished - total.changed,
            },
            "days": round(days, 3),
            "alarms": {"live": whole.live_alarms, "other": whole.other_alarms},
            "alarms_per_day": {"live": _per(whole.live_alarms, days), "other": _per(whole.other_alarms, days)},
            "readings_per_second": {"live": rates[0], "other": rates[1]},
            "configuration": self.configuration,
            "verification": [msgspec.to_builtins(each.verification) for each in self.parts if each.verification],
            "series": self.series(),
            "timeline": self.timeline(),
        }

    def series(self) -> list[dict[str, Any]]:
        """Every series with a detection, those that differ most first."""
        rows = [{"series": name, **msgspec.to_builtins(counts)} for name, counts in self.whole.series.items()]
        return sorted(rows, key=lambda row: (-(row["appeared"] + row["vanished"]), -row["changed"], row["series"]))

    def timeline(self) -> dict[str, Any]:
        """Detections over event time."""
        timeline = self.whole.timeline
        bars = [
            {"time": rfc3339(number * timeline.width), **msgspec.to_builtins(counts)}
            for number, counts in sorted(timeline.bars.items())
        ]
        return {"bar_s": timeline.width // 10**9, "bars": bars}


def _rate(readings: int, seconds: float | None) -> int | None:
    return round(readings / seconds) if seconds else None


def _per(count: int, days: float) -> float | None:
    return round(count / days, 3) if days else None


@dataclass(slots=True)
class _Strongest:
    """The ``limit`` strangest of whatever is offered."""

    limit: int
    offered: int = 0
    heap: list[tuple[float, int, Change]] = field(default_factory=list)

    def take(self, change: Change) -> None:
        self.offered += 1
        entry = (-change.weight, -self.offered, change)
        if len(self.heap) < self.limit:
            heapq.heappush(self.heap, entry)
        elif self.heap and entry[:2] > self.heap[0][:2]:
            heapq.heapreplace(self.heap, entry)

    def sorted(self) -> list[Change]:
        return [change for _, _, change in sorted(self.heap, key=lambda entry: entry[:2], reverse=True)]


def contest(
    composition: Composition,
    other: Settings,
    chosen: Selection,
    wanted: Sequence[Range],
    *,
    files: tuple[str, str],
    published: bool,
    jobs: int | None,
    limit: int,
    show: Callable[[Change], None],
) -> Contested:
    """Run ``other`` over the chosen history beside the settings in force. ``show`` gets each difference as it is found,
    in order within a partition. Nothing is written."""
    name = chosen.stream.name
    theirs = find_stream(other, name).plan(other.prefix)
    plans = chosen.stream.plan(composition.settings.prefix), replace(theirs, topic=chosen.topic)
    strongest = _Strongest(limit)
    going = Going("replaying", to_fold(chosen, wanted))

    def hear(message: Any) -> None:
        if isinstance(message, int):
            going(message)
        else:
            strongest.take(message)
            show(message)

    tasks = [_Task(composition.settings, other, name, each, published) for each in wanted]
    parts: list[PartitionDiff] = spread(_contest, tasks, processes=chosen.processes(jobs), tell=hear)
    going.end()
    from oddtide.streams.replay.differences import PartitionDiff as Diff

    return Contested(
        name, chosen.topic, files, (plans[0].version, plans[1].version), differing_settings(*plans), parts,
        Diff.added(parts), strongest.sorted(), strongest.offered,
    )  # fmt: skip


def _contest(task: _Task, tell: Tell) -> PartitionDiff:
    from oddtide.config.composition import Composition
    from oddtide.streams.replay.differing import Contest, diff_partition
    from oddtide.streams.replay.running import run

    quiet = [Composition(settings).alert_policy().of(task.stream).quiet_ns for settings in (task.settings, task.other)]
    past = history(task.settings, task.stream, task.range)
    plan = find_stream(task.other, task.stream).plan(task.other.prefix)
    asked = Contest(past, plan, quiet[0], quiet[1], published=task.published)
    return run(diff_partition(asked, tell, tell))


def differing_settings(live: Any, other: Any) -> list[dict[str, Any]]:
    """In what two plans differ, by dotted name."""
    ours, theirs = _flat(msgspec.to_builtins(live.content())), _flat(msgspec.to_builtins(other.content()))
    return [
        {"setting": name, "live": ours.get(name), "other": theirs.get(name)}
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    inner: dict[str, Any] = {}
    for key, part in items:
        inner |= _flat(part, f"{path}.{key}" if path else str(key))
    return inner if items else {path: value}


def shown_file(file: Path | None) -> str:
    """A settings file as people name it."""
    return str(file) if file is not None else "the defaults"
