"""Sleeping series in a dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from oddtide.domain.errors import StorageUnavailableError

__all__ = ["MemorySleepStore", "MemorySleepStores"]

_FILE = "rows"


class MemorySleepStore:
    """Keeps the promises of ``streams.ports.SleepStore``; bounds no memory."""

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self._rows: dict[bytes, bytes] | None = dict(rows)

    def put(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        """Store a row under each key."""
        self._open().update(zip(keys, rows, strict=True))

    def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The row under each key."""
        rows = self._open()
        return [rows.get(key) for key in keys]

    def checkpoint(self, folder: Path) -> list[Path]:
        """Everything as one file."""
        content = msgspec.msgpack.encode(list(self._open().items()))
        try:
            folder.mkdir(parents=True)
            (folder / _FILE).write_bytes(content)
        except OSError as error:
            raise StorageUnavailableError(
                f"Sleeping series cannot be written to {folder}: {error.strerror}.", remedy="Make room there."
            ) from None
        return [folder / _FILE]

    def close(self) -> None:
        """Throw everything away."""
        self._rows = None

    def _open(self) -> dict[bytes, bytes]:
        if self._rows is None:
            raise StorageUnavailableError("The store of sleeping series is closed.", remedy="Open another.")
        return self._rows


class MemorySleepStores:
    """Makes such stores."""

    def open(self, name: str, source: Path | None = None) -> MemorySleepStore:
        """An empty store, or one with what a checkpoint holds."""
        if source is None:
            return MemorySleepStore({})
        try:
            rows = msgspec.msgpack.decode((source / _FILE).read_bytes(), type=list[tuple[bytes, bytes]])
        except (OSError, msgspec.DecodeError) as error:
            raise StorageUnavailableError(
                f"{source} holds no sleeping series of {name}: {error}.", remedy="An older snapshot is tried."
            ) from None
        return MemorySleepStore(dict(rows))
