"""Lines of a file, of a gzip-compressed one, or of standard input, as soon as they are there."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from oddtide.domain.errors import NotFoundError, OddtideError, StorageUnavailableError, UsageError

__all__ = ["LineSource", "open_lines"]

_CHUNK = 1 << 18
_GZIP = b"\x1f\x8b"
_LONGEST_LINE = 16 << 20


class _Readable(Protocol):
    def read1(self, size: int = ..., /) -> bytes: ...


def open_lines(source: str | Path | BinaryIO) -> LineSource:
    """Lines of ``source``: a path, ``-`` for standard input, or an open binary file. Gzip is recognised by its first
    bytes, whatever the name.

    Raises ``NotFoundError`` for no such file, ``UsageError`` for a folder, ``StorageUnavailableError`` for what
    cannot be read.
    """
    name, raw = _open(source)
    readable: _Readable = gzip.GzipFile(fileobj=raw) if _head(raw) == _GZIP else raw  # type: ignore[assignment]  # read1: every buffered binary file has it, which BinaryIO does not say
    return LineSource(name, readable, owned=None if raw is source or raw is sys.stdin.buffer else raw)


def _head(raw: BinaryIO) -> bytes:
    peek = getattr(raw, "peek", None)
    if peek is not None:
        return bytes(peek(2)[:2])
    if not raw.seekable():
        return b""
    position = raw.tell()
    head = raw.read(2)
    raw.seek(position)
    return head


def _open(source: str | Path | BinaryIO) -> tuple[str, BinaryIO]:
    if not isinstance(source, str | Path):
        return str(getattr(source, "name", "input")), source
    if str(source) == "-":
        return "standard input", sys.stdin.buffer
    path = Path(source)
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", remedy="Name a CSV or JSON-lines file, or - for standard input.")
    try:
        return str(path), path.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.", remedy="Check the path.") from None
    except OSError as error:
        raise StorageUnavailableError(f"{path} cannot be read: {error.strerror}.", remedy="Check its rights.") from None


class LineSource:
    """An iterator of lines as bytes, line ends included.

    ``pending`` tells whether another line can be had without waiting for input, so that a reader of a live pipe can
    hand on what it has. A last line without a line end counts as a line. No line is longer than 16 MiB.
    """

    def __init__(self, name: str, readable: _Readable, owned: BinaryIO | None = None) -> None:
        self.name = name
        self._readable = readable
        self._owned = owned
        self._lines: list[bytes] = []
        self._tail = b""
        self._ended = False

    @property
    def pending(self) -> bool:
        """Whether a whole line is at hand."""
        return bool(self._lines)

    def push_back(self, lines: list[bytes]) -> None:
        """Give back lines that were looked at; they come again, in order."""
        self._lines.extend(reversed(lines))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not self._lines:
            if self._ended:
                raise StopIteration
            self._fill()
        return self._lines.pop()

    def close(self) -> None:
        """Close the file where this object opened it."""
        self._lines, self._ended = [], True
        if self._owned is not None:
            self._owned.close()

    def _fill(self) -> None:
        chunk = self._read()
        if not chunk:
            self._ended = True
            self._lines = [self._tail] if self._tail else []
            self._tail = b""
            return
        parts = (self._tail + chunk).split(b"\n")
        self._tail = parts.pop()
        if len(self._tail) > _LONGEST_LINE:
            raise UsageError(f"{self.name} has a line of more than 16 MiB.", remedy="Is it text, one reading a line?")
        self._lines = [part + b"\n" for part in reversed(parts)]

    def _read(self) -> bytes:
        try:
            return self._readable.read1(_CHUNK)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _damaged(self.name, str(error)) from None
        except OSError as error:
            raise StorageUnavailableError(f"{self.name} cannot be read: {error}.", remedy="Check the disk.") from None


def _damaged(name: str, why: str) -> OddtideError:
    return UsageError(f"{name} is a damaged gzip file: {why}.", remedy="Fetch or compress it again.")
