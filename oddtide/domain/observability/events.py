"""What observability says: alerts and their lifecycle, workers' health, feedback from people."""

from __future__ import annotations

from typing import Literal

from oddtide.domain.events import Command, Event
from oddtide.domain.readings import Rfc3339

__all__ = [
    "AcknowledgeAlert",
    "AgentDegraded",
    "AlertAcknowledged",
    "AlertOpened",
    "AlertResolved",
    "AlertUpdated",
    "AlertWithheld",
    "CommandRefused",
    "FeedbackGiven",
    "FeedbackWithdrawn",
    "HeartbeatRecorded",
    "HistoryLost",
    "LedgerBroken",
    "PartitionHealth",
    "ResolveAlert",
    "WorkerLost",
    "WorkerStarted",
    "WorkerStopped",
]

import msgspec

Severity = Literal["info", "warning", "critical"]


class AlertOpened(Event, frozen=True, kw_only=True):
    """An episode on one series began. One alert per series and episode.

    ``alert`` is derived from what caused it, so a decision taken twice is the same event. ``kind`` is ``anomaly``,
    ``absence``, ``quality``, ``drift``, ``health``, or ``digest`` for what was withheld on the day ``series``.
    ``opened`` and ``last`` are the causes' own times, ``arrived`` is when the newest was logged; ``source_*`` says
    which record that was: what lies at or before it is already counted.
    """

    alert: str
    kind: str
    stream: str
    series: str
    severity: Severity
    summary: str
    opened: Rfc3339
    last: Rfc3339
    count: int = 1
    first_cause: str = ""
    last_cause: str = ""
    p_value: float | None = None
    arrived: Rfc3339 = ""
    source_topic: str = ""
    source_partition: int = 0
    source_offset: int = 0


class AlertUpdated(AlertOpened, frozen=True, kw_only=True):
    """The episode goes on: ``count`` causes so far, ``last`` the newest, ``severity`` the highest."""


class AlertWithheld(AlertOpened, frozen=True, kw_only=True):
    """An episode that opens no alert, since the day's budget is for stronger ones: as it stands so far. It is an
    ``AlertOpened`` that nobody is told of; a real one follows where that changes."""


class AlertAcknowledged(Event, frozen=True, kw_only=True):
    """A person has seen it. ``causation`` is the command's id."""

    alert: str
    by: str
    time: Rfc3339
    note: str = ""
    causation: str = ""


class AlertResolved(Event, frozen=True, kw_only=True):
    """The episode ended: ``how`` is ``quiet`` (no cause for as long as the stream's policy says), ``returned``
    (an absent series speaks again) or ``person``. ``causation`` is the command's id, where a person asked for it, or
    the return's."""

    alert: str
    how: str
    time: Rfc3339
    by: str = ""
    note: str = ""
    causation: str = ""


class AcknowledgeAlert(Command, frozen=True, kw_only=True):
    """Ask that an open alert count as seen. Refused when it does not exist or is resolved."""

    alert: str
    by: str
    time: Rfc3339
    note: str = ""


class ResolveAlert(Command, frozen=True, kw_only=True):
    """Ask that an alert be closed. Refused when it does not exist or is resolved already."""

    alert: str
    by: str
    time: Rfc3339
    note: str = ""


class CommandRefused(Event, frozen=True, kw_only=True):
    """A command was understood and refused, and why."""

    command: str
    target: str
    reason: str
    causation: str = ""
    time: Rfc3339 = ""


class FeedbackGiven(Event, frozen=True, kw_only=True):
    """A person's label on a verdict: ``confirmed``, ``dismissed`` or ``accepted`` ("this is the new normal").

    ``accepted`` alters verdicts: before the next batch of the verdict's partition the detectors of ``series`` forget
    it and learn anew, which the ledger says (``ControlApplied``). The other labels alter none."""

    id: str
    verdict: str
    label: Literal["confirmed", "dismissed", "accepted"]
    by: str
    time: Rfc3339
    note: str = ""
    series: str = ""


class FeedbackWithdrawn(Event, frozen=True, kw_only=True):
    """The label ``feedback`` no longer holds. Where it was ``accepted`` and took effect before, nothing is undone: what
    the detectors forgot is gone."""

    feedback: str
    by: str
    time: Rfc3339
    note: str = ""


class PartitionHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One partition as its owner sees it. ``lag`` counts records not yet committed; -1 when unknown. While its state is
    rebuilt, ``restored`` is how much of it is (0 to 1) and ``eta_s`` how long it will take yet; -1 when unknown."""

    topic: str
    partition: int
    position: int
    end: int
    lag: int
    state: str = "running"
    restored: float = 1.0
    eta_s: float = 0.0


class WorkerStarted(Event, frozen=True, kw_only=True):
    """A worker came up with these roles."""

    worker: str
    host: str
    pid: int
    roles: list[str]
    build: str
    time: Rfc3339
    metrics: str = ""


class HeartbeatRecorded(Event, frozen=True, kw_only=True):
    """A worker is alive. Counters run since its start."""

    worker: str
    host: str
    pid: int
    roles: list[str]
    time: Rfc3339
    uptime_s: float
    partitions: list[PartitionHealth] = []
    readings: int = 0
    scored: int = 0
    rejected: int = 0
    skipped: int = 0
    detections: int = 0
    readings_per_s: float = 0.0
    memory_mib: float = 0.0
    series: int = 0
    asleep: int = 0
    state: str = "running"
    interval_s: float = 5.0
    metrics: str = ""


class WorkerStopped(Event, frozen=True, kw_only=True):
    """A worker ended, as it was asked to or with a reason."""

    worker: str
    time: Rfc3339
    reason: str = ""


class WorkerLost(Event, frozen=True, kw_only=True):
    """No heartbeat came from a worker for ``silent_s`` seconds."""

    worker: str
    time: Rfc3339
    silent_s: float
    last: Rfc3339


class AgentDegraded(Event, frozen=True, kw_only=True):
    """A part works, but less well: which, why, what to do."""

    worker: str
    part: str
    reason: str
    remedy: str
    time: Rfc3339


class LedgerBroken(Event, frozen=True, kw_only=True):
    """A partition's ledger does not add up: what, and where."""

    stream: str
    topic: str
    partition: int
    offset: int
    problem: str
    time: Rfc3339


class HistoryLost(Event, frozen=True, kw_only=True):
    """Records that a partition needed are no longer in the log and no snapshot makes up for them.

    The ledger goes on in a new ``epoch``. The records ``from .. to-1`` are gone; ``unread`` of those offsets had not
    been processed by anybody, and no verdict will come of them. ``reason`` says what the state goes on from.
    """

    stream: str
    topic: str
    partition: int
    epoch: int
    from_offset: int = msgspec.field(name="from")
    to_offset: int = msgspec.field(name="to")
    unread: int
    reason: str
    time: Rfc3339
