"""At most so many alerts a day over all series, the strongest if possible.

Whoever is paged can look at so many alerts a day. *The first so many* would be a poor choice: a restless morning uses
them up, and the fire in the evening tells nobody. *The strongest* are known only when the day is over. What can be done
at the time: an episode opens an alert where no more stronger ones are to be expected in the rest of the day than are
left of its budget. How many are to be expected is what the last seven days had at later hours, counted by how strange
the strangest reading of an episode was (``-log10`` of its p-value, in eighths), and the root of that number, for what
may come beyond it. So the level follows the budget: it is high in the morning, falls while less comes than usual, and
towards midnight what is left is for whatever comes. Of episodes that are as strange as each other (p-values have a
floor) a share is let through that fits, chosen by the alert's id. On the first day nothing is known, and the first so
many open.

Anomalies only: of a lost worker, a broken ledger or a series that is silent people are told whatever the budget says.
An episode that opens no alert is *withheld*, which is logged like an alert (:class:`AlertWithheld`), with every count;
should it get strange enough, or the day calm enough, it opens then. What stays withheld is summed up by one alert of
kind ``digest``, once the day is over.

A day is one of event time, in the ``zone`` given: the day of the reading that opens the alert. Late readings may open
alerts on days that are over, as long as those have some left. All of it is a fold of the logged events.

Not guaranteed: that the so many are the strongest (nobody knows the rest of the day; where it is quite unlike the last
seven, too many are withheld or too few are left). Memory: a few bytes for each withheld episode of the last eight days.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from oddtide.domain.observability.events import AlertOpened, AlertUpdated, AlertWithheld
from oddtide.domain.readings import parse_rfc3339, rfc3339

__all__ = ["DayBook", "DayBudget"]

_SECOND = 1_000_000_000
#: Days before a day that say what is to be expected of it.
_LOOK_BACK = 7
_HOURS, _STEPS, _MOST = 24, 8, 320.0
_NAMED = 3


@dataclass(frozen=True, slots=True)
class DayBudget:
    """``per_day`` alerts of anomalies a day (0: no limit), days as in ``zone``."""

    per_day: int = 0
    zone: tzinfo = UTC

    def day(self, moment: int) -> date:
        """The day on which a moment (ns) falls."""
        return datetime.fromtimestamp(moment // _SECOND, self.zone).date()

    def end(self, day: date) -> int:
        """When a day ends (ns): they may have 23 or 25 hours."""
        midnight = datetime.combine(day + timedelta(days=1), time(), self.zone)
        return int(midnight.timestamp()) * _SECOND

    def left(self, moment: int) -> float:
        """How much of its day is left at a moment, 1 to 0."""
        day = self.day(moment)
        begin, end = self.end(day - timedelta(days=1)), self.end(day)
        return (end - moment) / (end - begin)


@dataclass(slots=True)
class _Day:
    """``opened`` alerts; episodes by hour and strength; ``withheld`` ones by alert, as logged last; how many of those a
    ``digest`` has told of."""

    opened: int = 0
    strengths: Counter[tuple[int, int]] = field(default_factory=Counter)
    withheld: dict[str, AlertWithheld] = field(default_factory=dict)
    digest: int = 0


class DayBook:
    """What was opened and withheld on each day, a fold of alert events, and what may open on the strength of it."""

    def __init__(self, budget: DayBudget) -> None:
        self.budget = budget
        self._days: dict[date, _Day] = {}

    def allows(self, alert: AlertOpened) -> bool:
        """Whether an episode, as it stands at its last cause, may open an alert."""
        if not self.budget.per_day or alert.kind != "anomaly":
            return True
        moment = parse_rfc3339(alert.last)
        day = self.budget.day(moment)
        stronger, alike = self._expected(day, _HOURS * (1.0 - self.budget.left(moment)), _strength(alert))
        opened = self._days[day].opened if day in self._days else 0
        free = self.budget.per_day - opened - stronger - math.sqrt(stronger)
        if opened >= self.budget.per_day or free <= 0.0:
            return False
        return free >= alike or free / alike > int(alert.alert, 16) / 16.0 ** len(alert.alert)

    def fold(self, before: AlertOpened | None, event: AlertOpened) -> None:
        """An alert's event was logged; ``before`` is the one logged before it of the same alert."""
        if event.kind == "digest":
            told = self._day(date.fromisoformat(event.series))
            told.digest = max(told.digest, event.count)
        if event.kind != "anomaly":
            return
        day = self._day_of(event.opened)
        hour = int(_HOURS * (1.0 - self.budget.left(parse_rfc3339(event.opened))))
        if before is not None:
            day.strengths[hour, _strength(before)] -= 1
        day.strengths[hour, _strength(event)] += 1
        if isinstance(event, AlertWithheld):
            day.withheld[event.alert] = event
        elif not isinstance(event, AlertUpdated):
            day.withheld.pop(event.alert, None)
            self._day_of(event.last).opened += 1

    def digests(self, reached: Mapping[tuple[str, int], int]) -> Iterator[AlertOpened]:
        """What is to be told of days that are over, as far as all causes are known: ``reached`` says up to which moment
        (ns), by (topic, partition)."""
        for day, book in self._days.items():
            if len(book.withheld) > book.digest:
                newest = max(book.withheld.values(), key=lambda alert: (alert.arrived, alert.alert))
                topic = newest.source_topic
                now = min((moment for source, moment in reached.items() if source[0] == topic), default=0)
                if now >= self.budget.end(day):
                    yield self._digest(day, book, newest, now)

    def forget(self) -> None:
        """Let go of days that nobody will ask about again."""
        newest = max(self._days, default=date.min)
        for day in [day for day in self._days if day < newest - timedelta(days=_LOOK_BACK + 1)]:
            if len(self._days[day].withheld) <= self._days[day].digest:
                del self._days[day]

    def state(self) -> object:
        """The state as a value that can be compared."""
        return {day: (b.opened, +b.strengths, dict(b.withheld), b.digest) for day, b in self._days.items()}

    def _day(self, day: date) -> _Day:
        return self._days.setdefault(day, _Day())

    def _day_of(self, moment: str) -> _Day:
        return self._day(self.budget.day(parse_rfc3339(moment)))

    def _expected(self, day: date, hour: float, strength: int) -> tuple[float, float]:
        """How many episodes a day began after this hour and were stronger, or as strong, in the days before; 0 where
        none of those is known."""
        first = min((known for known, book in self._days.items() if book.strengths.total()), default=day)
        days = max(min((day - first).days, _LOOK_BACK), 0)
        past = [self._days.get(day - timedelta(days=back), _Day()).strengths for back in range(1, days + 1)]
        stronger = alike = 0.0
        for (began, found), count in (each for counts in past for each in counts.items()):
            later = min(max(began + 1 - hour, 0.0), 1.0) * count / days
            stronger += later * (found > strength)
            alike += later * (found == strength)
        return stronger, alike

    def _digest(self, day: date, book: _Day, newest: AlertWithheld, now: int) -> AlertOpened:
        strongest = sorted(book.withheld.values(), key=lambda alert: (-_strength(alert), alert.alert))
        causes = sum(alert.count for alert in strongest)
        named = ", ".join(
            f"{alert.series} ({alert.alert}, p {alert.p_value or 1.0:.2g})" for alert in strongest[:_NAMED]
        )
        more = f" and {len(strongest) - _NAMED} more" if len(strongest) > _NAMED else ""
        name = f"digest {day} {len(strongest)}".encode()
        return AlertOpened(
            alert=hashlib.blake2b(name, digest_size=8).hexdigest(), kind="digest", stream="", series=day.isoformat(),
            severity="warning", count=len(strongest), p_value=strongest[0].p_value,
            summary=f"{len(strongest)} alerts of {day} were withheld, with {causes} causes, beyond the {book.opened} "
            f"opened (per_day = {self.budget.per_day}); the strongest: {named}{more}",
            opened=rfc3339(self.budget.end(day)), last=rfc3339(self.budget.end(day)), arrived=rfc3339(now),
            source_topic=newest.source_topic, source_partition=newest.source_partition,
            source_offset=newest.source_offset,
        )  # fmt: skip


def _strength(alert: AlertOpened) -> int:
    """How strange the strangest reading of an episode was, in steps."""
    if alert.p_value is None:
        return 0
    return int(_STEPS * min(-math.log10(alert.p_value), _MOST)) if alert.p_value > 0.0 else int(_STEPS * _MOST)
