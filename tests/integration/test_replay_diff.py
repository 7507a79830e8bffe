"""``oddtide replay --diff`` on a real Kafka: what other settings would have found, and nothing touched."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from tests.integration.history_kit import STREAMS, History, answer, history, ledger_changed, ordinary, run
from tests.page import Page

__all__ = ["history"]


@pytest.fixture
def other(history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings that find less: the settings in force are in a file too, since a variable would override both."""
    monkeypatch.delenv("ODDTIDE_STREAMS")
    for name, streams in (("oddtide.toml", STREAMS), ("other.toml", [{**STREAMS[0], "threshold": {"p_value": 1e-12}}])):
        (tmp_path / name).write_text("streams = " + _toml(streams) + "\n")
    return tmp_path / "other.toml"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def mild(count: int, spikes: dict[int, float]) -> list[bytes]:
    values = ordinary(count)
    for at, height in spikes.items():
        values[at] = json.dumps({**json.loads(values[at]), "value": height}).encode()
    return values


def groups(kafka: str) -> list[str]:
    """Every consumer group that the cluster knows."""

    async def ask() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        found = await admin.list_consumer_groups()
        await admin.close()
        return sorted(map(str, found))

    return asyncio.run(ask())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_other_settings_are_tried_and_nothing_is_touched(history: History, other: Path, tmp_path: Path) -> None:
    history.push(mild(200, {100: 1e6, 150: 40.0, 160: 38.0}))
    history.push(mild(60, {50: 45.0}), partition=1)
    history.publish()
    before = (history.ends(), groups(history.composition.bootstrap), files(tmp_path))
    found = answer("replay", "--config", str(other), "--diff")
    assert (history.ends(), groups(history.composition.bootstrap), files(tmp_path)) == before
    counts = found["detections"]
    assert counts["appeared"] == 0
    assert counts["vanished"] == counts["live"] - counts["other"] > 0
    assert counts["same"] == counts["other"] >= 1
    assert found["configuration"] == [{"setting": "threshold.p_value", "live": 1e-6, "other": 1e-12}]
    assert (found["readings"], found["scored"]) == (260, {"live": 260, "other": 260})
    assert [each["status"] for each in found["verification"]] == ["equal", "equal"]
    assert len(found["differences"]) == counts["vanished"]
    first = found["differences"][0]
    assert (first["kind"], first["series"], first["live"]["score"]) == ("vanished", "pump", first["other"]["score"])
    assert first["live"]["reason"]
    assert not first["other"]["reason"]
    assert found["series"][0]["vanished"] == counts["vanished"]
    assert sum(bar["vanished"] for bar in found["timeline"]["bars"]) == counts["vanished"]
    assert found["alarms_per_day"]["live"] >= found["alarms_per_day"]["other"] > 0
    assert found["readings_per_second"]["other"] > 0

    swapped = run("--config", str(other), "replay", "--config", "oddtide.toml", "--diff", "--output", "jsonl")
    *changes, summary = map(json.loads, swapped.stdout.splitlines())
    assert summary["detections"]["appeared"] == counts["vanished"] == len(changes)
    assert {change["type"] for change in changes} == {"difference"}

    published = answer("replay", "--config", str(other), "--diff", "--live", "published", "--jobs", "2")
    assert published["detections"] == counts
    assert published["readings_per_second"]["live"] is None
    part = answer("replay", "--config", str(other), "--diff", "--from", "155", "-p", "0")
    assert part["readings"] == 45 or part["readings"] == 200
    assert all(change["offset"] >= 155 for change in part["differences"])
    assert part["scored"]["other"] == 45


def test_the_report_is_one_file_that_a_person_can_read(history: History, other: Path, tmp_path: Path) -> None:
    history.push(mild(200, {100: 1e6, 150: 40.0, 160: 38.0}))
    named = [
        json.dumps({**json.loads(value), "series": "<b>&"}).encode() for value in mild(200, {150: 40.0, 160: 38.0})
    ]
    history.push(named, partition=1)
    history.publish(tamper=ledger_changed(lambda batch: {"hash": "0" * 16} if batch.partition == 1 else {}))
    report = tmp_path / "report.html"
    result = run("replay", "--config", str(other), "--diff", "--html", str(report), "--limit", "1")
    assert result.exit_code == 0, result.stderr
    assert "threshold.p_value" in result.stdout
    assert "more differences" in result.stderr
    assert "could not be verified in partitions [1]" in result.stderr
    text = report.read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.references == []
    assert "<script" not in text
    assert "url(" not in text
    assert "<b>&" in "".join(page.text)
    shown = " ".join(page.text)
    assert "vanish" in shown
    assert "does not equal what was published" in shown
    assert 'role="img"' in text
    nowhere = run("replay", "--config", str(other), "--diff", "--html", str(report.parent / "missing" / "x.html"))
    assert nowhere.exit_code == 2
    assert nowhere.stdout == ""
    same = run("replay", "--config", "oddtide.toml", "--diff", "--html", str(report), "--to", "30")
    assert same.exit_code == 0
    assert "No detection on either side" in report.read_text()
    assert "Both settings have the same pipeline" in report.read_text()


def test_it_needs_settings_to_try(history: History, tmp_path: Path) -> None:
    assert run("replay", "--diff").exit_code == 2
    assert run("replay", "--verify", "--html", "x.html").exit_code == 2
    for begin, end in (("7", "7"), ("9", "7"), ("2026-01-02", "2026-01-01")):
        refused = run("replay", "--verify", "--from", begin, "--to", end)
        assert refused.exit_code == 2
        assert f"between --from {begin} and --to {end}" in refused.stderr
    (tmp_path / "foreign.toml").write_text('[[streams]]\nname = "something"\n')
    assert run("replay", "--config", str(tmp_path / "missing.toml"), "--diff").exit_code in {3, 4}
