"""Deciding alerts: one per kind, series and episode.

The state is a fold of the alert events in the log and of nothing else, so a crash loses none of it. Causes that were
counted but not yet worth an event are *pending*; whoever reads causes must not consider those settled before
:meth:`AlertDecider.held_from` has passed them, or their count is lost in a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import msgspec

from oddtide.domain.events import Event
from oddtide.domain.observability.day_budget import DayBook
from oddtide.domain.observability.episodes import (
    arrived_of,
    ending,
    let_through,
    opening,
    source_of,
    updating,
    withheld,
)
from oddtide.domain.observability.events import (
    AcknowledgeAlert,
    AlertAcknowledged,
    AlertOpened,
    AlertResolved,
    AlertUpdated,
    AlertWithheld,
    CommandRefused,
    ResolveAlert,
)
from oddtide.domain.observability.policy import AlertPolicy, Cause
from oddtide.domain.readings import parse_rfc3339

__all__ = ["AlertDecider", "PendingCount"]

_Value = TypeVar("_Value")
_Key: TypeAlias = tuple[str, str, str]
_Source: TypeAlias = tuple[str, int]

#: How many resolved alerts and decided commands are remembered; older ones count as unknown.
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class PendingCount:
    """What is counted but not logged: the update to be, and the first offset that it holds back."""

    update: AlertUpdated | AlertWithheld
    held_from: int


class AlertDecider:
    """Decides alerts from causes, commands and the passing of time; folds what was decided.

    Guaranteed: however often causes are fed again from any earlier offset of their partition, each is counted once
    and no second alert opens; the state equals the fold of the events that were applied. Causes of one partition must
    come in order of offset. Not guaranteed: memory grows with the number of series that ever had an alert, until
    :meth:`settle` says that their causes can't come again.
    """

    def __init__(self, policy: AlertPolicy | None = None) -> None:
        self._policy = policy or AlertPolicy()
        self._open: dict[_Key, AlertOpened] = {}
        self._keys: dict[str, _Key] = {}
        self._acknowledged: set[str] = set()
        self._counted: dict[_Key, dict[_Source, int]] = {}
        self._resolved: dict[str, str] = {}
        self._decided: dict[str, None] = {}
        self._pending: dict[_Key, PendingCount] = {}
        self._days = DayBook(self._policy.day)

    def take(self, cause: Cause) -> list[Event]:
        """Decide on a cause and fold the decision: :meth:`decide`, then :meth:`apply` or :meth:`note`."""
        events = self.decide(cause)
        if events:
            self.apply_all(events)
        else:
            self.note(cause)
        return events

    def decide(self, cause: Cause) -> list[Event]:
        """What follows from a cause; nothing where it was counted before or is no news. Changes nothing."""
        policy = self._policy.of(cause.stream)
        if cause.kind not in policy.kinds or self._was_counted(cause):
            return []
        logged = self._open.get(cause.key)
        if logged is None:
            opened = self._within_budget(opening(cause, policy))
            return [] if opened.alert in self._resolved else [opened]
        latest = self._latest(cause.key, logged)
        if cause.time - parse_rfc3339(latest.last) > policy.quiet_ns:
            return [*self._flush(cause.key), ending(latest, policy), self._within_budget(opening(cause, policy))]
        update: AlertOpened = updating(latest, cause, policy)
        moved = source_of(latest) != cause.source
        if isinstance(latest, AlertWithheld) and self._days.allows(update):
            update, moved = let_through(update), True
        if moved:
            return [*self._flush(cause.key), update]
        late = cause.arrived - arrived_of(logged) >= policy.update_ns
        return [update] if late or policy.is_news(logged, update) else []

    def note(self, cause: Cause) -> None:
        """Count a cause on which :meth:`decide` decided nothing. Harmless for one that was counted before."""
        policy = self._policy.of(cause.stream)
        logged = self._open.get(cause.key)
        if logged is None or cause.kind not in policy.kinds or self._was_counted(cause):
            return
        pending = self._pending.get(cause.key)
        update = updating(pending.update if pending else logged, cause, policy)
        self._pending[cause.key] = PendingCount(update, pending.held_from if pending else cause.offset)

    def due(self, reached: Mapping[tuple[str, int], int]) -> list[Event]:
        """What the passing of time brings: episodes that ended in quiet, counts to be logged. Changes nothing.

        ``reached`` says, by (topic, partition), up to which moment (ns) every cause was taken; an episode is judged by
        the partition that it comes from, so that none ends while its next cause waits to be read.
        """
        events: list[Event] = []
        for key, logged in self._open.items():
            policy = self._policy.of(logged.stream)
            latest = self._latest(key, logged)
            now = reached.get(source_of(latest), 0)
            if logged.kind != "absence" and now - arrived_of(latest) >= policy.quiet_ns:
                events += [*self._flush(key), ending(latest, policy)]
            elif now - arrived_of(logged) >= policy.update_ns:
                events += self._flush(key)
        return events

    def digests(self, reached: Mapping[tuple[str, int], int]) -> list[Event]:
        """What is to be told of days that are over on which episodes were withheld. Changes nothing."""
        events: list[Event] = []
        for digest in self._days.digests(reached):
            logged = self._open.get((digest.kind, digest.stream, digest.series))
            if logged is not None:
                digest = AlertUpdated(**{**msgspec.structs.asdict(digest), "alert": logged.alert})
            events.append(digest)
        return events

    def returned(self, stream: str, series: str, absence: str, time: str, id: str) -> list[Event]:
        """What follows when a series that was absent speaks again, as the event ``id`` says: the alert of the absence
        with this id ends, if it is open. Changes nothing."""
        key: _Key = ("absence", stream, series)
        logged = self._open.get(key)
        if logged is None or self._latest(key, logged).last_cause != absence:
            return []
        return [*self._flush(key), AlertResolved(alert=logged.alert, how="returned", time=time, causation=id)]

    def held_back(self) -> list[Event]:
        """The updates that would log every count there is. Changes nothing."""
        return [pending.update for pending in self._pending.values()]

    def pending(self) -> dict[tuple[str, str, str], PendingCount]:
        """What is counted but not logged, to be carried over into a fold of the log by :meth:`carry_over`."""
        return dict(self._pending)

    def carry_over(self, pending: Mapping[tuple[str, str, str], PendingCount]) -> None:
        """Take over what was pending elsewhere, as far as it is not logged by now."""
        for key, count in pending.items():
            logged = self._open.get(key)
            if logged is not None and logged.alert == count.update.alert and logged.count < count.update.count:
                self._pending[key] = count

    def command(self, command: AcknowledgeAlert | ResolveAlert, id: str) -> list[Event]:
        """What follows from a person's request with this id; nothing where it was decided before."""
        if id in self._decided:
            return []
        key = self._keys.get(command.alert)
        if key is None:
            return [self._refusal(command, id)]
        if isinstance(command, AcknowledgeAlert):
            return [
                AlertAcknowledged(
                    alert=command.alert, by=command.by, time=command.time, note=command.note, causation=id
                )
            ]
        resolved = AlertResolved(
            alert=command.alert, how="person", time=command.time, by=command.by, note=command.note, causation=id
        )
        return [*self._flush(key), resolved]

    def apply(self, event: Event) -> None:
        """Fold one event of the log. Events of other kinds change nothing."""
        if isinstance(event, AlertOpened):
            self._fold_alert(event)
        elif isinstance(event, AlertAcknowledged):
            if event.alert in self._keys:
                self._acknowledged.add(event.alert)
            self._remember(event.causation)
        elif isinstance(event, AlertResolved):
            self._fold_resolved(event)
        elif isinstance(event, CommandRefused):
            self._remember(event.causation)

    def apply_all(self, events: list[Event]) -> None:
        """Fold events in order."""
        for event in events:
            self.apply(event)

    def alert(self, alert: str) -> AlertOpened | None:
        """An open alert as it stands, counts that are not logged yet included."""
        key = self._keys.get(alert)
        return None if key is None else self._latest(key, self._open[key])

    def open_alerts(self) -> list[AlertOpened]:
        """All open alerts as logged, by id."""
        return sorted(self._open.values(), key=lambda alert: alert.alert)

    def is_acknowledged(self, alert: str) -> bool:
        """Whether a person has seen this open alert."""
        return alert in self._acknowledged

    def held_from(self, topic: str, partition: int) -> int | None:
        """The first offset of a partition whose cause is counted but not logged, or None."""
        offsets = [
            pending.held_from for pending in self._pending.values() if source_of(pending.update) == (topic, partition)
        ]
        return min(offsets, default=None)

    def settle(self, committed: Mapping[tuple[str, int], int]) -> None:
        """Causes before these offsets will never be fed again: forget what only served to recognise them."""
        self._days.forget()
        for key in [key for key in self._counted if key not in self._open]:
            counted = self._counted[key]
            kept = {source: offset for source, offset in counted.items() if offset >= committed.get(source, 0)}
            if kept:
                self._counted[key] = kept
            else:
                del self._counted[key]

    def state(self) -> object:
        """The folded state as a value that can be compared. What is pending is no part of it."""
        return (
            dict(self._open), set(self._acknowledged), {key: dict(value) for key, value in self._counted.items()},
            dict(self._resolved), list(self._decided), self._days.state(),
        )  # fmt: skip

    def _was_counted(self, cause: Cause) -> bool:
        logged = self._open.get(cause.key)
        if logged is not None:
            latest = self._latest(cause.key, logged)
            if cause.id in (latest.first_cause, latest.last_cause):
                return True
            if source_of(latest) == cause.source and cause.offset <= latest.source_offset:
                return True
        return cause.offset <= self._counted.get(cause.key, {}).get(cause.source, -1)

    def _latest(self, key: _Key, logged: AlertOpened) -> AlertOpened:
        pending = self._pending.get(key)
        return pending.update if pending else logged

    def _flush(self, key: _Key) -> list[Event]:
        pending = self._pending.get(key)
        return [pending.update] if pending else []

    def _within_budget(self, alert: AlertOpened) -> AlertOpened:
        return alert if self._days.allows(alert) else withheld(alert)

    def _refusal(self, command: AcknowledgeAlert | ResolveAlert, id: str) -> CommandRefused:
        how = self._resolved.get(command.alert)
        reason = f"alert {command.alert!r} " + (
            "does not exist; list the open ones with: oddtide alerts list"
            if how is None
            else f"is resolved already (by {how})"
        )
        name = type(command).__name__
        return CommandRefused(command=name, target=command.alert, reason=reason, causation=id, time=command.time)

    def _fold_alert(self, event: AlertOpened) -> None:
        if event.alert in self._resolved:
            return
        key = (event.kind, event.stream, event.series)
        before = self._open.get(key)
        self._days.fold(before if before is not None and before.alert == event.alert else None, event)
        self._open[key] = event
        self._keys[event.alert] = key
        source = source_of(event)
        counted = self._counted.setdefault(key, {})
        counted[source] = max(event.source_offset, counted.get(source, -1))
        pending = self._pending.get(key)
        if pending is not None and (event.alert != pending.update.alert or event.count >= pending.update.count):
            del self._pending[key]

    def _fold_resolved(self, event: AlertResolved) -> None:
        self._remember(event.causation)
        self._resolved[event.alert] = event.how
        _trim(self._resolved)
        self._acknowledged.discard(event.alert)
        key = self._keys.pop(event.alert, None)
        if key is not None and self._open[key].alert == event.alert:
            del self._open[key]
            self._pending.pop(key, None)

    def _remember(self, command: str) -> None:
        if command:
            self._decided[command] = None
            _trim(self._decided)


def _trim(remembered: dict[str, _Value]) -> None:
    if len(remembered) > _REMEMBERED:
        del remembered[next(iter(remembered))]
