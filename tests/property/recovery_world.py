"""One partition's world in memory: its log, its ledger, its snapshots, and owners that can be killed at any step."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import orjson

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.errors import NotFoundError
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.controls import Controls, ControlSource, publication
from oddtide.streams.envelope import Envelope
from oddtide.streams.folding import FoldCosts
from oddtide.streams.ledger import PartitionLedger
from oddtide.streams.owner import PartitionOwner, Services
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.sleeping import Sleeping
from oddtide.streams.ports import LoggedEvent, Toolkit
from oddtide.streams.progress import ProgressBoard
from oddtide.streams.snapshotting import SnapshotPolicy, Snapshots
from oddtide.streams.takeover import Takeover

T0 = 1_700_000_000_000
PLAN = StreamPlan("s", "t", detectors=(DetectorSpec("ewma", {"warm_up": 3}),), profile_every=7)
TOOLKIT = Toolkit(detector=partial(build_detector, families={}), monitors=lambda policy: None)  # type: ignore[arg-type, return-value]  # light only
BUILD = "b"


#: Records in a piece where pieces are joined.
_PIECE = 3


class KilledError(BaseException):
    """The process ended here."""


def log_of(count: int, holes: Sequence[int] = ()) -> list[Record]:
    """A few series of noise with spikes and bad records."""
    noise = np.random.default_rng(7).normal(0, 1, count)
    return [
        Record(i, T0 + i, None, b"{" if i % 11 == 5 else orjson.dumps({
            "series": f"s{i % 3}", "time": T0 + i, "value": 1e3 if i % 17 == 16 else float(noise[i]),
        }))
        for i in range(count)
        if i not in holes
    ]  # fmt: skip


class Store:
    """Snapshots in memory. ``kill`` ends the process before or after the next put; ``failing`` is a full disk."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.kill = ""
        self.failing: Exception | None = None
        self.read: list[str] = []

    def put(self, name: str, content: Sequence[bytes | memoryview]) -> tuple[str, str]:
        if self.failing is not None:
            raise self.failing
        if self.kill == "before":
            raise KilledError
        raw = b"".join(content)
        digest = hashlib.blake2b(raw, digest_size=32).hexdigest()
        self.blobs[f"{name}/{digest}"] = raw
        if self.kill == "after":
            raise KilledError
        return f"{name}/{digest}", digest

    def get(self, reference: str, digest: str) -> bytes:
        if reference not in self.blobs:
            raise NotFoundError(f"no {reference}.")
        self.read.append(reference)
        return self.blobs[reference]

    def references(self, name: str) -> list[str]:
        return sorted(reference for reference in self.blobs if reference.startswith(f"{name}/"))

    def delete(self, reference: str) -> None:
        self.blobs.pop(reference, None)


class NoArtifacts:
    def put(self, name: str, content: bytes) -> tuple[str, str]:
        raise AssertionError("nothing is stored here")

    def get(self, reference: str, digest: str) -> bytes:
        raise AssertionError("no model is in force here")


@dataclass
class World:
    """``log`` is what the partition holds; it may be cut from its beginning up to ``earliest``."""

    log: list[Record]
    earliest: int = 0
    committed: list[Outcome] = field(default_factory=list)
    store: Store = field(default_factory=Store)
    policy: SnapshotPolicy = field(default_factory=lambda: SnapshotPolicy(every_s=1e9, fold_s=1e9, keep=2))
    kill: str = ""
    ends: list[BaseException] = field(default_factory=list)
    breaks: list[BaseException] = field(default_factory=list)
    #: Records that are a batch of their own: of 1, each piece handed over is one; of more, pieces are joined.
    enough: int = 1
    board: ProgressBoard = field(default_factory=ProgressBoard)
    owner: PartitionOwner | None = None
    takeover: Takeover = field(init=False)
    now: float = 0.0
    fence: int = 0
    troubles: list[str] = field(default_factory=list)
    plan: StreamPlan = PLAN
    build: str = BUILD
    sleeping: Sleeping | None = None
    folder: Path | None = None
    clock: int = T0 * 10**6

    def __post_init__(self) -> None:
        self.controls = Controls()
        event = publication(self.plan, 1, by="ann", time="", settings={})
        self.controls.fold(LoggedEvent("pipelines", 0, 0, 0, "", Envelope("", "", ""), event))
        self.begin_process()

    def begin_process(self) -> None:
        """Another process: it remembers nothing."""
        source = ControlSource(self.controls.pipelines, NoArtifacts())
        around = Snapshots(
            self.store,
            self.policy,
            "app",
            build=self.build,
            trouble=self.troubles.append,
            clock=lambda: self.now,
            folder=self.folder,
        )
        self.takeover = Takeover(around, source, lambda stream: self.plan, self._fresh)
        self.owner, self.kill, self.store.kill = None, "", ""

    def _fresh(self, plan: StreamPlan, partition: int) -> PartitionProcessor:
        return PartitionProcessor(plan, TOOLKIT, application="app", partition=partition, sleeping=self.sleeping)

    async def take(self, looked_at: int = 10**9) -> PartitionOwner:
        """A new ownership, which first looks at the last ``looked_at`` records of the ledger."""
        kept = self.owner.processor if self.owner and self.owner.keepable else None
        if self.owner is not None:
            self.owner.close()
        self.fence += 1
        while True:
            found = await self.takeover.find(self.plan, 0, self.ledger(looked_at), self.earliest, kept)
            if found is not None:
                break
            looked_at *= 16
        services = Services(
            partial(self.commit, self.fence), self._seek, self._lost, self._broken, lambda: self.end, self._earliest,
            self.controls, self.takeover.source, self.board, self.build, FoldCosts(), lambda: 0.0, self.enough,
            lambda: self.clock, self._at_end,
        )  # fmt: skip
        self.begun = found.beginning
        self.owner = PartitionOwner(found.processor, found.ledger, found.beginning, found.snapshots, services)
        self.snapshots = found.snapshots
        return self.owner

    def ledger(self, looked_at: int = 10**9) -> PartitionLedger:
        batches = self.batches
        found = PartitionLedger(whole=looked_at >= len(batches))
        for batch in batches[-looked_at:]:
            found.take(batch)
        return found

    @property
    def batches(self) -> list[BatchCompleted]:
        return [msgspec.structs.replace(outcome.completed, build=BUILD) for outcome in self.committed]

    @property
    def end(self) -> int:
        return self.log[-1].offset + 1

    async def commit(self, fence: int, outcomes: list[Outcome]) -> None:
        if fence != self.fence:
            raise RuntimeError("fenced")
        if self.kill == "before commit":
            raise KilledError
        self.committed += outcomes
        if self.kill == "after commit":
            raise KilledError

    async def _seek(self, offset: int) -> None: ...

    def _lost(self, error: BaseException) -> None:
        self.ends.append(error)

    def _broken(self, error: BaseException) -> None:
        self.breaks.append(error)

    async def _at_end(self) -> bool:
        return True  # what is handed over later had not been written yet

    async def _earliest(self) -> int:
        return self.earliest

    async def feed(self, count: int) -> None:
        """Hand the owner the next records from its position on, as its consumer would, holes and cuts included."""
        assert self.owner is not None
        start = max(self.owner.processor.position, self.earliest)
        records = [record for record in self.log if record.offset >= start][:count]
        if records:
            await self._hand_over(records)
            if self.owner.processor.position < records[0].offset:  # it asked for them again
                await self._hand_over(records)

    async def _hand_over(self, records: list[Record]) -> None:
        assert self.owner is not None
        if self.enough == 1:
            await self.owner.feed(records, lambda: None)
            return
        for start in range(0, len(records), _PIECE):
            await self.owner.feed(records[start : start + _PIECE], lambda: None)
            await asyncio.sleep(0)
        await self.owner.settle(10)

    async def snapshot(self) -> None:
        """Take one now and let it be named."""
        assert self.owner is not None
        self.snapshots.urge()
        self.now += 1e6
        await self.owner.tick()
        await self.snapshots.finish()
        await self.owner.tick()
        await self.owner.settle(10)
        await self.snapshots.finish()

    async def drain(self) -> None:
        """Read all that there is."""
        assert self.owner is not None
        while self.owner.processor.position < self.end and not self.owner.dead:
            await self.feed(1_000)
        await self.owner.settle(10)

    async def die(self) -> None:
        """Let what is in flight end as it must, and forget the process."""
        if self.owner is not None:
            await asyncio.sleep(0)
            self.owner.close()
            await self.snapshots.finish()
            for task in (self.snapshots._task, self.snapshots._sweeping):
                if task is not None and task.done() and not task.cancelled():
                    task.exception()  # killed: seen
        self.begin_process()


def undisturbed(log: Sequence[Record], plan: StreamPlan = PLAN) -> PartitionProcessor:
    """A processor that has folded all of it in peace."""
    processor = PartitionProcessor(plan, TOOLKIT, application="app", partition=0)
    processor.fold(log)
    return processor


def pointers(world: World) -> deque[int]:
    """The offsets of the snapshots that the ledger names, each once."""
    return deque(pointer.offset for pointer in world.ledger().pointers)
