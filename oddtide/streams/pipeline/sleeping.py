"""Series that sleep: what keeps memory within its budget, and alters no verdict.

The series idle longest leave memory for an embedded store, and come back with their state when their next reading
comes, before anything looks at it. A series that is awake may have an old row in the store: it is written over when
the series next goes to sleep, and looked at by nobody until then. So waking writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from weakref import WeakSet

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from oddtide.domain.errors import StateMismatchError, StorageUnavailableError
from oddtide.domain.observability.progress import MemoryUse
from oddtide.domain.readings import IntArray, SeriesColumn
from oddtide.domain.slots import Recency, SlotState
from oddtide.streams.pipeline.series import SeriesIndex
from oddtide.streams.pipeline.slot_rows import RowCodec, RowLayout
from oddtide.streams.ports import SleepStore, SleepStores

__all__ = ["NAME_BYTES", "MemoryBudget", "Sleepers", "Sleeping"]

#: What a series' name costs in memory, about: the name itself, its place in the index, when it was last touched.
NAME_BYTES: Final = 64
#: Beyond the budget's number of series this part of it goes to sleep at once, so that looking for them pays; no more
#: than ``_MOST`` (or twice a batch), so that no batch waits long.
_PART: Final = 64
_MOST: Final = 32_768
#: Batches to wait before trying again to put series to sleep where that failed.
_PATIENCE: Final = 100
_LIST = "sleepers.json"

_log = structlog.get_logger(__name__)


class MemoryBudget:
    """What the state of all series of a worker may take, in bytes: shared evenly by the partitions that it holds."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._holders: WeakSet[Sleepers] = WeakSet()

    def join(self, holder: Sleepers) -> None:
        """``holder`` has a share from now on, as long as it lives."""
        self._holders.add(holder)

    def leave(self, holder: Sleepers) -> None:
        """Its share goes to the others."""
        self._holders.discard(holder)

    @property
    def share(self) -> int:
        """Bytes for each holder."""
        return self.total // max(len(self._holders), 1)


@dataclass(frozen=True, slots=True)
class Sleeping:
    """What partitions need to put series to sleep: where, and from when on."""

    stores: SleepStores
    budget: MemoryBudget


class StateHolder(Protocol):
    """Where the state of awake series is: the processor."""

    @property
    def bytes_per_slot(self) -> int:
        """Memory that the state of one series takes."""
        ...

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``."""
        ...

    def extract(self, slots: IntArray) -> Mapping[str, SlotState]:
        """A copy of the state of ``slots`` by stage."""
        ...

    def insert(self, slots: IntArray, states: Mapping[str, SlotState], *, slept: bool) -> None:
        """Put it back; where it ``slept``, it may be of a plan before."""
        ...

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen."""
        ...

    @property
    def bytes_asleep(self) -> int:
        """Memory that series take although they sleep."""
        ...

    def doze(self, slots: IntArray, names: SeriesColumn) -> None:
        """The series of ``slots`` go to sleep; they are forgotten after this."""
        ...

    def wake(self, slots: IntArray, names: SeriesColumn) -> None:
        """These series were woken, their state was put back into ``slots``."""
        ...


class _Listed(msgspec.Struct, frozen=True):
    """What lies beside a checkpoint's files."""

    asleep: int
    layouts: list[RowLayout]


class Sleepers:
    """Keeps the awake series of one partition within its share of the budget.

    Guaranteed: verdicts are those of unlimited memory. A series is awake in ``index`` and its holder, asleep in the
    store, or was never seen. Between batches no more are awake than the share allows, but for those of the last batch,
    and where the store does not take them: they stay awake then, and :attr:`use` says why. Nothing is written or
    looked up before the first series has to sleep. Raises ``StorageUnavailableError`` where a series cannot be woken:
    nothing may go on without its state.
    """

    def __init__(self, index: SeriesIndex, sleeping: Sleeping, name: str) -> None:
        self._index, self._sleeping, self._name = index, sleeping, name
        self._rows = RowCodec()
        self._recency = Recency()
        self._store: SleepStore | None = None
        self._known: NDArray[np.bool_] | None = None
        self._asleep = self._woken = self._slept = 0
        self._trouble, self._wait = "", 0
        sleeping.budget.join(self)

    def limit(self, holder: StateHolder) -> int:
        """How many series may be awake between batches; at least 1."""
        share = self._sleeping.budget.share - holder.bytes_asleep
        return max(share // (holder.bytes_per_slot + NAME_BYTES), 1)

    def most_at_once(self, holder: StateHolder) -> int:
        """How many series a batch may have so that memory exceeds the share by a quarter at most (never fewer than
        64: batches have a price)."""
        return max(self.limit(holder) // 4, 64)

    @property
    def asleep(self) -> int:
        """How many series sleep."""
        return self._asleep

    def use(self, holder: StateHolder) -> MemoryUse:
        """How memory does."""
        return MemoryUse(
            awake=len(self._index),
            asleep=self._asleep,
            bytes_per_series=holder.bytes_per_slot + NAME_BYTES,
            woken=self._woken,
            put_to_sleep=self._slept,
            trouble=self._trouble,
        )

    def slots_of(self, holder: StateHolder, column: SeriesColumn) -> IntArray:
        """(n,) the slots of a batch's series, each with its state: those who slept are woken.

        Raises ``StorageUnavailableError``, or ``StateMismatchError`` for a row of another layout; new slots are free
        again then.
        """
        if self._store is None:
            return self._index.slots_of(column)
        self._know()
        slots = self._index.slots_of(column)
        known = self._know()
        fresh = np.unique(slots[~known[slots]])
        if len(fresh):
            holder.grow(self._index.capacity)
            try:
                self._bring_back(self._store, holder, fresh)
            except (StorageUnavailableError, StateMismatchError):
                holder.forget(fresh)
                self._index.release(fresh)
                raise
            known[fresh] = True
        return slots

    def sleeps(self, column: SeriesColumn) -> bool:
        """Whether the one series of ``column`` sleeps. Raises ``StorageUnavailableError``."""
        if self._store is None or self._index.find(column)[0] >= 0:
            return False
        return self._store.get(_keys(column))[0] is not None

    def rest(self, holder: StateHolder, slots: IntArray) -> None:
        """A batch of ``slots`` is done: where more series are awake than may be, those idle longest go to sleep."""
        awake, limit = len(self._index), self.limit(holder)
        if 2 * awake <= limit:
            return  # far from it: who is idle does not matter yet
        self._recency.touch(slots, self._index.capacity)
        self._wait = max(self._wait - 1, 0)
        if awake <= limit or self._wait:
            return
        excess = awake - (limit - limit // _PART)
        try:
            self._put_to_sleep(holder, min(excess, max(_MOST, 2 * len(slots))))
        except StorageUnavailableError as error:
            self._fail(str(error))
        else:
            self._recover()

    def checkpoint(self, folder: Path) -> list[Path]:
        """Write who sleeps at this instant into ``folder`` (made by this call); returns the files, none where nobody
        does. Raises ``StorageUnavailableError``."""
        if self._store is None or not self._asleep:
            return []
        files = self._store.checkpoint(folder)
        (folder / _LIST).write_bytes(msgspec.json.encode(_Listed(self._asleep, self._rows.layouts)))
        return [*files, folder / _LIST]

    def restore(self, folder: Path) -> None:
        """Let those sleep whom a checkpoint's files in ``folder`` hold, beside the awake series of the same snapshot.
        The rows may hold pickles: the files must have been checked against the snapshot's signature.

        Raises ``StorageUnavailableError``; nothing has changed then."""
        try:
            listed = msgspec.json.decode((folder / _LIST).read_bytes(), type=_Listed)
        except (OSError, msgspec.MsgspecError) as error:
            raise StorageUnavailableError(
                f"{folder} is no checkpoint of sleeping series: {error}.", remedy="An older snapshot is tried."
            ) from None
        store = self._sleeping.stores.open(self._name, folder)
        self.close()
        self._sleeping.budget.join(self)
        self._store, self._asleep = store, listed.asleep
        self._rows = RowCodec(listed.layouts)

    def close(self) -> None:
        """Give back the share of the budget and throw the store away."""
        self._sleeping.budget.leave(self)
        if self._store is not None:
            self._store.close()
        self._store, self._known, self._asleep = None, None, 0

    def _know(self) -> NDArray[np.bool_]:
        """(at least capacity,) which slots' series were looked up in the store, or never needed to be: at first all."""
        room = self._index.capacity
        if self._known is None:
            self._known = np.zeros(room, dtype=np.bool_)
            self._known[self._index.used()] = True
        if room > len(self._known):
            wider = np.zeros(max(room, 2 * len(self._known)), dtype=np.bool_)
            wider[: len(self._known)] = self._known
            self._known = wider
        return self._known

    def _bring_back(self, store: SleepStore, holder: StateHolder, fresh: IntArray) -> None:
        rows = store.get(_keys(self._index.names(fresh)))
        there = np.array([place for place, row in enumerate(rows) if row is not None], dtype=np.int64)
        for places, states in self._rows.decode([row for row in rows if row is not None]):
            holder.insert(fresh[there[places]], states, slept=True)
        holder.wake(fresh[there], self._index.names(fresh[there]))
        self._asleep -= len(there)
        self._woken += len(there)

    def _put_to_sleep(self, holder: StateHolder, count: int) -> None:
        if self._store is None:
            self._store = self._sleeping.stores.open(self._name)
        known = self._know()
        idle = self._recency.idle_longest(self._index.used(), count)
        rows = self._rows.encode(len(idle), holder.extract(idle))
        names = self._index.names(idle)
        self._store.put(_keys(names), rows)
        holder.doze(idle, names)
        holder.forget(idle)
        self._index.release(idle)
        known[idle] = False
        self._asleep += len(idle)
        self._slept += len(idle)

    def _fail(self, reason: str) -> None:
        self._wait = _PATIENCE
        if not self._trouble:
            _log.error("series stay awake beyond the memory budget", partition=self._name, reason=reason)
        self._trouble = reason

    def _recover(self) -> None:
        if self._trouble:
            _log.info("series can go to sleep again", partition=self._name)
        self._trouble = ""


def _keys(names: SeriesColumn) -> list[bytes]:
    names = names.packed()
    raw = names.data.tobytes()
    return [raw[at : at + size] for at, size in zip(names.at.tolist(), names.size.tolist(), strict=True)]
