"""When snapshots are taken, how they are written, which are kept.

A snapshot is copied at an instant between two batches and written by a thread while the stream goes on. Once it is
durable it is *ready*; the next ledger record that reaches its offset *names* it. So no snapshot is ahead of the ledger,
and one that a crash left half written is named by nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from weakref import WeakKeyDictionary

import structlog

from oddtide.domain.errors import DecodeError, StorageUnavailableError
from oddtide.domain.observability.ledger import SnapshotPointer
from oddtide.streams.no_snapshots import NoSnapshots
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.snapshot import Part, Snapshot, decode_snapshot, encode_snapshot, take
from oddtide.streams.ports import SnapshotStore
from oddtide.streams.progress import ProgressBoard
from oddtide.streams.scratch import Scratch
from oddtide.streams.sweeping import PARTS, Sweeper
from oddtide.streams.trimming import give_back

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
    ``trouble`` is told why none can be stored, and an empty text when they can again; ``progress`` of each. Files on
    their way are put below ``folder``, on the disk where series sleep."""

    def __init__(
        self,
        store: SnapshotStore | None,
        policy: SnapshotPolicy,
        application: str,
        *,
        build: str = "",
        folder: Path | None = None,
        trouble: Callable[[str], None] = lambda reason: None,
        clock: Callable[[], float] = time.monotonic,
        progress: ProgressBoard | None = None,
    ) -> None:
        self.on = store is not None
        self.store = store if store is not None else NoSnapshots()
        self.policy = policy
        self.build = build
        self.clock = clock
        self.lanes = asyncio.Semaphore(_AT_ONCE)
        self.scratch = Scratch(folder or Path(gettempdir()) / "oddtide-snapshots")
        #: The files of those who sleep that are stored already, by name and size, for each state.
        self.stored: WeakKeyDictionary[PartitionProcessor, dict[tuple[str, int], Part]] = WeakKeyDictionary()
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

    def load_parts(self, parts: Iterable[Part], folder: Path) -> None:
        """Read the files of those who sleep back into ``folder``. Raises what the store raises, and ``DecodeError`` for
        a name that is no plain file's."""
        for part in parts:
            if Path(part.name).name != part.name:
                raise DecodeError("no_snapshot", f"{part.name!r} is no name of a file")
            (folder / part.name).write_bytes(self.store.get(part.reference, part.digest))

    def parts_of(self, pointer: SnapshotPointer) -> list[str]:
        """The references of the files that a snapshot shares with others. Raises as :meth:`load` does."""
        return [part.reference for part in self.load(pointer).about.parts]

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
    _dropped: list[SnapshotPointer] = field(default_factory=list)
    _sweeper: Sweeper = field(init=False)

    def __post_init__(self) -> None:
        self._taken_at = self.around.clock()
        around = self.around
        self._sweeper = Sweeper(
            around.store, around.name(self.topic, self.partition), around.policy.keep, around.parts_of
        )
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
        return self.around.on and self.processor.position != self._newest

    @property
    def writing(self) -> bool:
        """Whether one is being written."""
        return self._task is not None and not self._task.done()

    @property
    def worthwhile(self) -> bool:
        """Whether a parting owner should take one: folding again what came since the last would take longer."""
        return self.behind and (self._urgent or self._folded_s >= self._cost.total)

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
        self._taken_at, self._folded_s, self._urgent = self.around.clock(), 0.0, False
        try:
            snapshot = await self._copy()
        except Exception as error:  # those who sleep could not be written down
            self.around.lanes.release()
            self._failed(self.around.name(self.topic, self.partition), error)
            return
        except BaseException:
            self.around.lanes.release()
            raise
        self._newest = snapshot.about.position
        self._task = asyncio.create_task(self._write(snapshot))

    async def _copy(self) -> Snapshot:
        began = time.perf_counter()
        memory, around = self.processor.memory, self.around
        if not memory.asleep and memory.awake * self.processor.bytes_per_slot < _BIG:
            snapshot = take(self.processor, build=around.build)
        else:
            snapshot = await asyncio.to_thread(take, self.processor, build=around.build, scratch=around.scratch)
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
            if snapshot.folder is not None:
                self.around.scratch.drop(snapshot.folder)
            self.around.lanes.release()

    def write(self, snapshot: Snapshot) -> SnapshotPointer:
        """Store a snapshot; returns when it is durable. Runs in a thread."""
        began = time.thread_time()
        position = snapshot.about.position
        name = self.around.name(self.topic, self.partition)
        parts = self._write_parts(snapshot, f"{name}/{PARTS}/{position:020d}")
        content = encode_snapshot(snapshot.with_parts(parts))
        reference, digest = self.around.store.put(f"{name}/{position:020d}", content)
        self._sweeper.note(reference, (part.reference for part in parts))
        give_back()  # here it is in a thread, comes seldom, and last when the stream falls quiet
        self._cost.writing = time.thread_time() - began
        return SnapshotPointer(offset=position, reference=reference, digest=digest, size=sum(map(len, content)))

    def _write_parts(self, snapshot: Snapshot, name: str) -> list[Part]:
        """Store the files of those who sleep; one that an earlier snapshot stored is only named again."""
        known = self.around.stored.setdefault(self.processor, {})
        parts = []
        for file in snapshot.files:
            status = file.stat()
            shared = status.st_nlink > 1  # a link into the store of those who sleep: such a file never changes
            part = known.get((file.name, status.st_size)) if shared else None
            if part is None:
                reference, digest = self.around.store.put(f"{name}/{file.name}", [file.read_bytes()])
                part = Part(name=file.name, reference=reference, digest=digest, size=status.st_size)
            parts.append(part)
        known.clear()
        known.update({(part.name, part.size): part for part in parts})
        return parts

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
        if pointer is self.ready:  # else one became ready while this was being committed
            self.ready = None
        if pointer is None or pointer == self.named:
            return
        self.pointers.append(pointer)
        self._dropped += [self.pointers.popleft() for _ in range(len(self.pointers) - self.around.policy.keep)]
        self._sweeping = asyncio.create_task(self._sweep(list(self.pointers), list(self._dropped)))

    async def _sweep(self, kept: list[SnapshotPointer], dropped: list[SnapshotPointer]) -> None:
        try:
            await asyncio.to_thread(self._sweeper.sweep, kept, dropped)
            self._dropped = [pointer for pointer in self._dropped if pointer not in dropped]
        except StorageUnavailableError as error:
            _log.warning("old snapshots could not be deleted", reason=str(error))

    async def finish(self) -> None:
        """Wait until nothing is being written or deleted."""
        tasks = {task for task in (self._task, self._sweeping) if task is not None}
        if tasks:
            await asyncio.wait(tasks)
