"""Controls on a real Kafka, through the shipped commands: published, taken up at an offset, found there again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from oddtide.config.cli import cli
from oddtide.config.cli.pipelines import publish_all
from oddtide.config.composition import Composition
from oddtide.config.publishing import published
from oddtide.config.settings import load
from oddtide.domain.observability.controls import ControlsInForce
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.controls import ControlSource
from oddtide.streams.envelope import open_envelope
from oddtide.streams.pipeline.processor import PartitionProcessor

T0 = 1_767_225_600_000
FILE = """
[[streams]]
name = "readings"
partitions = 1
publish = "all"
{more}
"""
DETECTOR = "detectors = [{{ kind = 'ewma', parameters = {{ warm_up = {warm_up} }} }}]"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="oddtide")


def rows(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--output", "jsonl")
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)


@dataclass
class Installation:
    """A settings file of its own on the session's Kafka, with one partition of readings."""

    folder: Path
    prefix: str
    sent: int = 0

    def write(self, more: str) -> None:
        (self.folder / "oddtide.toml").write_text(FILE.format(more=more))

    @property
    def composition(self) -> Composition:
        return Composition(load().settings)

    def push(self, count: int, series: str = "xy") -> None:
        """Readings of two series, in turn."""
        with self.composition.writer() as writer:
            for i in range(self.sent, self.sent + count):
                reading = {"series": series[i % 2], "time": T0 + i * 1000, "value": float(i * 7 % 5)}
                last = writer.send(f"{self.prefix}.readings", orjson.dumps(reading), key=b"k", partition=0)
            last.wait()
        self.sent += count

    def ledger(self) -> list[BatchCompleted]:
        with self.composition.reader() as reader:
            opened = [
                open_envelope(record.value, record.headers)[1]
                for record in reader.read(f"{self.prefix}.readings.ledger", stop_at_end=True)
            ]
        return [event for event in opened if isinstance(event, BatchCompleted)]

    def until(self, offset: int) -> list[BatchCompleted]:
        """The ledger, once it has reached ``offset``."""
        eventually(lambda: (ledger := self.ledger()) and ledger[-1].to_offset >= offset)
        return self.ledger()

    def replayed(self, ledger: list[BatchCompleted]) -> PartitionProcessor:
        """The state after folding the log in one process, each control of the ledger at its offset."""
        composition = self.composition
        source = ControlSource(published(composition), composition.artifacts())
        controls = [control for batch in ledger for control in batch.controls]
        first = source.plan("readings", controls[0].pipeline)
        subject = PartitionProcessor(first, composition.toolkit(), application=self.prefix, partition=0)
        with composition.reader() as reader:
            records = [
                Record(r.offset, r.timestamp, r.key, r.value, list(r.headers))
                for r in reader.read(f"{self.prefix}.readings", stop_at_end=True)
            ]
        for record in records:
            while controls and controls[0].offset <= record.offset:
                source.apply(subject, controls.pop(0))
            subject.fold([record])
        return subject


@pytest.fixture
def installation(kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    for name in list(os.environ):
        if name.startswith("ODDTIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODDTIDE_KAFKA__BOOTSTRAP", kafka)
    monkeypatch.setenv("ODDTIDE_PREFIX", topic_prefix)
    monkeypatch.setenv("ODDTIDE_APPLICATION", topic_prefix)
    monkeypatch.setenv("ODDTIDE_WORKER__METRICS", "false")
    monkeypatch.setenv("ODDTIDE_WORKER__SESSION_TIMEOUT_S", "6")
    made = Installation(tmp_path, topic_prefix)
    made.write(DETECTOR.format(warm_up=5))
    assert run("topics", "create").exit_code == 0
    return made


@contextmanager
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """An ingest worker process, up. It must end cleanly, unless the test killed it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "oddtide", "worker", "--roles", "ingest"], stderr=subprocess.PIPE, env=os.environ.copy()
    )
    with process:
        assert process.stderr is not None
        said = b""
        try:
            while b"is up: " not in said:
                line = process.stderr.readline()
                assert line, said.decode()
                said += line
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL)


def test_a_change_takes_effect_at_the_offset_that_the_ledger_names(installation: Installation) -> None:
    installation.push(100)
    with worker() as first:
        installation.until(100)
        (initial,) = rows("pipelines", "list")
        assert initial["in_force"]

        installation.write(DETECTOR.format(warm_up=20))
        refused = run("worker", "--roles", "ingest")
        assert (refused.exit_code, "oddtide pipelines publish" in refused.stderr) == (4, True)
        assert run("pipelines", "diff", "--check").exit_code == 6
        assert run("pipelines", "publish").exit_code == 2
        (change,) = rows("pipelines", "publish", "--yes", "--note", "longer warm-up")
        assert change["replaces"] == initial["version"]
        assert rows("pipelines", "diff") == rows("pipelines", "publish", "--yes") == []

        def switched() -> bool:
            installation.push(20)
            newest: str = installation.until(installation.sent)[-1].pipeline_version
            return newest == str(change["version"])

        eventually(switched)
        first.kill()
        first.wait()
    installation.push(50)
    with worker():
        ledger = installation.until(installation.sent)
    pipelines = [control for batch in ledger for control in batch.controls]
    assert [control.pipeline for control in pipelines] == [initial["version"], change["version"]]
    assert pipelines[1].kept == ("validator", "profiles")
    border = pipelines[1].offset
    assert 100 <= border < installation.sent
    verdicts = rows("tail", "verdicts", "-o", "beginning", "-e")
    assert [verdict["source_offset"] for verdict in verdicts] == list(range(installation.sent))
    versions = [verdict["pipeline_version"] for verdict in verdicts]
    assert versions == [initial["version"]] * border + [change["version"]] * (installation.sent - border)
    assert [verdict["seen"] for verdict in verdicts[border : border + 4]] == [0, 0, 1, 1]
    again = installation.replayed(ledger)
    assert f"{again.hash:016x}" == ledger[-1].hash
    in_force = ControlsInForce()
    for control in pipelines:
        in_force = in_force.after(control)
    assert again.in_force == in_force


def test_accepted_levels_and_planned_work_go_through_the_ledger(installation: Installation) -> None:
    installation.push(40)
    with worker():
        installation.until(40)
        verdict = rows("tail", "verdicts", "-o", "beginning", "-e")[-1]
        (given,) = rows("feedback", "accept", verdict["id"], "--series", verdict["series"])
        begin, end = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
        (work,) = rows("planned-work", "add", "--series", "x*", "--from", begin, "--to", end, "--reason", "valves")
        eventually(lambda: len(_kinds(installation)) == 3)
        rows("planned-work", "cancel", work["work"][:6])
        eventually(lambda: len(_kinds(installation)) == 4)
        ledger = installation.until(installation.sent)
    kinds = sorted(control.kind for batch in ledger for control in batch.controls)
    assert kinds == ["feedback", "pipeline", "planned_work", "planned_work"]
    controls = {control.causation: control for batch in ledger for control in batch.controls if control.feedback}
    assert controls[given["id"]].series == verdict["series"]
    under = [row for row in rows("tail", "verdicts", "-o", "beginning", "-e") if row["suppressed_by"]]
    assert {row["series"] for row in under} == {"x"}
    assert {row["suppressed_by"] for row in under} == {work["work"]}
    assert sum(batch.suppressed for batch in ledger) == len(under)
    assert f"{installation.replayed(ledger).hash:016x}" == ledger[-1].hash


def _kinds(installation: Installation) -> list[str]:
    """What the ledger says is in force after some more readings."""
    installation.push(10)
    ledger = installation.until(installation.sent)
    return [control.kind for batch in ledger for control in batch.controls]


def test_settings_are_published_shown_and_written_back(installation: Installation) -> None:
    """Without a worker: the first version, a change, the way back, and what is refused."""
    assert rows("pipelines", "list") == []
    assert run("pipelines", "show").exit_code == 3
    (first,) = rows("pipelines", "publish", "--yes", "--note", "the first")
    assert (first["replaces"], first["keeps"]) == (None, [])
    installation.write(
        """
features = ["value", { name = "load", maximum = 4.5, required = false }]
detectors = ["ewma", { kind = "half_space_trees", label = "trees", parameters = { trees = 5 } }]
threshold = { p_value = 1e-3, score = 9.0 }
"""
    )
    changes = {row["key"]: (row["published"], row["settings"]) for row in rows("pipelines", "diff")}
    assert changes["contract.features.load.maximum"] == ("-", "4.5")
    assert changes["threshold.p_value"] == ("1e-06", "0.001")
    assert changes["detectors.ewma.parameters.warm_up"] == ("5", "-")
    assert changes["order.detectors"] == ("['ewma']", "['ewma', 'trees']")
    (second,) = rows("pipelines", "publish", "--yes")
    assert (second["replaces"], second["keeps"]) == (first["version"], ["validator"])
    toml = run("pipelines", "show", "--toml").stdout
    (installation.folder / "oddtide.toml").write_text(toml)
    assert rows("pipelines", "diff", "--check") == []
    shown = rows("pipelines", "show", first["version"][:5])[0]
    assert (shown["note"], shown["settings"]["partitions"]) == ("the first", 1)
    assert shown["plan"]["detectors"][0]["parameters"] == {"warm_up": 5}

    installation.write(DETECTOR.format(warm_up=5))
    publish_all(installation.composition)
    listed = [(row["version"], row["in_force"]) for row in rows("pipelines", "list", "--stream", "readings")]
    assert listed == [(second["version"], False), (first["version"], True)]
    installation.write("topic = 'other'")
    moved = run("pipelines", "publish", "--yes")
    assert (moved.exit_code, "has topic" in moved.stderr) == (4, True)
    installation.write(DETECTOR.format(warm_up=5))
    path = installation.folder / "oddtide.toml"
    path.write_text(path.read_text().replace("partitions = 1", "partitions = 2"))
    moved = run("pipelines", "publish", "--yes")
    assert (moved.exit_code, "migrate" in moved.stderr) == (4, True)
    installation.write("detectors = ['newfangled']\nprofile = 'deep'")
    assert run("pipelines", "publish", "--yes").exit_code == 4
    assert run("pipelines", "diff", "--stream", "nobody").exit_code == 3
    assert run("pipelines", "show", "ffffff", "--stream", "readings").exit_code == 3


def test_planned_work_is_declared_listed_and_cancelled(installation: Installation) -> None:
    del installation
    (work,) = rows("planned-work", "add", "--to", "2200-01-01", "--reason", "for ever")
    (past,) = rows("planned-work", "add", "--from", "2020-01-01", "--to", "2020-01-02", "--reason", "over")
    assert [row["work"] for row in rows("planned-work", "list")] == [work["work"]]
    assert (work["series"], work["to"]) == (["*"], "2200-01-01T00:00:00Z")
    assert {row["reason"] for row in rows("planned-work", "list", "--all")} == {"for ever", "over"}
    assert "--all also lists" in run("planned-work", "list", "--stream", "another").stderr
    rows("planned-work", "cancel", work["work"][:8])
    assert [row["work"] for row in rows("planned-work", "list", "--all")] == [past["work"]]
    wrong = {
        ("cancel", "zz"): 3,
        ("add", "--to", "yesterday", "--reason", "r"): 2,
        ("add", "--from", "2020-01-02", "--to", "2020-01-01", "--reason", "r"): 2,
        ("add", "--stream", "nobody", "--to", "2200-01-01", "--reason", "r"): 3,
        ("add", *("--series", "a") * 101, "--to", "2200-01-01", "--reason", "r"): 2,
    }
    for arguments, code in wrong.items():
        assert run("planned-work", *arguments).exit_code == code


def test_a_worker_that_cannot_run_what_is_published_stops_and_says_why(installation: Installation) -> None:
    """Published elsewhere, where the detector exists; here it does not."""
    installation.push(10)
    command = [sys.executable, "-m", "oddtide", "worker", "--roles", "ingest"]
    with worker() as process:
        installation.until(10)
        _publish_unknown(installation)

        def stopped() -> bool:
            installation.push(2)  # it takes effect before the first batch that comes after the worker has read of it
            return process.poll() is not None

        eventually(stopped)
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.returncode == 4, said
        (reason,) = [line for line in said.splitlines() if line.startswith("oddtide: ")]
        assert "cannot run here: There is no detector 'newfangled'" in reason
        process.returncode = 0
    assert subprocess.run(command, capture_output=True, check=False).returncode == 4
    ledger = installation.ledger()
    assert 10 <= ledger[-1].to_offset < installation.sent
    assert len({batch.pipeline_version for batch in ledger}) == 1


def _publish_unknown(installation: Installation) -> None:
    from dataclasses import replace

    from oddtide.config.cli.bus import publish
    from oddtide.domain.detection.ports import DetectorSpec
    from oddtide.streams.controls import pipeline_key, publication

    composition = installation.composition
    plan = replace(composition.plans()[0], detectors=(DetectorSpec("newfangled"),))
    event = publication(plan, 1, by="ann", time="2026-01-01T00:00:00Z", settings={})
    publish(composition, "pipelines", event, key=pipeline_key(event), id="x")
