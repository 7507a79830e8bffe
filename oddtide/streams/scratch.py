"""Folders for files on their way: into a snapshot, or out of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

__all__ = ["Scratch"]


class Scratch:
    """Folders below ``root`` that last as long as they are needed. What processes left there that are gone (killed, on
    this machine) is deleted at the first use."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._swept = False

    def make(self) -> Path:
        """A new, empty folder; hand it to :meth:`drop` in the end."""
        self._root.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._swept = True
            for folder in self._root.iterdir():
                pid = folder.name.partition("-")[0]
                if not pid.isdigit() or not _alive(int(pid)):
                    self.drop(folder)
        return Path(mkdtemp(prefix=f"{os.getpid()}-", dir=self._root))

    @staticmethod
    def drop(folder: Path) -> None:
        """Delete a folder with all that is in it."""
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder for as long as the body takes."""
        folder = self.make()
        try:
            yield folder
        finally:
            self.drop(folder)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
