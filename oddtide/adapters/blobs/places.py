"""Where blobs lie, as a protocol: what a local folder and a remote store have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Chunks", "Place"]

#: The pieces of one content, in order.
Chunks = Sequence[bytes | memoryview]


class Place(Protocol):
    """Files by path (``a/b/c``, of plain segments). Every method raises ``StorageUnavailableError`` where the store
    does not answer, is full, or refuses."""

    def write(self, path: str, chunks: Chunks) -> None:
        """Store whole or not at all, and durably; replaces what was there."""
        ...

    def read(self, path: str) -> bytes | None:
        """The content, or None where there is none."""
        ...

    def size(self, path: str) -> int | None:
        """Its size in bytes, or None where there is none."""
        ...

    def paths(self, under: str) -> list[str]:
        """Every path below ``under``, at any depth, sorted."""
        ...

    def remove(self, path: str) -> None:
        """Delete it; nothing happens where there is none."""
        ...
