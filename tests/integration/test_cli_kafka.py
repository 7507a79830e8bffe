"""The commands against a real Kafka."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from oddtide.adapters.kafka import KafkaAdmin, KafkaConnection, KafkaReader, KafkaWriter
from oddtide.config.cli import cli
from oddtide.config.composition import Composition
from oddtide.config.settings import load
from oddtide.domain.quality.events import ReadingRejected, RejectedRow
from oddtide.streams.pipeline.deadletters import ATTEMPT_HEADER
from oddtide.streams.results import REJECTION_HEADER
from oddtide.streams.topics import TopicSpec


@pytest.fixture
def prefix(kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installation of its own on the session's Kafka; returns the prefix of its topics."""
    for name in list(os.environ):
        if name.startswith("ODDTIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODDTIDE_KAFKA__BOOTSTRAP", kafka)
    monkeypatch.setenv("ODDTIDE_PREFIX", topic_prefix)
    monkeypatch.setenv("ODDTIDE_APPLICATION", topic_prefix)
    monkeypatch.setenv("ODDTIDE_WORKER__METRICS_PORT", "0")
    return topic_prefix


@pytest.fixture
def topics(prefix: str) -> str:
    assert run("topics", "create").exit_code == 0
    return prefix


def run(*arguments: str, **kwargs: Any) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="oddtide", **kwargs)


def rows(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--output", "jsonl")
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def one(*arguments: str) -> dict[str, Any]:
    (row,) = rows(*arguments)
    return row


def table(folder: Path, count: int = 50, name: str = "pump.csv", outlier: int = -1) -> Path:
    lines = [f"2026-01-01T00:{i // 60:02d}:{i % 60:02d}Z,{1000.0 if i == outlier else i % 7}" for i in range(count)]
    path = folder / name
    path.write_text("\n".join(["timestamp,value", *lines]) + "\n")
    return path


def eventually(condition: Callable[[], object], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)


@contextmanager
def worker(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, up; ended by SIGTERM, which must be a clean end."""
    command = [sys.executable, "-m", "oddtide", "worker", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ.copy())
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
    assert process.returncode == 0


# ----------------------------------------------------------------------------------------------------- topics


def test_topics_are_missing_then_made_then_as_declared(prefix: str) -> None:
    assert {row["state"] for row in rows("topics", "list")} == {"missing"}
    made = rows("topics", "create")
    assert all(row["created"] for row in made)
    assert not any(row["created"] for row in rows("topics", "create"))
    assert {row["state"] for row in rows("topics", "list")} == {"ok"}
    described = one("topics", "describe", "readings")
    assert (described["topic"], described["partitions"], described["records"]) == (f"{prefix}.readings", 4, 0)
    assert "retention" in run("topics", "describe", "detections").stdout


def test_an_unknown_topic_is_not_found(topics: str) -> None:
    for arguments in (["topics", "describe", "nothing"], ["tail", "nothing", "-e"], ["tail", "nothing", "-o", "5"]):
        result = run(*arguments)
        assert result.exit_code == 3
        assert "'nothing'" in result.stderr


def test_a_topic_that_differs_is_refused(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("worker").exit_code == 3
    run("topics", "create")
    monkeypatch.setenv("ODDTIDE_KAFKA__RESULT_PARTITIONS", "2")
    result = run("worker")
    assert result.exit_code == 4
    assert f"{prefix}.detections" in result.stderr
    assert "4 partitions, not 2" in result.stderr
    assert run("topics", "create").exit_code == 6
    states = {row["topic"]: row["state"] for row in rows("topics", "list")}
    assert states[f"{prefix}.detections"] == "differs"
    assert states[f"{prefix}.readings"] == "ok"


def test_a_readings_topic_that_differs_gets_no_ledger(topics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [{"name": "readings"}, {"name": "late", "topic": f"{topics}.late"}]
    with Composition(load(None).settings).admin() as admin:
        admin.ensure([TopicSpec(f"{topics}.late", "series", "none", (), 2, "made by somebody else")])
    monkeypatch.setenv("ODDTIDE_STREAMS", json.dumps(streams))
    refused = run("topics", "create")
    assert refused.exit_code == 6
    assert "2 partitions, not 4" in refused.stderr
    assert "0 made" in refused.stderr
    monkeypatch.setenv("ODDTIDE_STREAMS", json.dumps([streams[0], {**streams[1], "partitions": 2}]))
    assert [row["topic"] for row in rows("topics", "create") if row["created"]] == [f"{topics}.late.ledger"]


# -------------------------------------------------------------------------------------------- produce and tail


def test_what_is_produced_can_be_followed(topics: str, tmp_path: Path) -> None:
    summary = one("produce", str(table(tmp_path)))
    assert (summary["topic"], summary["sent"], summary["refused"]) == (f"{topics}.readings", 50, 0)
    found = rows("tail", "readings", "-o", "beginning", "-e")
    assert [row["value"]["value"] for row in found] == [i % 7 for i in range(50)]
    assert {row["key"] for row in found} == {"pump"}
    assert len(rows("tail", "readings", "-o", "-3", "-e")) == 3
    assert len(rows("tail", f"{topics}.readings", "-o", "40", "-e")) == 10
    assert len(rows("tail", "readings", "-o", "beginning", "-n", "5")) == 5
    assert len(rows("tail", "readings", "-o", "beginning", "-e", "--filter", "value.value=6")) == 7
    assert rows("tail", "readings", "-o", "end", "-e") == []
    partition = str(found[0]["partition"])
    assert len(rows("tail", "readings", "-o", "beginning", "-e", "-p", partition)) == 50
    lines = run("tail", "readings", "-e").stdout.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith(f"{partition}:40  pump  ")
    assert len(json.loads(run("tail", "readings", "-e", "--output", "json").stdout)) == 10


def test_produce_skips_limits_and_paces(topics: str, tmp_path: Path) -> None:
    path = str(table(tmp_path))
    assert one("produce", path, "--skip", "20", "--limit", "10", "--rate", "500")["rows_done"] == 30
    found = rows("tail", "readings", "-o", "beginning", "-e")
    assert [row["value"]["value"] for row in found] == [i % 7 for i in range(20, 30)]


def test_produce_takes_columns_by_name_from_standard_input(topics: str) -> None:
    text = "at,pump,flow,pressure,site\n2026-01-01T00:00:00Z,a,1,2,x\n"
    options = ["--series", "pump", "--time", "at", "--features", "flow,pressure", "--labels", "site"]
    assert run("produce", "-", *options, input=text).exit_code == 0
    (row,) = rows("tail", "readings", "-o", "beginning", "-e")
    assert row["key"] == "a"
    assert row["value"]["features"] == {"flow": 1.0, "pressure": 2.0}
    assert row["value"]["labels"] == {"site": "x"}


def test_a_lone_column_is_the_streams_lone_feature(topics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDTIDE_STREAMS", '[{"features": ["flow"]}]')
    assert run("produce", "-", "--name", "s", input="timestamp,flow\n2026-01-01T00:00:00Z,1\n").exit_code == 0
    assert run("produce", "-", input='{"series": "t", "time": 1767225600, "features": {"flow": 2}}\n').exit_code == 0
    found = rows("tail", "readings", "-o", "beginning", "-e")
    assert sorted((row["key"], row["value"]["features"]["flow"]) for row in found) == [("s", 1.0), ("t", 2)]


def test_rows_that_are_no_readings_are_named_and_counted(topics: str) -> None:
    text = "timestamp,value\n" + "2026-01-01T00:00:00Z,1\n" + "2026-01-01T00:00:00Z,x\n" * 8
    result = run("produce", "-", "--output", "json", input=text)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["sent"] == 1
    assert json.loads(result.stdout)["refused"] == 8
    assert "line 3: " in result.stderr
    assert "more such lines are only counted" in result.stderr


def test_produce_needs_its_topic(prefix: str, tmp_path: Path) -> None:
    result = run("produce", str(table(tmp_path)))
    assert result.exit_code == 3
    assert "oddtide topics create" in result.stderr


def test_an_interrupted_produce_says_where_to_go_on(topics: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "oddtide", "produce", str(table(tmp_path, 3000)), "--rate", "200"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    eventually(lambda: one("topics", "describe", "readings")["records"] > 0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    done = int(said.rpartition("--skip ")[2].split()[0])
    assert one("topics", "describe", "readings")["records"] == done
    assert "Traceback" not in said


def test_history_says_what_it_is_and_needs_a_file(topics: str, kafka: str, tmp_path: Path) -> None:
    path = str(table(tmp_path))
    summary = one("warm", path, "--limit", "30")
    assert (summary["topic"], summary["sent"], summary["rows_done"]) == (f"{topics}.readings", 30, 30)
    assert one("warm", path)["source"] == summary["source"]
    with KafkaReader(KafkaConnection(kafka)) as reader:
        found = list(reader.read(f"{topics}.readings", start="beginning", stop_at_end=True))
    assert [dict(record.headers)["oddtide-history"].decode() for record in found] == [
        f"{summary['source']}:{i}" for i in (*range(30), *range(50))
    ]
    for arguments, code, text in ((("-",), 2, "standard input"), ((f"{path}.gone",), 3, "cannot be read")):
        result = run("warm", *arguments)
        assert (result.exit_code, text in result.stderr) == (code, True)


# ----------------------------------------------------------------------------------------------- dead letters


def letter(connection: KafkaConnection, prefix: str, value: bytes, **about: Any) -> None:
    facts: dict[str, Any] = {
        "reason": "not_json", "detail": "no", "stream": "readings", "topic": f"{prefix}.readings", "partition": 2,
        "offset": 5,
    }  # fmt: skip
    event = ReadingRejected(**(facts | about))
    headers = [("trace", b"t1"), (REJECTION_HEADER, msgspec.json.encode(event))]
    with KafkaWriter(connection) as writer:
        writer.send(f"{prefix}.deadletters", value, key=b"k", headers=headers, partition=2).wait()


def test_dead_letters_are_listed_shown_and_sent_again(topics: str, kafka: str) -> None:
    connection = KafkaConnection(kafka)
    letter(connection, topics, b"{oops")
    letter(connection, topics, b"[1]", reason="not_an_object", stream="other", attempt=1)
    with KafkaWriter(connection) as writer:
        writer.send(f"{topics}.deadletters", b"foreign", key=b"k", partition=0).wait()
    listed = rows("deadletters", "list")
    assert [(row["letter"], row["reason"]) for row in listed] == [("2:0", "not_json"), ("2:1", "not_an_object")]
    assert "1 records" in run("deadletters", "list").stderr
    assert [row["letter"] for row in rows("deadletters", "list", "--reason", "not_json")] == ["2:0"]
    assert [row["letter"] for row in rows("deadletters", "list", "--stream", "other")] == ["2:1"]
    shown = one("deadletters", "show", "2:0")
    assert (shown["value"], shown["key"], shown["headers"]["trace"]) == ("{oops", "k", "t1")
    assert run("deadletters", "show", "2:0", "--raw").stdout_bytes == b"{oops"
    assert [(row["to"], row["attempt"]) for row in rows("deadletters", "retry", "--all")] == [
        (f"{topics}.readings[2]", 1), (f"{topics}.readings[2]", 2)
    ]  # fmt: skip
    with KafkaReader(connection) as reader:
        again = list(reader.read(f"{topics}.readings", stop_at_end=True))
    assert [(each.partition, each.key, each.value) for each in again] == [(2, b"k", b"{oops"), (2, b"k", b"[1]")]
    assert [list(each.headers) for each in again] == [
        [("trace", b"t1"), (ATTEMPT_HEADER, b"1")], [("trace", b"t1"), (ATTEMPT_HEADER, b"2")]
    ]  # fmt: skip


def test_a_letter_that_would_do_harm_is_not_sent_again(topics: str, kafka: str) -> None:
    connection = KafkaConnection(kafka)
    letter(connection, topics, b"cut", truncated=True)
    letter(connection, topics, b"many", rows=[RejectedRow(row=1, reason="x", detail="y")])
    result = run("deadletters", "retry", "2:0", "2:1", "--output", "json")
    assert result.exit_code == 1
    assert [row["sent"] for row in json.loads(result.stdout)] == [False, False]
    assert rows("deadletters", "retry", "2:1", "--partial")[0]["sent"]
    assert rows("deadletters", "retry", "--all", "--reason", "other") == []
    for missing in ("2:9", "7:0"):
        assert run("deadletters", "show", missing).exit_code == 3


# ------------------------------------------------------------------------------------------- with a worker


def test_a_reading_becomes_an_alert_that_a_person_closes(topics: str, tmp_path: Path) -> None:
    run("produce", str(table(tmp_path, 200, outlier=150)))
    assert one("status")["lag"] == 200
    assert {row["lag"] for row in rows("lag")} == {200}
    assert len(rows("lag", "--partitions", "--role", "ingest")) == 4
    assert rows("alerts", "list") == []
    with worker("--roles", "ingest,observability"):
        eventually(lambda: rows("alerts", "list"))
        eventually(lambda: one("status")["lag"] == 0)
        behind = rows("lag", "--role", "observability")
        (name,) = {row["owner"] for row in rows("lag", "--partitions")}
        assert name.startswith(f"{socket.gethostname()}-")
        assert {row["group"].rpartition("-")[2] for row in behind} == {"observability", "alerts"}
        (alert,) = rows("alerts", "list", "--series", "pump")
        ident = alert["alert"]
        acknowledged = one("alerts", "ack", ident[:8], "--note", "on it", "--wait", "60")
        assert (acknowledged["event"], acknowledged["note"]) == ("AlertAcknowledged", "on it")
        eventually(lambda: rows("alerts", "list", "--state", "acknowledged"))
        resolved = one("alerts", "resolve", ident, "--wait", "60")
        assert (resolved["event"], resolved["how"]) == ("AlertResolved", "person")
        refused = run("alerts", "resolve", ident, "--wait", "60")
        assert refused.exit_code == 1
        assert "refused" in refused.stderr
        eventually(lambda: rows("alerts", "list", "--state", "resolved"))
        (verdict,) = rows("tail", "detections", "-e")
        given = one("feedback", "dismiss", verdict["id"], "--note", "a test")
        assert given["series"] == "pump"
        eventually(lambda: rows("feedback", "list"))
        one("feedback", "withdraw", given["id"])
        eventually(lambda: rows("feedback", "list")[0]["withdrawn"])
        held = run("projections", "rebuild")
        assert held.exit_code == 1
        assert "worker " in held.stderr
        assert rows("projections", "status")[0]["folded_by"]
    assert one("alerts", "show", ident)["history"]
    assert rows("alerts", "list") == []
    rebuilt = rows("projections", "rebuild")
    assert all(row["same"] for row in rebuilt)
    assert rebuilt[0]["records"] >= 5
    assert rows("projections", "rebuild", "observability")[0]["same"]
    assert sum(ledger["scored"] for ledger in rows("tail", "ledger", "-e")) == 200


def test_without_a_worker_a_command_gets_no_answer(topics: str) -> None:
    result = run("models", "promote", "m", "1", "--wait", "0.5")
    assert result.exit_code == 5
    assert "oddtide status" in result.stderr
    (row,) = rows("tail", "commands", "-o", "beginning", "-e")
    assert (row["type"], row["model"]) == ("oddtide.PromoteModel", "m")


def test_feedback_can_name_its_series(topics: str) -> None:
    given = one("feedback", "confirm", "v1", "--series", "s")
    assert run("feedback", "accept", "v2", "--series", "s").exit_code == 2
    one("feedback", "accept", "app/readings/t/0/1/0@v", "--series", "s")
    one("feedback", "withdraw", given["id"], "--series", "s")
    labels = [row.get("label") for row in rows("tail", "feedback", "-o", "beginning", "-e")]
    assert labels == ["confirmed", "accepted", None]


@pytest.mark.parametrize(
    "arguments",
    [
        ["alerts", "show", "nothing"], ["alerts", "ack", "nothing"], ["feedback", "confirm", "nothing"],
        ["feedback", "withdraw", "nothing"], ["models", "show", "nothing"],
        ["projections", "rebuild", "nothing"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_not_there_is_not_found(prefix: str, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 3
    assert "nothing" in result.stderr


def test_training_asks_for_the_declared_detector(topics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDTIDE_STREAMS", '[{"detectors": ["ewma", "pyod:IForest"]}]')
    result = run("models", "train", "--window", "100", "--parameters", '{"n_estimators": 7}', "--wait", "0.5")
    assert result.exit_code == 5
    (row,) = rows("tail", "commands", "-o", "beginning", "-e")
    assert (row["type"], row["algorithm"], row["window"]) == ("oddtide.TrainModel", "IForest", 100)
    assert row["parameters"] == {"n_estimators": 7}
    for wrong in ("[1]", "{"):
        assert run("models", "train", "--parameters", wrong).exit_code == 2


def test_a_model_is_trained_and_put_in_force(topics: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDTIDE_STREAMS", '[{"detectors": ["ewma", "pyod:HBOS"]}]')
    run("produce", str(table(tmp_path, 300)))
    with worker("--roles", "ingest,mlops"):
        trained = one("models", "train", "--window", "200", "--wait", "100")
        assert (trained["event"], trained["version"], trained["rows"]) == ("ModelTrained", 1, 200)
        model = trained["model"]
        assert one("models", "train", model, "--window", "100", "--wait", "100")["version"] == 2
        promoted = one("models", "promote", model, "2", "--wait", "60")
        assert (promoted["event"], promoted["alias"], promoted["replaces"]) == ("ModelPromoted", "champion", 1)
        assert one("models", "promote", model, "1", "--wait", "60")["event"] == "ModelRolledBack"
        refused = run("models", "promote", model, "7", "--wait", "60")
        assert refused.exit_code == 3
        failed = run("models", "train", model, "--parameters", '{"nonsense": 1}', "--wait", "100")
        assert failed.exit_code == 1
        eventually(lambda: rows("models", "list")[0]["champion"] == 1)
    assert [each["rows"] for each in one("models", "show", model)["versions"]] == [100, 200]


def test_several_workers_are_supervised_and_one_that_is_killed_has_its_partitions_again(
    topics: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "oddtide", "worker", "--instances", "2", "--roles", "ingest"]
    log = tmp_path / "log"
    with log.open("w") as sink:
        process = subprocess.Popen(command, stderr=sink)

    def said() -> list[str]:
        return log.read_text().splitlines()

    try:
        with KafkaAdmin(KafkaConnection(os.environ["ODDTIDE_KAFKA__BOOTSTRAP"])) as admin:

            def shares() -> list[list[tuple[str, int]]]:
                return sorted(sorted(m.partitions) for m in admin.members(f"{topics}-ingest") if m.partitions)

            eventually(lambda: len(shares()) == 2)
            eventually(lambda: sum("is up after" in line for line in said()) == 2)
            before = shares()
            pid = next(int(line.rpartition(" ")[2]) for line in said() if line.startswith("worker 2 is process"))
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: sum("is up after" in line for line in said()) == 3)
            assert "worker 2 was ended by signal 9; starting it again at once" in said()
            assert shares() == before
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode == 0, said()


# -------------------------------------------------------------------------------------------- status, doctor


def test_status_for_people_and_again_and_again(topics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run("status")
    assert shown.exit_code == 0
    assert f"{topics}.readings" in shown.stdout
    seen: list[float] = []

    def enough(seconds: float) -> None:
        seen.append(seconds)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("oddtide.config.cli.status.time.sleep", enough)
    assert run("status", "--watch", "--every", "0.5").exit_code == 130
    assert seen == [0.5, 0.5]
    assert len(rows_of_json(run("status", "--output", "json"))) > 5


def rows_of_json(result: Result) -> dict[str, Any]:
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_status_without_a_database_says_so(topics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDTIDE_STORAGE__URL", "sqlite:////proc/nowhere/x.db")
    found = one("status")
    assert found["alerts"] is None
    assert found["problems"]


def test_the_doctor_finds_all_well(topics: str) -> None:
    result = run("doctor", "--output", "json")
    assert result.exit_code == 0, result.stdout
    states = {row["check"]: row["state"] for row in json.loads(result.stdout)}
    assert states["kafka"] == states["topics"] == states["database"] == states["clock"] == "ok"


def test_the_doctor_names_what_is_missing(prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ODDTIDE_STORAGE__URL", "sqlite:////proc/nowhere/x.db")
    result = run("doctor")
    assert result.exit_code == 6
    assert f"The topic '{prefix}.readings' is missing" in result.stdout
    assert "topics, database" in result.stderr
