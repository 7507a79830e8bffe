"""Which of a machine's workers this is: a small number that a worker has again after a restart.

With it group membership is static: Kafka gives a worker that comes back within the session timeout its partitions
again, without asking the others. Two processes never have the same number of a data folder: each holds a lock on a
file as long as it lives, which the system frees whatever ended it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

from oddtide.domain.errors import StorageUnavailableError

__all__ = ["WorkerNumber", "instance_id"]

_FOLDER = "workers"


class WorkerNumber:
    """A number held until :meth:`release` or the end of the process. ``preferred`` if free, else the lowest free.
    ``place`` is a short digest of the data folder."""

    def __init__(self, folder: Path, preferred: int = 0) -> None:
        place = folder / _FOLDER
        self.place = _digest(str(folder.absolute()))
        try:
            place.mkdir(parents=True, exist_ok=True)
            self.number, self._handle = next(
                (number, handle)
                for number in chain((preferred,), count())
                if (handle := _lock(place / f"{number}.lock")) is not None
            )
        except OSError as error:
            raise StorageUnavailableError(
                f"No lock can be made in {place}: {error.strerror}.", remedy="Make the data folder writable."
            ) from None

    def release(self) -> None:
        """Give it back. May be called twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _lock(file: Path) -> int | None:
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def instance_id(name: str, topics: Iterable[str]) -> str:
    """The name of a worker in Kafka's groups. It changes with the ``topics``: Kafka gives a static member that comes
    back what it had, not what it asks for, so a new stream would be read by nobody."""
    return f"{name}-{_digest(*sorted(topics))}"


def _digest(*words: str) -> str:
    return hashlib.blake2b("\0".join(words).encode(), digest_size=3).hexdigest()
