"""The events of an episode's life: how it opens, goes on and ends in quiet."""

from __future__ import annotations

import msgspec

from oddtide.domain.observability.events import AlertOpened, AlertResolved, AlertUpdated, AlertWithheld
from oddtide.domain.observability.policy import AlertPolicy, Cause, worse
from oddtide.domain.readings import parse_rfc3339, rfc3339

__all__ = ["arrived_of", "ending", "let_through", "opening", "source_of", "updating", "withheld"]


def opening(cause: Cause, policy: AlertPolicy) -> AlertOpened:
    """A cause begins an episode."""
    when = rfc3339(cause.time)
    return AlertOpened(
        alert=cause.alert,
        kind=cause.kind,
        stream=cause.stream,
        series=cause.series,
        severity=policy.severity(cause),
        summary=cause.summary,
        opened=when,
        last=when,
        count=1,
        first_cause=cause.id,
        last_cause=cause.id,
        p_value=cause.p_value,
        arrived=rfc3339(cause.arrived),
        source_topic=cause.topic,
        source_partition=cause.partition,
        source_offset=cause.offset,
    )


def withheld(alert: AlertOpened) -> AlertWithheld:
    """An episode that opens no alert for now."""
    return AlertWithheld(**msgspec.structs.asdict(alert))


def let_through(episode: AlertOpened) -> AlertOpened:
    """An episode that was withheld so far opens an alert."""
    return AlertOpened(**msgspec.structs.asdict(episode))


def updating(latest: AlertOpened, cause: Cause, policy: AlertPolicy) -> AlertUpdated | AlertWithheld:
    """The episode as it stands after one more cause. Times, severity and p-value never get better."""
    p_values = [p for p in (latest.p_value, cause.p_value) if p is not None]
    changes = {
        "severity": worse(latest.severity, policy.severity(cause)),
        "summary": cause.summary,
        "last": rfc3339(max(cause.time, parse_rfc3339(latest.last))),
        "count": latest.count + 1,
        "last_cause": cause.id,
        "p_value": min(p_values, default=None),
        "arrived": rfc3339(max(cause.arrived, arrived_of(latest))),
        "source_topic": cause.topic,
        "source_partition": cause.partition,
        "source_offset": cause.offset,
    }
    kind = AlertWithheld if isinstance(latest, AlertWithheld) else AlertUpdated
    return kind(**{**msgspec.structs.asdict(latest), **changes})


def ending(latest: AlertOpened, policy: AlertPolicy) -> AlertResolved:
    """The episode ended in quiet, the quiet time after its last cause."""
    ended = parse_rfc3339(latest.last) + policy.quiet_ns
    return AlertResolved(alert=latest.alert, how="quiet", time=rfc3339(ended))


def arrived_of(alert: AlertOpened) -> int:
    """When the newest cause was logged (ns)."""
    return parse_rfc3339(alert.arrived or alert.last)


def source_of(alert: AlertOpened) -> tuple[str, int]:
    """The partition of the newest cause."""
    return (alert.source_topic, alert.source_partition)
