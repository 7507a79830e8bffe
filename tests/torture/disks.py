"""A disk so small that it can be filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["small_disk"]

_SIZE = 2 << 20


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[..., None] | None]:
    """Lay a small file system over ``folder``, where this user may; yields what fills it (``fill()``) and makes room
    again (``fill(False)``), or None where nothing can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _runs("mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)):
        yield None
        return
    ballast = folder / ".ballast"

    def fill(full: bool = True) -> None:
        ballast.unlink(missing_ok=True)
        if full:
            _write_all(ballast)

    try:
        yield fill
    finally:
        _runs("umount", "-l", str(folder))  # what lay there is gone: who begins now folds the log


def _write_all(file: Path) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        with suppress(OSError):
            while True:
                os.write(handle, bytes(512))
    finally:
        os.close(handle)


def _runs(*command: str) -> bool:
    with suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False
