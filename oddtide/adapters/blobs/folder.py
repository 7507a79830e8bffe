"""Blobs as files below a local folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oddtide.adapters.blobs.places import Chunks
from oddtide.domain.errors import StorageUnavailableError

__all__ = ["Folder", "faults", "write_new"]


class Folder:
    """Files below ``root``, which is made when first written to. A crash leaves no half file, at most a draft, whose
    name begins with a dot."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def write(self, path: str, chunks: Chunks) -> None:
        """Store under a draft's name, then rename."""
        target = self._root / path
        draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        with faults(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_new(draft, chunks)
                draft.replace(target)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            _sync(target.parent)

    def read(self, path: str) -> bytes | None:
        """The content, or None."""
        target = self._root / path
        with faults(target):
            return target.read_bytes() if target.is_file() else None

    def size(self, path: str) -> int | None:
        """The file's size, or None."""
        target = self._root / path
        with faults(target):
            return target.stat().st_size if target.is_file() else None

    def paths(self, under: str) -> list[str]:
        """Every file below ``under`` but drafts."""
        root = self._root / under
        with faults(root):
            return sorted(
                path.relative_to(self._root).as_posix()
                for path in root.rglob("*")
                if path.is_file() and not path.name.startswith(".")
            )

    def remove(self, path: str) -> None:
        """Delete a file, and the folders that it leaves empty."""
        target = self._root / path
        with faults(target):
            target.unlink(missing_ok=True)
            for folder in list(target.parents)[: path.count("/")]:
                if not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()


def write_new(path: Path, chunks: Chunks) -> None:
    """Write a file that does not exist yet, readable by its owner only, and see it to the disk."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    # A rename is on the disk only once its folder is.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """The operating system's errors as ours."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailableError(
            f"{path} cannot be read or written: {error.strerror or error}.",
            remedy="Free space on its disk, or make its folder writable by this user.",
        ) from error
