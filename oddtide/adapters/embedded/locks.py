"""One process at a time: an advisory lock on a file, released by the system however its holder ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from oddtide.domain.errors import StorageUnavailableError

__all__ = ["exclusive", "writable_folder"]


@contextmanager
def exclusive(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file at ``path``. ``waiting`` is called once when another process holds it; then this waits.

    The file stays: removing it would let two processes lock two files of the same name.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def writable_folder(folder: Path, purpose: str, remedy: str) -> Path:
    """``folder``, made where missing and proven writable, absolute. Raises ``StorageUnavailableError``."""
    probe = folder / f".write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        probe.unlink(missing_ok=True) if folder.is_dir() else None
        raise StorageUnavailableError(
            f"The folder {folder} for {purpose} cannot be written: {error.strerror or error}.", remedy=remedy
        ) from None
    return folder.resolve()
