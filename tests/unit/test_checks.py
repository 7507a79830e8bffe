from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from oddtide.config import checks
from oddtide.config.checks import Finding, run_checks
from oddtide.config.composition import Composition
from oddtide.config.settings import Settings

EXTERNAL = {"bootstrap": "127.0.0.1:1"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oddtide.adapters.kafka.connection._GIVE_UP_MS", 300)


def findings(folder: Path, **settings: Any) -> dict[str, Finding]:
    return {each.name: each for each in run_checks(Composition(Settings(data_folder=folder / "data", **settings)))}


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def test_a_machine_before_its_first_up(tmp_path: Path) -> None:
    found = findings(tmp_path, embedded={"port": free_port()}, worker={"metrics_port": free_port()})
    states = {name: each.state for name, each in found.items()}
    assert states.pop("kafka parts") in ("ok", "warn")
    assert states == {
        "data folder": "ok", "disk": states["disk"], "java": "ok", "kafka port": "ok", "kafka": "fail",
        "topics": "fail", "database": "ok", "metrics port": "ok", "clock": "ok",
    }  # fmt: skip
    assert "oddtide up" in found["kafka"].remedy


def test_an_external_kafka_needs_no_java(tmp_path: Path) -> None:
    found = findings(tmp_path, kafka=EXTERNAL, worker={"metrics": False})
    assert {"java", "kafka parts", "kafka port"}.isdisjoint(found)
    assert found["clock"].state == "fail"
    assert found["metrics port"].found == "metrics are off"


def test_parts_that_are_not_fetched_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDTIDE_CACHE", str(tmp_path / "cache"))
    assert findings(tmp_path)["kafka parts"].state == "warn"


def test_ports_that_are_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        found = findings(tmp_path, embedded={"port": port}, worker={"metrics_port": port})
    assert (found["kafka port"].state, found["metrics port"].state) == ("fail", "warn")
    assert "embedded.port" in found["kafka port"].remedy


def test_no_port_is_fixed(tmp_path: Path) -> None:
    assert findings(tmp_path, embedded={"port": 0})["kafka port"].found == "none is fixed"


@pytest.mark.parametrize(("free", "state"), [(10 << 30, "ok"), (1 << 30, "warn"), (1 << 20, "fail")])
def test_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=free))
    assert findings(tmp_path, kafka=EXTERNAL)["disk"].state == state


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    found = findings(tmp_path, kafka=EXTERNAL)
    assert found["data folder"].state == "fail"
    assert found["disk"].state == "fail"


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    found = checks._folder(Composition(Settings(data_folder=tmp_path)))
    assert found.state == "fail"
    assert "No space left" in found.found


@pytest.mark.parametrize(("skew", "state"), [(0.2, "ok"), (-5.0, "warn"), (90.0, "fail")])
def test_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: float, state: str) -> None:
    monkeypatch.setattr("oddtide.config.checks._skew_s", lambda _: skew)
    found = checks._clock(Composition(Settings(kafka=EXTERNAL)))
    assert found.state == state
    assert ("ahead" if skew > 0 else "behind") in found.found


def test_a_check_that_breaks_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Composition) -> Finding:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setitem(checks._CHECKS, "disk", broken)
    found = findings(tmp_path, kafka=EXTERNAL)["disk"]
    assert (found.state, found.found) == ("fail", "ZeroDivisionError: by nothing")
