"""Fetching Kafka's jars, from a Maven repository of a few files on this machine."""

from __future__ import annotations

import errno
import hashlib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from oddtide.adapters.embedded.jars import KafkaJars, cache_folder
from oddtide.adapters.embedded.locks import exclusive
from oddtide.adapters.embedded.pins import KAFKA_VERSION, Pin, kafka_pins
from oddtide.domain.errors import DownloadError, StorageUnavailableError

_CONTENTS = {
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}": b"k" * 6_000_000,
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3": b"l" * 1_000,
}
_PINS = tuple(Pin(hashlib.sha256(jar).hexdigest(), len(jar), name) for name, jar in _CONTENTS.items())
_KAFKA_JAR = _PINS[0].filename


class Repository(ThreadingHTTPServer):
    """A Maven repository. ``cut`` is how many more times the Kafka jar ends half-way."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.cut = 0
        for pin in _PINS:
            group, artifact, version = pin.coordinate.split(":")
            self.files[f"/{group.replace('.', '/')}/{artifact}/{version}/{pin.filename}"] = _CONTENTS[pin.coordinate]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        self.server.asked[self.path.rpartition("/")[2]] += 1
        content = self.server.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if content and self.path.endswith(_KAFKA_JAR) and self.server.cut:
            self.server.cut -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def repository() -> Iterator[Repository]:
    server = Repository()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def jars_of(repository: Repository, cache: Path) -> KafkaJars:
    return KafkaJars(cache, repository=repository.url, pins=_PINS)


def quiet(line: str) -> None:
    pass


def test_the_jars_are_fetched_once_with_progress(repository: Repository, tmp_path: Path) -> None:
    lines: list[str] = []
    jars = jars_of(repository, tmp_path / "cache")
    assert not jars.present()
    found = jars.obtain(lines.append)
    assert {path.name: path.read_bytes() for path in found} == {
        _KAFKA_JAR: b"k" * 6_000_000,
        "log4j-slf4j-impl-2.25.3.jar": b"l" * 1_000,
    }
    assert "6 MB, once" in lines[0]
    assert any("5 of 6 MB" in line for line in lines)
    assert jars.present()
    assert jars.obtain(lines.append) == found
    assert repository.asked[_KAFKA_JAR] == 1
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["download.lock", f"kafka-{KAFKA_VERSION}"]


def test_a_cut_download_is_tried_again_and_never_taken_for_whole(repository: Repository, tmp_path: Path) -> None:
    repository.cut = 2
    lines: list[str] = []
    found = jars_of(repository, tmp_path).obtain(lines.append)
    assert [path.stat().st_size for path in found] == [6_000_000, 1_000]
    assert sum("Trying again" in line for line in lines) == 2


def test_a_download_that_keeps_failing_is_one_clear_error_and_leaves_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    repository.cut = 99
    with pytest.raises(DownloadError, match=r"could not be fetched from http://127\.0\.0\.1.*ODDTIDE_MAVEN_REPOSITORY"):
        jars_of(repository, tmp_path).obtain(quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["download.lock"]


def test_a_repository_without_kafka_is_a_download_error(repository: Repository, tmp_path: Path) -> None:
    repository.files.clear()
    with pytest.raises(DownloadError, match="not found"):
        jars_of(repository, tmp_path).obtain(quiet)


def test_a_jar_that_is_not_the_pinned_one_is_refused(repository: Repository, tmp_path: Path) -> None:
    path = next(path for path in repository.files if path.endswith(_KAFKA_JAR))
    repository.files[path] = b"K" * 6_000_000
    with pytest.raises(DownloadError, match="is not the file it should be"):
        jars_of(repository, tmp_path).obtain(quiet)


def test_no_network_is_a_download_error(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="Check the network"):
        KafkaJars(tmp_path, repository="http://127.0.0.1:1").obtain(quiet)


def test_a_shortened_jar_is_fetched_anew(repository: Repository, tmp_path: Path) -> None:
    jars = jars_of(repository, tmp_path)
    jars.obtain(quiet)[0].write_bytes(b"short")
    assert not jars.present()
    assert [path.stat().st_size for path in jars.obtain(quiet)] == [6_000_000, 1_000]


def test_two_processes_share_one_download(repository: Repository, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from oddtide.adapters.embedded.jars import KafkaJars, Pin;"
        "pins = tuple(Pin(h, int(s), c) for h, s, c in (line.split() for line in sys.argv[3:]));"
        "jars = KafkaJars(Path(sys.argv[1]), repository=sys.argv[2], pins=pins).obtain(lambda line: None);"
        "sys.stdout.write(str(len(jars)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path), repository.url]
    command += [f"{pin.sha256} {pin.size} {pin.coordinate}" for pin in _PINS]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in started] == ["2", "2"]
    assert repository.asked[_KAFKA_JAR] == 1


def test_waiting_for_the_other_process_is_told(repository: Repository, tmp_path: Path) -> None:
    lines: list[str] = []
    thread = threading.Thread(target=lambda: jars_of(repository, tmp_path).obtain(lines.append))
    with exclusive(tmp_path / "download.lock"):
        thread.start()
        while not lines:
            assert thread.is_alive()
    thread.join()
    assert "waiting for it" in lines[0]
    assert jars_of(repository, tmp_path).present()


def test_a_cache_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailableError, match="ODDTIDE_CACHE"):
        KafkaJars(tmp_path / "file" / "cache").obtain(quiet)


def test_a_cache_that_cannot_be_filled_is_a_storage_error(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / f"kafka-{KAFKA_VERSION}.part").touch()
    with pytest.raises(StorageUnavailableError, match="Free 12 MB there"):
        jars_of(repository, tmp_path).obtain(quiet)


def test_a_disk_that_fills_up_is_a_storage_error(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "read_bytes", full)
    with pytest.raises(StorageUnavailableError, match="No space left on device"):
        jars_of(repository, tmp_path).obtain(quiet)


def test_kafka_is_pinned_whole() -> None:
    pins = kafka_pins()
    names = {pin.coordinate.split(":")[1] for pin in pins}
    assert {"kafka_2.13", "kafka-clients", "kafka-server", "log4j-core", "log4j-slf4j-impl", "slf4j-api"} <= names
    assert len({pin.filename for pin in pins}) == len(pins)
    assert all(len(pin.sha256) == 64 and pin.size > 0 for pin in pins)


def test_the_repository_is_maven_central_unless_another_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ODDTIDE_MAVEN_REPOSITORY", raising=False)
    assert KafkaJars(tmp_path).repository.startswith("https://")
    monkeypatch.setenv("ODDTIDE_MAVEN_REPOSITORY", "http://mirror.example/maven/")
    assert KafkaJars(tmp_path).repository == "http://mirror.example/maven"


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ODDTIDE_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "oddtide"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "oddtide"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "oddtide"
    monkeypatch.setenv("ODDTIDE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
