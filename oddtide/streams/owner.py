"""One ownership of one partition: from the fence that begins it to the one that ends it.

The truth is the ledger: its last committed record says how far the partition's results are published and their
running hash. What lies before that position is folded *in silence* (state only), what lies after it is folded,
published and committed, in order, in one transaction a batch. Any error of the producer ends the ownership.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from oddtide.streams.codecs.decoded import RecordLike
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.controls import Controls, ControlSource
from oddtide.streams.controls.taking import ControlTaker
from oddtide.streams.folding import FoldRunner
from oddtide.streams.ledger import PartitionLedger
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.running_hash import hash_text
from oddtide.streams.progress import ProgressBoard
from oddtide.streams.restoring import Restoration

__all__ = ["Acknowledge", "Commit", "PartitionOwner", "Services"]

Acknowledge = Callable[[], None]
Commit = Callable[[list[Outcome]], Awaitable[None]]

#: Batches folded but not yet committed, at most: what bounds memory when Kafka is slow to take results.
MAX_PENDING = 4
COMMIT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Services:
    """What an owner needs from its surroundings. ``seek`` asks for the records from an offset on again; ``lost`` is
    called once when the ownership ended by an error; ``highwater`` is the partition's end as last fetched; ``controls``
    says what is due, ``source`` has what that needs."""

    commit: Commit
    seek: Callable[[int], Awaitable[None]]
    lost: Callable[[BaseException], None]
    highwater: Callable[[], int]
    controls: Controls
    source: ControlSource
    progress: ProgressBoard
    build: str


class PartitionOwner:
    """Folds and commits the batches of one partition, in order."""

    def __init__(self, processor: PartitionProcessor, ledger: PartitionLedger, start: int, services: Services) -> None:
        self.processor = processor
        self._runner = FoldRunner(processor)
        self.dead = False
        self._services = services
        self._committed = ledger.last.to_offset if ledger.last else processor.position
        self._restoration = Restoration(processor, self._runner, ledger, start, services.build)
        self._resync: tuple[int, int] | None = (-1, -1)
        self._taker = ControlTaker(processor, services.controls, services.source, self._model_trouble)
        self._pending: list[tuple[Outcome, Acknowledge]] = []
        self._wake, self._room, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._feeding = self._committing = False
        self._restoring = processor.position < self._committed
        self._show("restoring" if self._restoring else "running")
        if not self._restoring and ledger.last is not None and hash_text(processor.hash) != ledger.last.hash:
            self._restored()  # nothing that it accounts for is in the log any more: go on from its word
        self._task = asyncio.create_task(self._run())

    @property
    def committed(self) -> int:
        """The position that the ledger holds."""
        return self._committed

    @property
    def keepable(self) -> bool:
        """Whether the state in memory may go on under a new ownership, if the ledger agrees. Not while a batch is
        being folded into it: its position and hash move only at the end of that."""
        return not self._restoring and not self._pending and not self._feeding

    async def feed(self, records: Sequence[RecordLike], acknowledge: Acknowledge) -> None:
        """Take a fetched batch. Returns when it is folded; it is acknowledged when it is committed."""
        if self.dead:
            return
        self._feeding = True
        self._idle.clear()
        try:
            await self._feed(RecordBlock.of(records), acknowledge)
        finally:
            self._feeding = False
            self._rest()

    async def _feed(self, records: RecordBlock, acknowledge: Acknowledge) -> None:
        records = records.from_offset(self.processor.position)
        if records and await self._out_of_step(records.first):
            acknowledge()
            return
        quiet = records.before(self._committed if self._restoring else 0)
        if quiet:
            await self._restoration.fold(quiet, partial(self._services.source.apply_soon, self.processor))
            self._show("restoring")
        live = records[len(quiet) :]
        if self._restoring and (live or self.processor.position >= self._committed):
            self._restored()
        if not live:
            acknowledge()
            return
        await self._fold(live, acknowledge)

    async def _out_of_step(self, first: int) -> bool:
        """Whether a batch begins beyond the position because it was queued before a seek. The same gap twice is a
        hole in the log, which is ordinary (compaction, transaction markers)."""
        gap = (self.processor.position, first)
        if self._resync is None or first == gap[0] or self._resync == gap:
            self._resync = None
            return False
        self._resync = gap
        await self._services.seek(gap[0])
        return True

    def _restored(self) -> None:
        self._restoration.finish()
        self._restoring = False
        self._show("running")

    async def _fold(self, records: RecordBlock, acknowledge: Acknowledge) -> None:
        while len(self._pending) >= MAX_PENDING and not self.dead:
            self._room.clear()
            await self._room.wait()
        if self.dead:
            return
        await self._taker.take_up(records.first)
        outcome = await self._runner.fold(records)
        self._pending.append((outcome, acknowledge))
        self._wake.set()
        await asyncio.sleep(0)  # let the commit and others have their turn

    def _model_trouble(self, reason: str) -> None:
        self._services.progress.role("ingest", "degraded" if reason else "running", reason)

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._commit_pending()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._die(error)

    async def _commit_pending(self) -> None:
        work, self._pending = self._pending, []
        self._committing = True
        self._room.set()
        began = time.perf_counter()
        await asyncio.wait_for(self._services.commit([outcome for outcome, _ in work]), COMMIT_TIMEOUT_S)
        seconds = (time.perf_counter() - began) / len(work)
        for outcome, acknowledge in work:
            self._committed = outcome.completed.to_offset
            self._services.progress.batch(
                outcome.completed, seconds=seconds, end=self._services.highwater(), series=self.processor.series
            )
            acknowledge()
        self._committing = False
        self._rest()

    def _rest(self) -> None:
        if self.dead or not (self._feeding or self._pending or self._committing):
            self._idle.set()

    async def settle(self, timeout_s: float) -> None:
        """Wait until everything taken is folded and committed, as long as ``timeout_s`` at most."""
        waiting = asyncio.ensure_future(self._idle.wait())
        await asyncio.wait({waiting}, timeout=timeout_s)
        waiting.cancel()

    def close(self) -> None:
        """End the ownership: nothing is folded or committed any more."""
        self.dead = True
        self._room.set()
        self._task.cancel()

    def _die(self, error: BaseException) -> None:
        self.dead = True
        self._room.set()
        self._idle.set()
        self._services.lost(error)

    def _show(self, state: Any) -> None:
        plan, last = self.processor.plan, self.processor
        self._services.progress.place(
            plan.name, plan.topic, last.partition, state, position=last.position, end=self._services.highwater(),
            series=last.series,
        )  # fmt: skip
