"""What the agents need from outside, as protocols. The composition in ``config`` hands in adapters that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oddtide.domain.detection.ports import Detector, DetectorSpec
from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.drift.ports import MonitorFactory
from oddtide.domain.events import Message
from oddtide.streams.envelope import Envelope

__all__ = ["Artifacts", "LoggedEvent", "ReadModels", "SleepStore", "SleepStores", "SnapshotStore", "Toolkit", "Trainer"]


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as it stands in the log. ``timestamp`` is the Kafka record's, in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: str
    envelope: Envelope
    event: Message


@dataclass(frozen=True, slots=True)
class Toolkit:
    """Makes the parts of a pipeline that live in adapters or need a registry.

    ``detector`` builds a detector for (spec, features); ``monitors`` a factory of drift monitors for a policy.
    """

    detector: Callable[[DetectorSpec, tuple[str, ...]], Detector]
    monitors: Callable[[DriftPolicy], MonitorFactory]


class ReadModels(Protocol):
    """Where projections live. Guaranteed: state and position of a fold change in one transaction; folding a record
    at or before the position is a no-op."""

    def positions(self, projection: str) -> Mapping[tuple[str, int], int]:
        """Next offset to fold, by (topic, partition). Absent: from the beginning."""
        ...

    def fold(self, projection: str, events: Sequence[LoggedEvent], positions: Mapping[tuple[str, int], int]) -> None:
        """Fold ``events`` in order and move to ``positions``, at once."""
        ...


class Artifacts(Protocol):
    """Where trained models lie. What is read back was written here and signed, or is refused."""

    def put(self, name: str, content: bytes) -> tuple[str, str]:
        """Store; returns (reference, digest). The same content under the same name is stored once."""
        ...

    def get(self, reference: str, digest: str) -> bytes:
        """Read back. Raises ``NotFoundError``, or ``UntrustedArtifactError`` when signature or digest is wrong."""
        ...


class SnapshotStore(Protocol):
    """Where snapshots of state lie, by name; a name may have folders (``a/b``). What is read back was written here and
    signed, or is refused. Every method raises ``StorageUnavailableError`` where the store does not answer or is full.
    """

    def put(self, name: str, content: Sequence[bytes | memoryview]) -> tuple[str, str]:
        """Store ``content``, in pieces; returns (reference, digest) when it is durable. The same content under the
        same name is stored once."""
        ...

    def get(self, reference: str, digest: str) -> bytes:
        """Read back. Raises ``NotFoundError``, or ``UntrustedArtifactError`` when signature or digest is wrong."""
        ...

    def references(self, name: str) -> list[str]:
        """Everything stored under ``name`` and its subfolders, sorted by name."""
        ...

    def delete(self, reference: str) -> None:
        """Delete; nothing happens where it is not there."""
        ...


class Trainer(Protocol):
    """Trains a batch model. ``values`` is (n, d); returns the artifact's content, library versions and metrics."""

    def __call__(
        self, algorithm: str, parameters: Mapping[str, object], values: object, features: tuple[str, ...]
    ) -> tuple[bytes, dict[str, str], dict[str, float]]: ...


class SleepStore(Protocol):
    """Where series of one partition sleep: bytes by series key.

    A cache of this process and of its snapshots, not a database: nothing in it outlives :meth:`close`. Whatever fails
    raises ``StorageUnavailableError``; a failed :meth:`put` may be tried again, and what was there before stays.
    """

    def put(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        """Store a row under each key, over any that is there: all or none."""
        ...

    def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The row under each key, None where there is none. Cheap for keys that were never there."""
        ...

    def checkpoint(self, folder: Path) -> list[Path]:
        """Write what is there at this instant into ``folder`` (made by this call) and return its files, from which
        :meth:`SleepStores.open` makes the same store again. A file that another checkpoint shares has the same
        content, and costs no copy where the file system can link."""
        ...

    def close(self) -> None:
        """Throw everything away. Further calls do nothing."""
        ...


class SleepStores(Protocol):
    """Makes sleeping places. Raises ``StorageUnavailableError`` where that cannot be."""

    def open(self, name: str, source: Path | None = None) -> SleepStore:
        """A store of its own, empty or with what a checkpoint's folder holds, which stays as it is. ``name`` is for
        people."""
        ...
