"""``oddtide explain`` on a real Kafka: any verdict by its id, out of the log or out of what was published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oddtide.config.composition import Composition
from oddtide.config.settings import load
from oddtide.domain.detection.events import AnomalyDetected
from oddtide.domain.observability.controls import ControlApplied, PlannedWindow
from oddtide.domain.readings import rfc3339
from oddtide.streams.pipeline.processor import PartitionProcessor
from tests.integration.history_kit import STREAMS, T0_MS, History, answer, history, ordinary, reading, run
from tests.integration.test_replay_verify import delete_before

__all__ = ["history"]


def ident(history: History, offset: int, row: int = 0, partition: int = 0, version: str = "") -> str:
    (plan,) = history.composition.plans()
    return f"{history.prefix}/readings/{history.topic}/{partition}/{offset}/{row}@{version or plan.version}"


def batch(*values: float) -> bytes:
    """Several readings in one record, as JSON columns."""
    times = [T0_MS + 1_000 * i for i in range(60, 60 + len(values))]
    return json.dumps({"series": "pump", "time": times, "value": list(values)}).encode()


def test_every_verdict_is_explained_anomaly_or_not(history: History) -> None:
    history.push([*ordinary(60, spikes=[50]), batch(3.0, 4.0, 5.0), b"{broken", reading(64, 5.0)])
    published = history.publish(partitions=[0])
    events = [each.event for outcome in published for each in outcome.events]
    (spike,) = [each for each in events if isinstance(each, AnomalyDetected) and each.offset == 50]

    found = answer("explain", spike.id)
    assert found["verdict"]["score"] == spike.score
    assert found["verdict"]["reason"] == spike.reason == found["account"]["finding"]
    assert "an alarm: p" in found["account"]["alarm"]
    assert len(found["before"]) == 50
    assert found["notes"] == []

    other = answer("explain", ident(history, 60, 1), "--before", "5")
    assert "no alarm: p" in other["account"]["alarm"]
    assert (other["verdict"]["value"], other["verdict"]["row"]) == (4.0, 1)
    assert [each["value"] for each in other["before"]] == [6.0, 2.0, 9.0, 5.0, 3.0] or len(other["before"]) == 5
    assert other["before"][-1]["value"] == 3.0
    shown = run("explain", spike.id)
    assert shown.stdout.startswith("pump  ")
    assert "ANOMALY" in shown.stdout

    history.push([reading(70, 5.0)])
    early = run("explain", ident(history, 63))
    assert early.exit_code == 0, early.stderr
    assert "no worker has judged this reading yet" in early.stderr

    for name, code, says in (
        (ident(history, 60, 9), 3, "has no row 9: it holds 3 readings"),
        (ident(history, 61), 3, "was rejected, not_json"),
        (ident(history, 900), 3, "is not written yet"),
        (ident(history, 0, partition=7), 3, "no partition 7"),
        (ident(history, 50, version="0" * 12), 3, "none of that id was published"),
        (ident(history, 50).replace("/readings/", "/nothing/", 1), 3, "no stream"),
        (ident(history, 50).replace(history.topic, "another"), 2, "reads"),
    ):
        result = run("explain", name)
        assert result.exit_code == code, result.stderr
        assert says in " ".join(result.stderr.split())


def test_what_the_log_no_longer_holds_is_told_from_what_was_published(history: History) -> None:
    history.push(ordinary(120, spikes=[30]))
    history.publish(partitions=[0])
    delete_before(history, 60)
    result = run("explain", ident(history, 30), "--output", "json")
    assert result.exit_code == 0, result.stderr
    assert "the log begins at offset 60" in result.stderr
    found = json.loads(result.stdout)
    assert found["verdict"]["is_anomaly"]
    assert "sigma above" in found["account"]["finding"]
    assert found["before"] == []
    late = answer("explain", ident(history, 100))
    assert late["notes"]
    assert late["verdict"]["offset"] == 100


def test_planned_work_and_what_discord_compares_with(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = {"kind": "discord", "parameters": {"shingle": 4, "scales": 1, "history": 16, "calibration": 64}}
    monkeypatch.setenv("ODDTIDE_STREAMS", json.dumps([{**STREAMS[0], "detectors": [detector], "profile": "light"}]))
    later = History(history.prefix, Composition(load(None).settings))
    later.push([*ordinary(100), batch(3.0, 4.0, 500.0)])
    window = PlannedWindow(
        id="w1", from_time=rfc3339((T0_MS + 90_000) * 10**6), to_time=rfc3339((T0_MS + 95_000) * 10**6), reason="valves"
    )
    control = ControlApplied(kind="planned_work", offset=0, work=window)

    def before(processor: PartitionProcessor) -> None:
        processor.apply(control)

    later.publish(partitions=[0], before=before)
    worked: Any = answer("explain", ident(later, 92))
    assert "planned work w1 was under way" in worked["account"]["alarm"]
    assert worked["account"]["planned work"].startswith("valves, from ")
    assert worked["planned_work"]["reason"] == "valves"
    found = answer("explain", ident(later, 100, 2))
    (pattern,) = found["nearest"].values()
    assert pattern["now"][-3:] == [3.0, 4.0, 500.0]
    assert "nearest (discord)" in found["account"]
