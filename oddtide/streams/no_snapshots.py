"""What a worker without a store of snapshots has."""

from __future__ import annotations

from collections.abc import Sequence

from oddtide.domain.errors import NotFoundError, StorageUnavailableError

__all__ = ["NoSnapshots"]


class NoSnapshots:
    """Fits ``SnapshotStore``; nothing is ever there."""

    def put(self, name: str, content: Sequence[bytes | memoryview]) -> tuple[str, str]:
        """Raises ``StorageUnavailableError``."""
        raise StorageUnavailableError("This worker has no store of snapshots.", remedy="Give it one.")

    def get(self, reference: str, digest: str) -> bytes:
        """Raises ``NotFoundError``."""
        raise NotFoundError(f"This worker has no store, and so not {reference}.", remedy="Give it one.")

    def references(self, name: str) -> list[str]:
        """None."""
        return []

    def delete(self, reference: str) -> None:
        """Nothing to delete."""
