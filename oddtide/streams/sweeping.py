"""Which snapshots are kept, and deleting the others with the files that only they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from oddtide.domain.errors import OddtideError
from oddtide.domain.observability.ledger import SnapshotPointer
from oddtide.streams.ports import SnapshotStore

__all__ = ["PARTS", "Sweeper", "offset_of"]

#: The folder, under a partition's snapshots, of the files that several of them share.
PARTS = "parts"


class Sweeper:
    """Keeps the newest ``keep`` snapshots of one partition. ``parts_of`` reads which shared files a snapshot needs.

    Nothing at or after the newest offset is ever touched: should this owner be a zombie, the partition's true owner
    writes there. Runs in threads, one call at a time."""

    def __init__(
        self, store: SnapshotStore, name: str, keep: int, parts_of: Callable[[SnapshotPointer], Sequence[str]]
    ) -> None:
        self._store = store
        self._name = name
        self._keep = keep
        self._parts_of = parts_of
        self._parts: dict[str, frozenset[str]] = {}
        self._first = True

    def note(self, reference: str, parts: Iterable[str]) -> None:
        """The snapshot ``reference`` needs these shared files."""
        self._parts[reference] = frozenset(parts)

    def sweep(self, kept: Sequence[SnapshotPointer], dropped: Sequence[SnapshotPointer]) -> None:
        """``kept`` (oldest first) stay, ``dropped`` go. Until there are enough, what earlier owners left goes too.

        Raises ``StorageUnavailableError``; the rest is deleted next time."""
        found = self._store.references(self._name) if self._first else []
        shared = [reference for reference in found if f"/{PARTS}/" in reference]
        whole = [reference for reference in found if f"/{PARTS}/" not in reference]
        newest = kept[-1].offset
        staying = {pointer.reference for pointer in kept}
        older = [each for each in whole if offset_of(each) <= newest and each not in staying]
        staying |= set(
            older[len(older) - max(self._keep - len(kept), 0) :]
        )  # an earlier owner's, not ours to judge yet
        old = self._unneeded(staying, shared, dropped, newest)
        for reference in [*(pointer.reference for pointer in dropped), *whole]:
            if reference not in staying and offset_of(reference) < newest:
                self._store.delete(reference)
                self._parts.pop(reference, None)
        for reference in old:
            self._store.delete(reference)
        self._first = len(kept) < self._keep

    def _unneeded(
        self, staying: set[str], shared: Sequence[str], dropped: Sequence[SnapshotPointer], newest: int
    ) -> list[str]:
        """Shared files that no snapshot needs which stays; none where that cannot be told."""
        try:
            gone = {part for pointer in dropped for part in self._needs(pointer.reference)}
            candidates = gone | {part for part in shared if offset_of(part, from_end=3) < newest}
            if not candidates:
                return []
            needed = {part for reference in staying for part in self._needs(reference)}
        except OddtideError:  # one of them is damaged or away
            return []
        return sorted(candidates - needed)

    def _needs(self, reference: str) -> frozenset[str]:
        if reference not in self._parts:
            pointer = SnapshotPointer(offset=0, reference=reference, digest=reference.rpartition("/")[2])
            self.note(reference, self._parts_of(pointer))
        return self._parts[reference]


def offset_of(reference: str, *, from_end: int = 2) -> int:
    """The offset in a reference ``…/<offset>/<digest>``; beyond everything for what is none of ours."""
    parts = reference.split("/")
    return int(parts[-from_end]) if len(parts) >= from_end and parts[-from_end].isdigit() else 1 << 63
