"""Kafka's jars: fetched once from Maven Central by jgo, kept in a cache that all projects of the user share.

A finished set lies in ``<cache>/kafka-<version>`` beside a list of its files and sizes, and came there by one rename:
what is there is whole, however a download ended.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from oddtide.adapters.embedded.locks import exclusive, writable_folder
from oddtide.domain.errors import DownloadError, StorageUnavailableError

if TYPE_CHECKING:
    from jgo.maven import Artifact

__all__ = ["KAFKA_VERSION", "MAVEN_CENTRAL", "KafkaJars", "cache_folder"]

KAFKA_VERSION = "4.2.0"
MAVEN_CENTRAL = "https://repo.maven.apache.org/maven2"
# Kafka, and what carries its log lines (slf4j) to log4j: Kafka's own distribution has it, its Maven metadata has not.
_COORDINATES = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3")
_EXPECTED_MB = 46
_ATTEMPTS = 3
_LIST = "jars.json"


def cache_folder() -> Path:
    """Where downloads are kept: ``ODDTIDE_CACHE``, else the user's cache folder as the platform has it."""
    if chosen := os.environ.get("ODDTIDE_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "oddtide"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oddtide"


class KafkaJars:
    """The class path of Kafka :data:`KAFKA_VERSION`. ``repository`` is Maven Central or a mirror of it.

    Several processes may ask at once: one downloads, the others wait and find the result.
    """

    def __init__(self, cache: Path | None = None, *, repository: str | None = None) -> None:
        self.cache = cache or cache_folder()
        self.repository = repository or os.environ.get("ODDTIDE_MAVEN_REPOSITORY") or MAVEN_CENTRAL
        self.home = self.cache / f"kafka-{KAFKA_VERSION}"

    def present(self) -> bool:
        """Whether nothing needs to be downloaded: every listed jar is there in its full size."""
        return bool(self._listed())

    def obtain(self, report: Callable[[str], None]) -> list[Path]:
        """The jars, downloaded first where missing. ``report`` gets a line of progress every few megabytes.

        Raises ``DownloadError`` when the download fails, ``StorageUnavailableError`` when the cache cannot be written.
        """
        if jars := self._listed():
            return jars
        cache = writable_folder(self.cache, "downloads", "Set ODDTIDE_CACHE to a folder that can be written.")
        wait_line = "Another process is fetching Apache Kafka; waiting for it."
        with exclusive(cache / "download.lock", waiting=lambda: report(wait_line)):
            if not (jars := self._listed()):
                self._download(report)
                jars = self._listed()
        return jars

    def _listed(self) -> list[Path]:
        try:
            listed = json.loads((self.home / _LIST).read_text())
            jars = [self.home / name for name in listed["jars"]]
            whole = all(jar.stat().st_size == listed["jars"][jar.name] for jar in jars)
            return jars if whole and listed["coordinates"] == list(_COORDINATES) else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def _download(self, report: Callable[[str], None]) -> None:
        report(f"Fetching Apache Kafka {KAFKA_VERSION} from {self.repository}, about {_EXPECTED_MB} MB, once.")
        staging = self.cache / f"kafka-{KAFKA_VERSION}.part"
        try:
            shutil.rmtree(staging, ignore_errors=True)
            self._collect(self._fetch(staging / "maven", report), staging / "jars")
            shutil.rmtree(self.home, ignore_errors=True)
            (staging / "jars").rename(self.home)
        except OSError as error:
            raise StorageUnavailableError(
                f"Apache Kafka cannot be stored in {self.cache}: {error.strerror or error}.",
                remedy="Free about 150 MB there, or set ODDTIDE_CACHE to another folder.",
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        report(f"Apache Kafka {KAFKA_VERSION} is in {self.home}.")

    def _fetch(self, local: Path, report: Callable[[str], None]) -> list[Path]:
        progress = _Progress(report)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return [artifact.resolve() for artifact in _resolve(self.repository, local, progress)]
            except Exception as error:  # jgo passes on whatever requests, the XML parser or its own checks raise
                if _is_storage(error):
                    raise
                progress.drop_unfinished(local)
                if attempt == _ATTEMPTS:
                    raise self._failure(error) from error
                report(f"The download was interrupted ({_first_line(error)}); trying again.")
        raise AssertionError("unreachable")

    def _failure(self, error: Exception) -> DownloadError:
        return DownloadError(
            f"Apache Kafka {KAFKA_VERSION} could not be fetched from {self.repository}: {_first_line(error)}.",
            remedy="Check the network (HTTPS_PROXY is honoured), set ODDTIDE_MAVEN_REPOSITORY to a mirror, "
            "or point kafka.bootstrap at a Kafka that runs already.",
        )

    @staticmethod
    def _collect(jars: list[Path], target: Path) -> None:
        target.mkdir()
        for jar in jars:
            jar.rename(target / jar.name)
        sizes = {jar.name: (target / jar.name).stat().st_size for jar in jars}
        (target / _LIST).write_text(json.dumps({"coordinates": _COORDINATES, "jars": sizes}, indent=1))


class _Progress:
    """Counts bytes for the report, and remembers the file in flight so that half of one is never taken for whole."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._bytes = 0
        self._told = 0
        self._unfinished = ""

    @contextmanager
    def __call__(self, filename: str, size: int) -> Iterator[Callable[[int], None]]:
        self._unfinished = filename
        received = 0

        def count(length: int) -> None:
            nonlocal received
            received += length
            self._bytes += length
            self._tell()

        yield count
        if received != size:
            raise OSError(None, f"{filename} ended after {received} of {size} bytes")

    def _tell(self) -> None:
        megabytes = self._bytes // 1_000_000
        if megabytes >= self._told + 5:
            self._told = megabytes
            self._report(f"Fetching Apache Kafka {KAFKA_VERSION}: {megabytes} of about {_EXPECTED_MB} MB")

    def drop_unfinished(self, local: Path) -> None:
        """Forget the file in flight: jgo would take what is on the disk for the whole."""
        if self._unfinished:
            for path in local.rglob(self._unfinished):
                path.unlink(missing_ok=True)


def _resolve(repository: str, local: Path, progress: _Progress) -> list[Artifact]:
    from jgo.maven import MavenContext, PythonResolver

    resolver = PythonResolver(progress_callback=progress)
    context = MavenContext(
        resolver=resolver, repo_cache=local, local_repos=[], remote_repos={"central": repository.rstrip("/")}
    )
    kafka, binding = (context.create_dependency(coordinate) for coordinate in _COORDINATES)
    direct, transitive = resolver.resolve([kafka])  # alone: resolved together, the other's versions win over Kafka's
    needed = [*direct, *(each for each in transitive if each.scope in {"compile", "runtime"}), binding]
    return [dependency.artifact for dependency in needed]


def _is_storage(error: Exception) -> bool:
    """Whether the local disk is to blame, rather than the network: requests' errors have no error number of a file."""
    return isinstance(error, OSError) and error.filename is not None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
