"""What opens an alert, how grave it is, how often it is updated and when it ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from oddtide.domain.observability.day_budget import DayBudget
from oddtide.domain.observability.events import AlertOpened, Severity

__all__ = ["ALERT_KINDS", "AlertKind", "AlertPolicy", "Cause", "is_at_least", "worse"]

AlertKind: TypeAlias = Literal["anomaly", "absence", "drift", "quality", "health", "digest"]

#: Every kind that a cause opens, in the order in which people want to hear of them.
ALERT_KINDS: tuple[AlertKind, ...] = ("health", "absence", "anomaly", "drift", "quality")

_RANK: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}
_SECOND = 1_000_000_000


def is_at_least(severity: Severity, least: Severity) -> bool:
    """Whether a severity is as grave as another one, or graver."""
    return _RANK[severity] >= _RANK[least]


def worse(one: Severity, other: Severity) -> Severity:
    """The graver of two severities."""
    return one if is_at_least(one, other) else other


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that opens an alert or keeps it open: a fact of another domain, translated.

    ``time`` is the fact's own time, ``arrived`` when it was logged (both ns since 1970). ``topic``, ``partition`` and
    ``offset`` say where it stands in the log; offsets of one partition come in order. ``severity`` None leaves it to
    the p-value and the policy.
    """

    id: str
    kind: AlertKind
    stream: str
    series: str
    time: int
    arrived: int
    summary: str
    topic: str
    partition: int
    offset: int
    severity: Severity | None = None
    p_value: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What an episode runs on: kind, stream and series."""
        return (self.kind, self.stream, self.series)

    @property
    def alert(self) -> str:
        """The id of the alert that it opens, if it opens one: 16 hex digits, a function of key and id."""
        text = "\x1f".join((*self.key, self.id))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def source(self) -> tuple[str, int]:
        """The partition that it stands in."""
        return (self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """One policy for every stream, with exceptions by stream name in ``streams``.

    ``kinds``       what opens alerts at all
    ``quiet_s``     seconds without a cause after which an episode has ended (not an absence: that ends when the series
                    speaks again)
    ``update_s``    seconds after which a change of the count is logged at the latest
    ``warning_p``   p-value at or below which an anomaly is a ``warning`` (above: ``info``)
    ``critical_p``  p-value at or below which it is ``critical``
    ``day``         how many alerts of anomalies may open a day, over all streams: that of the policy for every stream

    Besides, an update is logged at the counts 2, 5, 10, 20, 50, 100 ... and whenever the severity rises.
    """

    kinds: frozenset[AlertKind] = frozenset(ALERT_KINDS)
    quiet_s: float = 900.0
    update_s: float = 30.0
    warning_p: float = 1e-4
    critical_p: float = 1e-9
    day: DayBudget = field(default_factory=DayBudget)
    streams: Mapping[str, AlertPolicy] = field(default_factory=dict)

    def of(self, stream: str) -> AlertPolicy:
        """The policy of one stream."""
        return self.streams.get(stream, self)

    @property
    def quiet_ns(self) -> int:
        """``quiet_s`` in nanoseconds."""
        return int(self.quiet_s * _SECOND)

    @property
    def update_ns(self) -> int:
        """``update_s`` in nanoseconds."""
        return int(self.update_s * _SECOND)

    def severity(self, cause: Cause) -> Severity:
        """How grave a cause is."""
        if cause.severity is not None:
            return cause.severity
        if cause.p_value is None:
            return "warning"
        if cause.p_value <= self.critical_p:
            return "critical"
        return "warning" if cause.p_value <= self.warning_p else "info"

    def is_news(self, logged: AlertOpened, update: AlertOpened) -> bool:
        """Whether an update is worth logging after what was logged last (its age aside)."""
        return update.severity != logged.severity or _is_round(update.count)


def _is_round(count: int) -> bool:
    while count >= 10 and count % 10 == 0:
        count //= 10
    return count in (1, 2, 5)
