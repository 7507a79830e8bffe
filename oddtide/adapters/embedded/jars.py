"""Kafka's jars: fetched once from Maven Central by jgo, kept in a cache that all projects of the user share.

A finished set lies in ``<cache>/kafka-<version>`` and came there by one rename, each jar held against its pinned
checksum before: what is there is whole and is what it should be, however a download ended.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from oddtide.adapters.embedded.locks import exclusive, writable_folder
from oddtide.adapters.embedded.pins import KAFKA_VERSION, Pin, kafka_pins
from oddtide.domain.errors import DownloadError, StorageUnavailableError

__all__ = ["KafkaJars", "cache_folder"]

_ATTEMPTS = 3
_TELL_EVERY = 5_000_000
_DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR}


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

    def __init__(
        self, cache: Path | None = None, *, repository: str | None = None, pins: tuple[Pin, ...] | None = None
    ) -> None:
        self.cache = cache or cache_folder()
        self._chosen = repository or os.environ.get("ODDTIDE_MAVEN_REPOSITORY")
        self.home = self.cache / f"kafka-{KAFKA_VERSION}"
        self._pins = pins or kafka_pins()

    @property
    def repository(self) -> str:
        """Where the jars come from."""
        return (self._chosen or _maven_central()).rstrip("/")

    @property
    def megabytes(self) -> float:
        """Size of the download."""
        return sum(pin.size for pin in self._pins) / 1e6

    def present(self) -> bool:
        """Whether nothing needs to be downloaded: every jar is there in its full size."""
        try:
            return all((self.home / pin.filename).stat().st_size == pin.size for pin in self._pins)
        except OSError:
            return False

    def obtain(self, report: Callable[[str], None]) -> list[Path]:
        """The jars, downloaded first where missing. ``report`` gets a line of progress every few megabytes.

        Raises ``DownloadError`` when the download fails, ``StorageUnavailableError`` when the cache cannot be written.
        """
        if not self.present():
            cache = writable_folder(self.cache, "downloads", "Set ODDTIDE_CACHE to a folder that can be written.")
            waiting = "Another process is fetching Apache Kafka; waiting for it."
            with exclusive(cache / "download.lock", waiting=lambda: report(waiting)):
                if not self.present():
                    self._download(report)
        return [self.home / pin.filename for pin in self._pins]

    def _download(self, report: Callable[[str], None]) -> None:
        report(f"Fetching Apache Kafka {KAFKA_VERSION}, {self.megabytes:.0f} MB, once, from {self.repository}")
        staging = self.cache / f"kafka-{KAFKA_VERSION}.part"
        try:
            shutil.rmtree(staging, ignore_errors=True)
            (staging / "jars").mkdir(parents=True)
            fetch = _Fetch(self.repository, staging / "maven", report, self.megabytes)
            for pin in self._pins:
                fetch.jar(pin).rename(staging / "jars" / pin.filename)
            shutil.rmtree(self.home, ignore_errors=True)
            (staging / "jars").rename(self.home)
        except OSError as error:
            raise StorageUnavailableError(
                f"Apache Kafka cannot be stored in {self.cache}: {error.strerror or error}.",
                remedy=f"Free {2 * self.megabytes:.0f} MB there, or set ODDTIDE_CACHE to another folder.",
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        report(f"Apache Kafka {KAFKA_VERSION} is in {self.home}")


def _maven_central() -> str:
    """Where jgo looks by default; the one place that names it is jgo."""
    from jgo.constants import MAVEN_CENTRAL_URL

    return str(MAVEN_CENTRAL_URL)


class _Fetch:
    """One download of all jars: retries each, counts bytes for the report."""

    def __init__(self, repository: str, local: Path, report: Callable[[str], None], megabytes: float) -> None:
        from jgo.maven import MavenContext, PythonResolver

        self._repository = repository
        self._report = report
        self._megabytes = megabytes
        self._bytes = self._told = 0
        resolver = PythonResolver(progress_callback=self._progress)
        self._maven = MavenContext(
            resolver=resolver, repo_cache=local, local_repos=[], remote_repos={"central": repository}
        )

    def jar(self, pin: Pin) -> Path:
        """The jar as pinned, somewhere on the local disk."""
        artifact = self._maven.create_dependency(pin.coordinate).artifact
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                path = artifact.resolve()
                if hashlib.sha256(path.read_bytes()).hexdigest() == pin.sha256:
                    return path
                problem = f"{pin.filename} is not the file it should be"
            except Exception as error:  # jgo passes on whatever requests or its own checks raise
                if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
                    raise
                problem = _first_line(error)
            if artifact.cached_path is not None:  # jgo would take what came of it for the whole
                artifact.cached_path.unlink(missing_ok=True)
            if attempt < _ATTEMPTS:
                self._report(f"Trying again: {problem}")
        raise DownloadError(
            f"Apache Kafka {KAFKA_VERSION} could not be fetched from {self._repository}: {problem}.",
            remedy="Check the network (HTTPS_PROXY is honoured), set ODDTIDE_MAVEN_REPOSITORY to a mirror, "
            "or point kafka.bootstrap at a Kafka that runs already.",
        )

    @contextmanager
    def _progress(self, filename: str, size: int) -> Iterator[Callable[[int], None]]:
        yield self._count

    def _count(self, length: int) -> None:
        self._bytes += length
        if self._bytes >= self._told + _TELL_EVERY:
            self._told = self._bytes
            self._report(f"Fetching Apache Kafka: {self._bytes / 1e6:.0f} of {self._megabytes:.0f} MB")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
