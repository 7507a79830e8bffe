"""Facts of the other domains as causes of alerts: the one place where observability learns of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oddtide.domain.detection.events import AbsenceDetected, AnomalyDetected
from oddtide.domain.drift.events import DriftDetected
from oddtide.domain.observability.events import AgentDegraded, HistoryLost, LedgerBroken, Severity, WorkerLost
from oddtide.domain.observability.policy import AlertKind, Cause
from oddtide.domain.quality.events import ContractViolated
from oddtide.domain.readings import parse_rfc3339
from oddtide.streams.ports import LoggedEvent

__all__ = ["cause_of"]


def cause_of(logged: LoggedEvent) -> Cause | None:
    """The cause that an event is, or None for one that opens no alert."""
    translate = _TRANSLATIONS.get(type(logged.event))
    return translate(logged, logged.event) if translate else None


def _anomaly(logged: LoggedEvent, event: AnomalyDetected) -> Cause:
    summary = event.reason or f"{event.feature} is {event.value}, p-value {event.p_value:.2g}"
    return _cause(logged, "anomaly", event.id, event.stream, event.series, summary, p_value=event.p_value)


def _absence(logged: LoggedEvent, event: AbsenceDetected) -> Cause:
    return _cause(logged, "absence", event.id, event.stream, event.series, event.reason, "warning")


def _drift(logged: LoggedEvent, event: DriftDetected) -> Cause:
    change = "" if event.before is None or event.after is None else f" from {event.before:.6g} to {event.after:.6g}"
    summary = f"{event.watched} has drifted{change} ({event.monitor})"
    return _cause(logged, "drift", event.id, event.stream, event.series, summary, "warning")


def _quality(logged: LoggedEvent, event: ContractViolated) -> Cause | None:
    if event.action not in ("reject", "report"):
        return None
    severity: Severity = "warning" if event.action == "reject" else "info"
    summary = f"{event.rule}: {event.detail}"
    return _cause(logged, "quality", event.id, event.stream, event.series, summary, severity)


def _lost(logged: LoggedEvent, event: WorkerLost) -> Cause:
    summary = f"worker {event.worker} has been silent for {event.silent_s:.0f} s"
    return _cause(logged, "health", logged.envelope.id, "", event.worker, summary, "critical")


def _broken(logged: LoggedEvent, event: LedgerBroken) -> Cause:
    where = f"{event.topic}/{event.partition}"
    summary = f"the ledger of {where} does not add up at {event.offset}: {event.problem}"
    return _cause(logged, "health", logged.envelope.id, event.stream, where, summary, "critical")


def _history(logged: LoggedEvent, event: HistoryLost) -> Cause:
    where = f"{event.topic}/{event.partition}"
    gone = f"{where} lost its history from {event.from_offset} to {event.to_offset}"
    summary = f"{gone}, {event.unread} of it never processed: {event.reason}"
    return _cause(logged, "health", logged.envelope.id, event.stream, where, summary, "critical")


def _degraded(logged: LoggedEvent, event: AgentDegraded) -> Cause:
    summary = f"{event.part} is degraded: {event.reason} {event.remedy}".rstrip()
    return _cause(logged, "health", logged.envelope.id, "", f"{event.worker}/{event.part}", summary, "warning")


_TRANSLATIONS: dict[type, Callable[[LoggedEvent, Any], Cause | None]] = {
    AnomalyDetected: _anomaly,
    AbsenceDetected: _absence,
    DriftDetected: _drift,
    ContractViolated: _quality,
    WorkerLost: _lost,
    LedgerBroken: _broken,
    HistoryLost: _history,
    AgentDegraded: _degraded,
}


def _cause(
    logged: LoggedEvent,
    kind: AlertKind,
    id: str,
    stream: str,
    series: str,
    summary: str,
    severity: Severity | None = None,
    p_value: float | None = None,
) -> Cause:
    arrived = logged.timestamp * 1_000_000
    return Cause(
        id=id or logged.envelope.id,
        kind=kind,
        stream=stream,
        series=series,
        time=_moment(getattr(logged.event, "time", ""), arrived),
        arrived=arrived,
        summary=summary,
        topic=logged.topic,
        partition=logged.partition,
        offset=logged.offset,
        severity=severity,
        p_value=p_value,
    )


def _moment(text: str, otherwise: int) -> int:
    try:
        return parse_rfc3339(text)
    except ValueError:
        return otherwise
