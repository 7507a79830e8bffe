"""When snapshots are taken, how they are written, which are kept.

A snapshot is copied at an instant between two batches and written by a thread while the stream goes on. Once it is
durable it is *ready*; the next ledger record that reaches its offset *names* it. So no snapshot is ahead of the ledger,
and one that a crash left half written is named by nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from oddtide.domain.errors import NotFoundError, StorageUnavailableError
from oddtide.domain.observability.ledger import SnapshotPointer
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.snapshot import Snapshot, decode_snapshot, encode_snapshot, take
from oddtide.streams.ports import SnapshotStore
from oddtide.streams.progress import ProgressBoard

__all__ = ["SnapshotPolicy", "Snapshots", "Snapshotter"]

#: Snapshots of one worker that are in memory at the same time, at most.
_AT_ONCE = 2
_LONGEST_BACKOFF_S = 300.0
#: A state of about this size (bytes) or more is copied in a thread: on the event loop it would hold up heartbeats.
_BIG = 32 << 20

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """A partition's next snapshot is due ``every_s`` seconds after the last, or once ``fold_s`` seconds of folding have
    come together since (a new owner would fold that again); but never so often that snapshots take more than the
    fraction ``share`` of the time. The newest ``keep`` are kept."""

    every_s: float = 30.0
    share: float = 0.05
    keep: int = 3
    fold_s: float = 1.0


class Snapshots:
    """What the snapshots of all partitions of one worker have in common; without a ``store`` there are none.
    ``trouble`` is told why none can be stored, and an empty text when they can again; ``progress`` of each."""

    def __init__(
        self,
        store: SnapshotStore | None,
        policy: SnapshotPolicy,
        application: str,
        *,
        build: str = "",
        trouble: Callable[[str], None] = lambda reason: None,
        clock: Callable[[], float] = time.monotonic,
        progress: ProgressBoard | None = None,
    ) -> None:
        self.on = store is not None
        self.store = store if store is not None else _NoStore()
        self.policy = policy
        self.build = build
        self.clock = clock
        self.lanes = asyncio.Semaphore(_AT_ONCE)
        self._application = application
        self._trouble = trouble
        self.progress = progress if progress is not None else ProgressBoard()
        self._troubled: set[str] = set()

    def name(self, topic: str, partition: int) -> str:
        """Where the snapshots of a partition lie."""
        return f"{self._application}/{topic}-{partition}"

    def load(self, pointer: SnapshotPointer) -> Snapshot:
        """Read one back. Raises what the store raises, and what :func:`decode_snapshot` does."""
        return decode_snapshot(self.store.get(pointer.reference, pointer.digest))

    def went(self, name: str, reason: str) -> None:
        """How the last try to store went for one partition: ``reason`` is empty where it went well."""
        before = bool(self._troubled)
        if reason:
            self._troubled.add(name)
        else:
            self._troubled.discard(name)
        if reason or (before and not self._troubled):
            self._trouble(reason)


@dataclass(slots=True)
class _Cost:
    """What a snapshot took of this process's time (seconds)."""

    copying: float = 0.0
    writing: float = 0.0

    @property
    def total(self) -> float:
        return self.copying + self.writing


@dataclass(slots=True)
class Snapshotter:
    """Takes the snapshots of one partition during one ownership. ``pointers`` are those that its ledger names, oldest
    first; ``fresh`` is a partition that has no history. Use it on the event loop, and :meth:`take` only between two
    folds."""

    processor: PartitionProcessor
    around: Snapshots
    topic: str
    partition: int
    pointers: deque[SnapshotPointer] = field(default_factory=deque)
    fresh: bool = False
    ready: SnapshotPointer | None = None
    _task: asyncio.Task[None] | None = None
    _sweeping: asyncio.Task[None] | None = None
    _cost: _Cost = field(default_factory=_Cost)
    _taken_at: float = 0.0
    _folded_s: float = 0.0
    _not_before: float = 0.0
    _failures: int = 0
    _newest: int = -1
    _urgent: bool = False
    _swept: bool = False

    def __post_init__(self) -> None:
        self._taken_at = self.around.clock()
        if self.pointers:
            self._newest = self.pointers[-1].offset
        elif self.fresh:
            self._newest = self.processor.position

    @property
    def named(self) -> SnapshotPointer | None:
        """The newest snapshot that the ledger names."""
        return self.pointers[-1] if self.pointers else None

    @property
    def behind(self) -> bool:
        """Whether the state has moved on since the newest snapshot."""
        if self.processor.memory.asleep:
            return False  # a snapshot does not hold those who sleep yet; a new owner folds the log
        return self.around.on and self.processor.position != self._newest

    @property
    def writing(self) -> bool:
        """Whether one is being written."""
        return self._task is not None and not self._task.done()

    def folded(self, seconds: float) -> None:
        """So much folding would have to be done again."""
        self._folded_s += seconds

    def urge(self) -> None:
        """The next one is due at once: there is no older one to fall back on."""
        self._urgent = True

    def due(self) -> bool:
        """Whether to take one now."""
        if not self.behind or self.writing or self.around.lanes.locked():
            return False
        policy, now = self.around.policy, self.around.clock()
        since = now - self._taken_at
        if now < self._not_before or since * policy.share < self._cost.total:
            return False
        return self._urgent or since >= policy.every_s or self._folded_s >= policy.fold_s

    async def take(self) -> None:
        """Copy the state; the rest happens in the background. Call it between two folds, and fold nothing before it
        returns."""
        await self.around.lanes.acquire()
        try:
            snapshot = await self._copy()
        except BaseException:
            self.around.lanes.release()
            raise
        self._taken_at, self._folded_s, self._urgent = self.around.clock(), 0.0, False
        self._newest = snapshot.about.position
        self._task = asyncio.create_task(self._write(snapshot))

    async def _copy(self) -> Snapshot:
        began = time.perf_counter()
        size = self.processor.memory.awake * self.processor.bytes_per_slot
        if size < _BIG:
            snapshot = take(self.processor, build=self.around.build)
        else:
            snapshot = await asyncio.to_thread(take, self.processor, build=self.around.build)
        self._cost.copying = time.perf_counter() - began
        return snapshot

    async def _write(self, snapshot: Snapshot) -> None:
        name = self.around.name(self.topic, self.partition)
        try:
            self.ready = await asyncio.to_thread(self.write, snapshot)
        except Exception as error:
            self._failed(name, error)
        else:
            self._failures = 0
            self.around.went(name, "")
            self.around.progress.snapshot_written(self.topic, self.partition, self._cost.total, self.ready.size)
        finally:
            self.around.lanes.release()

    def write(self, snapshot: Snapshot) -> SnapshotPointer:
        """Store a snapshot; returns when it is durable. Runs in a thread."""
        began = time.thread_time()
        position = snapshot.about.position
        content = encode_snapshot(snapshot)
        name = f"{self.around.name(self.topic, self.partition)}/{position:020d}"
        reference, digest = self.around.store.put(name, content)
        self._cost.writing = time.thread_time() - began
        return SnapshotPointer(offset=position, reference=reference, digest=digest, size=sum(map(len, content)))

    def _failed(self, name: str, error: Exception) -> None:
        """The stream goes on without; older snapshots stay as they are."""
        self._newest = self.named.offset if self.named else -1
        self._failures += 1
        wait = min(2.0**self._failures, _LONGEST_BACKOFF_S)
        self._not_before = self.around.clock() + wait
        reason = str(error) or type(error).__name__
        self.around.progress.snapshot_failed(self.topic, self.partition)
        _log.error("snapshot not stored; the stream goes on without", snapshots=name, again_in_s=wait, reason=reason)
        self.around.went(name, f"no snapshot of {self.topic}/{self.partition}: {reason}")

    def for_record(self, to_offset: int) -> SnapshotPointer | None:
        """The snapshot that a ledger record up to ``to_offset`` is to name: the newest durable one."""
        if self.ready is not None and self.ready.offset <= to_offset:
            return self.ready
        return self.named

    def was_named(self, pointer: SnapshotPointer | None) -> None:
        """A ledger record that names ``pointer`` is committed: what it makes superfluous may go."""
        if pointer is None or pointer is not self.ready:
            return
        self.ready = None
        self.pointers.append(pointer)
        superfluous = [self.pointers.popleft() for _ in range(len(self.pointers) - self.around.policy.keep)]
        self._sweeping = asyncio.create_task(self._sweep_soon([old.reference for old in superfluous], pointer))

    async def _sweep_soon(self, references: list[str], newest: SnapshotPointer) -> None:
        try:
            await asyncio.to_thread(self._sweep, references, newest)
        except StorageUnavailableError as error:
            _log.warning("old snapshots could not be deleted", reason=str(error))

    def _sweep(self, references: Iterable[str], newest: SnapshotPointer) -> None:
        for reference in references:
            self.around.store.delete(reference)
        if self._swept:
            return
        # Once an ownership: what earlier owners left. Nothing at or after the newest offset is touched: should we be
        # a zombie, the partition's true owner writes there.
        found = self.around.store.references(self.around.name(self.topic, self.partition))
        kept = {pointer.reference for pointer in self.pointers} | set(found[-self.around.policy.keep :])
        for reference in found:
            if reference not in kept and _offset_of(reference) < newest.offset:
                self.around.store.delete(reference)
        self._swept = True

    async def finish(self) -> None:
        """Wait until nothing is being written or deleted."""
        tasks = {task for task in (self._task, self._sweeping) if task is not None}
        if tasks:
            await asyncio.wait(tasks)


class _NoStore:
    """What a worker without a store has: nothing."""

    def put(self, name: str, content: Sequence[bytes | memoryview]) -> tuple[str, str]:
        raise StorageUnavailableError("This worker has no store of snapshots.", remedy="Give it one.")

    def get(self, reference: str, digest: str) -> bytes:
        raise NotFoundError(f"This worker has no store, and so not {reference}.", remedy="Give it one.")

    def references(self, name: str) -> list[str]:
        return []

    def delete(self, reference: str) -> None:
        """Nothing to delete."""


def _offset_of(reference: str) -> int:
    """The offset in a reference ``…/<offset>/<digest>``; beyond everything for what is none of ours."""
    parts = reference.split("/")
    return int(parts[-2]) if len(parts) > 1 and parts[-2].isdigit() else 1 << 63
