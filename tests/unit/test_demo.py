"""The demo's parts that need no Kafka: its books, its folder, its ways of being stopped, its screen."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

import oddtide
from oddtide.adapters.river.datasets import WATER_FLOW_ANOMALIES
from oddtide.config.cli import cli
from oddtide.config.cli.demo import _Screen
from oddtide.config.demo.account import Account, Summary
from oddtide.config.demo.feeding import TRUTH, Fed, Series
from oddtide.config.demo.setting import Setting
from oddtide.config.demo.stopping import Stopping
from oddtide.config.demo.worker import DemoWorker
from oddtide.domain.detection.events import AnomalyDetected
from oddtide.domain.errors import CommandRefusedError, OddtideError, StorageUnavailableError
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.quality.events import ReadingRejected
from oddtide.domain.readings import rfc3339


def detection(series: str, time: int = 0, **changes: Any) -> AnomalyDetected:
    [found] = oddtide.detect_anomalies([0.0, 1.0] * 40 + [50.0])
    fields = {**msgspec.to_builtins(found), "series": series, "time": rfc3339(time), **changes}
    return msgspec.convert(fields, AnomalyDetected)


def batch(scored: int, *, to: int, topic: str = "t", rejected: dict[str, int] | None = None) -> BatchCompleted:
    return BatchCompleted(
        stream="s", topic=topic, partition=0, from_offset=0, to_offset=to, records=to, holes=0, readings=scored,
        scored=scored, rejected=rejected or {},
    )  # fmt: skip


def account() -> Account:
    return Account(2, Series.of_run(2), started=100.0)


def test_detections_are_held_against_the_documented_truth() -> None:
    books = account()
    for known in WATER_FLOW_ANOMALIES[:2]:
        books.take_detection(detection("run-2.water-flow", known.first), 105.0)
    books.take_detection(detection("run-2.water-flow", 0), 106.0)
    for truth in ("1", "1", "0"):
        books.take_detection(detection("run-2.shuttle", labels={TRUTH: truth}), 107.0)
    books.take_detection(detection("host.cpu"), 108.0)
    books.take_detection(detection("run-1.shuttle"), 109.0)
    books.take_fed(Fed(10, 20, 4))
    summary = books.summary(lag=3, folder="/x")
    assert summary.water_found == [True, True, False, False]
    assert (summary.water_outside, summary.host_detections, summary.detections) == (1, 1, 7)
    assert (summary.shuttle_detections, summary.shuttle_right, summary.shuttle_anomalies) == (3, 2, 4)
    assert summary.first_detection_s == 5.0
    text = "\n".join(summary.lines())
    assert "2 of 4 documented anomalies found, 1 found elsewhere" in text
    assert "precision 67%, recall 50% of 4" in text
    assert "this machine 1 detection\n" in text
    assert "3 detections; precision" in text


def test_the_ledger_tells_what_is_settled_and_how_fast() -> None:
    books = account()
    books.pushed, books.backlog = 31, 5
    books.take_fed(Fed(10, 20, 4))
    books.take_batch(batch(20, to=21, rejected={"not_json": 1}), 112_000)
    assert (books.behind, books.readings_per_s) == (True, 0.0)
    books.take_batch(batch(15, to=36), 120_000)
    assert not books.behind
    assert books.summary(lag=0, folder="").readings_per_s == 15 / 8
    assert books.lag({"t": {0: 40}, "other": {0: 2}}) == 6
    assert "31 pushed (and 5 left by an earlier run), 35 scored, 1 rejected (not_json 1)" in "\n".join(
        books.summary(lag=0, folder="").lines()
    )


def test_an_empty_run_has_a_summary_too() -> None:
    text = "\n".join(account().summary(lag=0, folder="/x").lines())
    assert "the first none" in text
    assert "0 of 4" in text


def test_the_folder_counts_runs_and_belongs_to_one_demo(tmp_path: Path) -> None:
    setting = Setting(tmp_path / "demo")
    with setting.locked():
        assert [setting.next_run(), setting.next_run()] == [1, 2]
        settings = setting.write(4711)
        assert settings.embedded.port == 4711
        assert {stream.name for stream in settings.streams} == {"readings", "water", "shuttle"}
        assert settings.data_folder == setting.folder
        with pytest.raises(CommandRefusedError, match="already runs"), Setting(tmp_path / "demo").locked():
            pass
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailableError, match="cannot be used"), Setting(tmp_path / "file").locked():
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_break_off_then_ask_then_are_unheard(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Stopping() as stopping:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        stopping.gentle()
        assert not stopping.asked.is_set()
        signal.raise_signal(number)
        assert stopping.asked.is_set()
        stopping.deaf()
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


def wait_for_the_end(worker: DemoWorker) -> None:
    with worker:
        while True:
            worker.check()


@pytest.mark.parametrize("keep", [False, True])
def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool) -> None:
    monkeypatch.setenv("ODDTIDE_WORKER__NONSENSE", "1")
    setting = Setting(tmp_path)
    setting.log.parent.mkdir()
    setting.config.write_text("nonsense = 1\n")
    worker = DemoWorker(setting, print, keep=keep)
    with pytest.raises(OddtideError, match="nonsense"):
        wait_for_the_end(worker)
    assert os.environ["ODDTIDE_WORKER__NONSENSE"] == "1"


def summary() -> Summary:
    return account().summary(lag=0, folder="/data")


def test_the_screen_shows_the_first_detections_of_a_series(capsys: pytest.CaptureFixture[str]) -> None:
    screen = _Screen("table")
    for i in range(17):
        screen.detection(detection("run-2.shuttle", i))
    screen.rejection(
        ReadingRejected(reason="not_json", detail="no", stream="s", topic="t", partition=0, offset=7)
    )  # fmt: skip
    screen.finish(summary(), keep=False)
    shown = capsys.readouterr()
    assert shown.out.count("sigma above") == 15
    assert "only counted" in shown.err
    assert "rejected: not_json: no [t 0:7]" in shown.err
    assert "oddtide up --detach --config /data/oddtide.toml" in shown.err


def test_programs_get_every_detection_and_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    for output in ("jsonl", "json"):
        screen = _Screen(output)
        for i in range(17):
            screen.detection(detection("run-2.shuttle", i))
        screen.finish(summary(), keep=True)
    lines, _, document = capsys.readouterr().out.partition("\n{\n")
    rows = [msgspec.json.decode(line) for line in lines.splitlines()]
    assert len(rows) == 18
    assert rows[-1]["type"] == "summary"
    whole = msgspec.json.decode("{" + document)
    assert len(whole["detections"]) == 17
    assert whole["summary"]["run"] == 2


def test_the_command_has_help() -> None:
    result = CliRunner().invoke(cli, ["demo", "--help"], prog_name="oddtide")
    assert result.exit_code == 0
    assert "--exit-after" in result.stdout
