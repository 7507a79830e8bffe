"""Which facts are causes of alerts, and what an alert says of them."""

from __future__ import annotations

import pytest

from oddtide.domain.detection.events import AnomalyDetected
from oddtide.domain.drift.events import DriftDetected, DriftWarned
from oddtide.domain.events import Message
from oddtide.domain.observability.events import AgentDegraded, HistoryLost, LedgerBroken, WorkerLost, WorkerStopped
from oddtide.domain.observability.policy import Cause
from oddtide.domain.quality.events import ContractViolated
from oddtide.streams.agents.causes import cause_of
from oddtide.streams.envelope import Envelope
from oddtide.streams.ports import LoggedEvent

NOW = "2026-01-01T00:00:00Z"
NOW_NS = 1_767_225_600_000_000_000


def cause(event: Message) -> Cause | None:
    envelope = Envelope("envelope-id", type(event).type_name(), "/test")
    return cause_of(LoggedEvent("topic", 2, 7, 1_000, "key", envelope, event))


def drift(kind: type[DriftWarned] = DriftDetected, before: float | None = 1.0, time: str = NOW) -> DriftWarned:
    return kind(
        id="d", stream="plant", series="s", time=time, monitor="adwin", watched="score", readings=1, before=before,
        after=2.0,
    )  # fmt: skip


def violation(action: str) -> ContractViolated:
    return ContractViolated(
        id="q", stream="plant", series="s", rule="range", detail="9 > 5", action=action, time=NOW
    )  # fmt: skip


def anomaly(reason: str) -> AnomalyDetected:
    return AnomalyDetected(
        id="v", stream="plant", series="s", time=NOW, feature="value", value=9.0, score=1.0, p_value=1e-9,
        is_anomaly=True, reason=reason,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "kind", "id", "series", "severity", "words"),
    [
        (anomaly("too high"), "anomaly", "v", "s", None, "too high"),
        (anomaly(""), "anomaly", "v", "s", None, "value is 9.0, p-value 1e-09"),
        (drift(), "drift", "d", "s", "warning", "score has drifted from 1 to 2 (adwin)"),
        (drift(before=None), "drift", "d", "s", "warning", "score has drifted (adwin)"),
        (violation("reject"), "quality", "q", "s", "warning", "range: 9 > 5"),
        (violation("report"), "quality", "q", "s", "info", "range: 9 > 5"),
        (
            WorkerLost(worker="w", time=NOW, silent_s=20.4, last=NOW),
            "health", "envelope-id", "w", "critical", "worker w has been silent for 20 s",
        ),
        (
            HistoryLost(stream="plant", topic="r", partition=3, epoch=1, from_offset=4, to_offset=9, unread=2,
                        reason="no snapshot.", time=NOW),
            "health", "envelope-id", "r/3", "critical",
            "r/3 lost its history from 4 to 9, 2 of it never processed: no snapshot.",
        ),
        (
            LedgerBroken(stream="plant", topic="r", partition=3, offset=9, problem="gap", time=NOW),
            "health", "envelope-id", "r/3", "critical", "the ledger of r/3 does not add up at 9: gap",
        ),
        (
            AgentDegraded(worker="w", part="ingest", reason="slow.", remedy="Wait.", time=NOW),
            "health", "envelope-id", "w/ingest", "warning", "ingest is degraded: slow. Wait.",
        ),
    ],
)  # fmt: skip
def test_facts_become_causes(event: Message, kind: str, id: str, series: str, severity: str | None, words: str) -> None:
    found = cause(event)
    assert found is not None
    assert (found.kind, found.id, found.series, found.severity, found.summary) == (kind, id, series, severity, words)
    assert (found.topic, found.partition, found.offset) == ("topic", 2, 7)
    assert (found.time, found.arrived) == (NOW_NS, 1_000_000_000)


@pytest.mark.parametrize("event", [drift(DriftWarned), violation("skip"), WorkerStopped(worker="w", time=NOW)])
def test_others_do_not(event: Message) -> None:
    assert cause(event) is None


def test_a_time_that_cannot_be_read_is_the_time_of_arrival() -> None:
    found = cause(drift(time=""))
    assert found is not None
    assert found.time == found.arrived
