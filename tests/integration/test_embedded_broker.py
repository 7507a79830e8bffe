"""The embedded Kafka as a process: started, found, stopped, killed, started again."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oddtide.adapters.embedded import EmbeddedBroker, java, probe
from oddtide.adapters.embedded import broker as broker_module
from oddtide.adapters.kafka import KafkaAdmin, KafkaConnection, KafkaReader, KafkaWriter
from oddtide.domain.errors import DependencyError, StorageUnavailableError
from oddtide.streams.topics import TopicSpec

TOPIC = TopicSpec("t", "readings", "series", (), 1, "a test")

_START = """
import os, signal, sys
from pathlib import Path
from oddtide.adapters.embedded import EmbeddedBroker
broker = EmbeddedBroker(Path(sys.argv[1]), port=0, heap_mib=256)
print(broker.start(detach=sys.argv[2] == "detached"), broker.attached, flush=True)
if sys.argv[3] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose broker, if any, is ended afterwards."""
    where = tmp_path / "kafka of a person, with = and é"
    yield where
    EmbeddedBroker(where, port=0).stop()


def starter(folder: Path, manner: str, end: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _START, str(folder), manner, end]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def gone(broker: EmbeddedBroker) -> bool:
    """Whether the process disappears; a process that was told to end needs its moment."""
    deadline = time.monotonic() + 30
    while broker.status() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_it_is_started_found_again_and_stopped_by_whoever_knows_the_folder(folder: Path) -> None:
    lines: list[str] = []
    first, second = EmbeddedBroker(folder, port=0, heap_mib=256), EmbeddedBroker(folder, port=0)
    assert first.status() is None
    assert first.stop() is False
    bootstrap = first.start(lines.append)
    assert not first.attached
    assert any(bootstrap in line for line in lines)
    status = second.status()
    assert status is not None
    assert (status.bootstrap, status.ready) == (bootstrap, True)
    assert second.start() == bootstrap
    assert second.attached
    with KafkaAdmin(KafkaConnection(bootstrap)) as admin:
        assert admin.ping() == 1
    assert second.stop() is True
    assert first.status() is None
    assert first.stop() is False
    with pytest.raises(ProcessLookupError):
        os.kill(status.pid, 0)
    assert EmbeddedBroker(folder, port=0).start() == bootstrap, "the port that was chosen is kept"


def test_killed_it_starts_again_and_has_its_records(folder: Path) -> None:
    broker = EmbeddedBroker(folder, port=0, heap_mib=256)
    connection = KafkaConnection(broker.start())
    with KafkaAdmin(connection) as admin, KafkaWriter(connection) as writer:
        admin.ensure([TOPIC])
        writer.send("t", b"before").wait()
    status = broker.status()
    assert status is not None
    os.kill(status.pid, signal.SIGKILL)
    assert gone(broker)
    assert broker.start() == connection.bootstrap
    with KafkaReader(connection) as reader:
        assert [record.value for record in reader.read("t", stop_at_end=True)] == [b"before"]


def test_a_state_file_that_names_another_process_is_seen_through(folder: Path) -> None:
    folder.mkdir()
    broker = EmbeddedBroker(folder, port=0)
    for text in ("", "[]", "{}", '{"port": "x", "pid": 1}', json.dumps({"port": 1, "pid": os.getpid()})):
        (folder / "broker.json").write_text(text)
        assert broker.status() is None
        assert broker.stop() is False


def test_a_port_in_use_is_one_clear_error(folder: Path, kafka: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(DependencyError, match=f"Port {port} is in use by another program.*embedded.port"):
            EmbeddedBroker(folder, port=port).start()
    port = int(kafka.rpartition(":")[2])
    with pytest.raises(DependencyError, match=f"Port {port} is in use by another Kafka.*kafka.bootstrap"):
        EmbeddedBroker(folder, port=port).start()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailableError, match="data_folder"):
        EmbeddedBroker(tmp_path / "file" / "kafka", port=0).start()


def test_a_full_disk_is_one_clear_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage("/")._replace(free=1024 * 1024)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(StorageUnavailableError, match="has 1 MiB left"):
        EmbeddedBroker(folder, port=0).start()


def test_a_disk_that_fills_up_later_hinders_starting_but_not_stopping(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    broker = EmbeddedBroker(folder, port=0, heap_mib=256)
    broker.start()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        assert broker.stop() is True
        assert broker.status() is None
        with pytest.raises(StorageUnavailableError, match=r"server\.properties: No space left"):
            broker.start()


def test_a_java_that_is_none_is_one_clear_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDTIDE_JAVA", shutil.which("false") or "/bin/false")
    with pytest.raises(DependencyError, match="stopped while starting"):
        EmbeddedBroker(folder, port=0).start()


def test_a_broker_that_breaks_off_is_explained_and_forgotten(folder: Path) -> None:
    broker = EmbeddedBroker(folder, port=0, heap_mib=256)
    broker.start()
    broker.stop()
    (folder / "data" / "meta.properties").write_text("version=1\ncluster.id=another\nnode.id=7\n")
    with pytest.raises(DependencyError, match=r"stopped while starting.*Its logs are in"):
        broker.start()
    assert broker.status() is None


def test_a_start_that_is_interrupted_leaves_no_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    def interrupted(pid: int, port: int) -> None:
        pids.append(pid)
        raise KeyboardInterrupt

    broker = EmbeddedBroker(folder, port=0, heap_mib=256)
    monkeypatch.setattr(broker, "_await_ready", interrupted)
    with pytest.raises(KeyboardInterrupt):
        broker.start()
    assert broker.status() is None
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_one_that_does_not_answer_is_given_up_and_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = EmbeddedBroker(folder, port=0, heap_mib=256)
    broker.start()
    status = broker.status()
    assert status is not None
    os.kill(status.pid, signal.SIGSTOP)
    os.waitpid(status.pid, os.WUNTRACED)
    monkeypatch.setattr(broker_module, "_UP_WITHIN_S", 0.1)
    monkeypatch.setattr(broker_module, "_DOWN_WITHIN_S", 0.1)
    with pytest.raises(DependencyError, match=f"process {status.pid}.*oddtide down"):
        EmbeddedBroker(folder, port=0).start()
    assert broker.stop(), "frozen, it does not hear that it should end"
    assert not java.runs(status.pid, broker._mark)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child when its parent dies")
def test_it_ends_with_a_parent_that_was_killed(folder: Path) -> None:
    with starter(folder, "attached", "killed") as process:
        output, _ = process.communicate(timeout=60)
    assert output.endswith(" False\n")
    assert gone(EmbeddedBroker(folder, port=0))


def test_detached_it_outlives_its_parent(folder: Path) -> None:
    with starter(folder, "detached", "killed") as process:
        output, _ = process.communicate(timeout=60)
    status = EmbeddedBroker(folder, port=0).status()
    assert status is not None
    assert status.ready
    assert status.bootstrap == output.split()[0]


def test_of_two_that_start_at_once_one_starts_and_one_attaches(folder: Path) -> None:
    processes = [starter(folder, "detached", "waits") for _ in range(2)]
    answers = [process.communicate(timeout=60)[0].split() for process in processes]
    assert answers[0][0] == answers[1][0]
    assert sorted(answer[1] for answer in answers) == ["False", "True"]


def test_it_listens_where_it_should_and_a_terminal_s_ctrl_c_does_not_reach_it(folder: Path) -> None:
    port = probe.free_port()
    broker = EmbeddedBroker(folder, port=port, heap_mib=256)
    assert broker.start() == f"127.0.0.1:{port}"
    status = broker.status()
    assert status is not None
    assert os.getsid(status.pid) == status.pid
    assert probe.answers(status.port)
