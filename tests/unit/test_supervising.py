"""``oddtide worker --instances N`` up to where processes begin."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oddtide.config.children import Ends
from oddtide.config.cli import supervising
from oddtide.config.cli.context import Cli
from oddtide.config.settings import Settings
from oddtide.config.supervisor import Supervisor


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    file = tmp_path / "oddtide.toml"
    file.write_text('application = "here"\n')
    return Cli(config=file)


class Ran:
    """A supervisor that only remembers how it was made."""

    made: Supervisor

    def __call__(self, supervisor: Supervisor) -> int:
        self.made = supervisor
        supervisor.all_ready()
        return 0


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    ran = Ran()
    monkeypatch.setattr(Supervisor, "run", lambda supervisor: ran(supervisor))  # noqa: PLW0108 - a method must be a function
    monkeypatch.setattr("oddtide.config.cli.supervising.signal.signal", lambda *_: None)
    return ran


def test_where_forking_is_not_safe_children_are_programs(cli: Cli, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[Callable[[int, int], list[str]]] = []
    monkeypatch.setattr(supervising, "CAN_FORK", False)
    monkeypatch.setattr(supervising, "spawning", commands.append)
    monkeypatch.setattr(supervising, "preload", lambda *_: pytest.fail("nothing is shared"))
    ready, told = os.pipe()
    assert supervising.supervise(cli, ("ingest", "health"), 2, ready_fd=told) == 0
    assert os.read(ready, 1) == b"1"
    os.close(ready)
    (command,) = commands
    assert command(0, 0)[3:] == ["--config", str(cli.config), "worker", "--roles", "ingest,health", "--number", "0"]
    assert command(1, 3)[-5:] == ["--roles", "ingest", "--number", "1", "--again"]


def test_where_it_is_they_are_forked_after_preloading(cli: Cli, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    preloaded: list[Any] = []
    monkeypatch.setattr(supervising, "CAN_FORK", True)
    monkeypatch.setattr(supervising, "preload", lambda *what: preloaded.append(what))
    assert supervising.supervise(cli, ("ingest",), 3, tether_fd=7) == 0
    assert preloaded == [(cli.settings(), ("ingest",))]
    assert (ran.made.count, ran.made.tether) == (3, 7)


def test_a_child_that_cannot_work_says_why_and_ends_with_the_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_folder=tmp_path)
    theirs, ours = os.pipe()
    lifeline, spoken = os.pipe()
    work = supervising._Worker(settings, ("ingest",), False)
    assert work(0, 0, Ends(theirs, spoken)) == 5
    assert "does not run. Start it with `oddtide up`" in capsys.readouterr().err
    for descriptor in (lifeline, spoken):
        os.close(descriptor)
    assert ours > 0, "open: else the tether would end this process"


def test_it_speaks_as_its_children_do(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    supervising._teller(cli.settings())("worker 1 is process 5")
    assert capsys.readouterr().err == "worker 1 is process 5\n"
    settings = Settings.model_validate({"log": {"format": "json"}})
    supervising._teller(settings)("worker 1 is process 5")
    assert json.loads(capsys.readouterr().err)["event"] == "worker 1 is process 5"
