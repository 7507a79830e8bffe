"""One ownership of one partition: from the fence that begins it to the one that ends it.

The truth is the ledger: its last committed record says how far the partition's results are published and their
running hash. What lies before that position is folded *in silence* (state only), what lies after it is folded,
published and committed, in order, in one transaction a batch. Any error of the producer ends the ownership.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import structlog
from aiokafka.errors import KafkaError

from oddtide.domain.errors import FoldError, StorageUnavailableError
from oddtide.streams.codecs.decoded import RecordLike
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.committing import MAX_PENDING, Acknowledge, Commit, CommitQueue
from oddtide.streams.controls.taking import ControlTaker
from oddtide.streams.folding import FoldRunner
from oddtide.streams.history import Loss, opening
from oddtide.streams.idling import Idling
from oddtide.streams.inbox import MARKERS, Inbox
from oddtide.streams.ledger import PartitionLedger
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.running_hash import hash_text
from oddtide.streams.restoring import Beginning, Restoration, SnapshotRefusedError
from oddtide.streams.services import Services
from oddtide.streams.snapshotting import Snapshotter
from oddtide.streams.stepping import Step

__all__ = ["MAX_PENDING", "Acknowledge", "Commit", "PartitionOwner", "Services"]

#: What a new ownership may get over.
_PASSING = (SnapshotRefusedError, StorageUnavailableError, KafkaError)

_log = structlog.get_logger(__name__)


class PartitionOwner:
    """Folds and commits the batches of one partition, in order. ``processor`` holds the state that ``beginning`` speaks
    of."""

    def __init__(
        self,
        processor: PartitionProcessor,
        ledger: PartitionLedger,
        beginning: Beginning,
        snapshots: Snapshotter,
        services: Services,
    ) -> None:
        last = ledger.last
        self.processor = processor
        self.dead = False
        self._torn = False  # whether the state may be half changed: nothing may come of it any more
        self._services, self._snapshots = services, snapshots
        self._loss = beginning.loss
        self._committed = last.to_offset if last else processor.position
        self._epoch, self._time = (last.epoch, last.time) if last else (0, "")
        self._runner = FoldRunner(processor, services.costs)
        self._restoration = Restoration(processor, ledger, beginning, services.build, self._folded)
        self._taker = ControlTaker(processor, services.controls, services.source, self._model_trouble)
        self._step = Step(services.seek)
        self._idling = Idling(processor, services.clock, services.at_end)
        self._last_put = -math.inf
        self._folding = asyncio.Lock()
        self._queue = CommitQueue(services.commit, stamp=self._stamp, committed=self._done, failed=self._die)
        self._inbox = Inbox(
            self._take, rest=self._rest, most=lambda: self.processor.most_at_once, failed=self._failed,
            enough=services.enough,
        )  # fmt: skip
        self._restoring = processor.position < self._committed
        if self._restoring:
            plan = processor.plan
            services.progress.restoring(plan.name, plan.topic, processor.partition, processor.position, self._committed)
        self._show("restoring" if self._restoring else "running")
        differs = last is not None and hash_text(processor.hash) != last.hash
        if not self._restoring and (self._loss or differs or self._restoration.trailing):
            self._restored()

    @property
    def committed(self) -> int:
        """The position that the ledger holds."""
        return self._committed

    @property
    def keepable(self) -> bool:
        """Whether the state in memory may go on under a new ownership, if the ledger agrees. Not while a batch is
        being folded into it: its position and hash move only at the end of that."""
        return not (self._restoring or self._torn or self._folding.locked()) and self._queue.empty

    async def feed(self, records: Sequence[RecordLike], acknowledge: Acknowledge) -> None:
        """Take a fetched batch. Returns when there is room for another; it is acknowledged when it is committed.

        Where it cannot be folded, the ownership ends and its surroundings are told."""
        await self._inbox.put(RecordBlock.of(records), acknowledge)

    async def _take(self, records: RecordBlock, acknowledge: Acknowledge) -> None:
        async with self._folding:
            if self.dead:
                return
            try:
                await self._feed(records, acknowledge)
            except BaseException:
                self._torn = True
                raise

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, _PASSING):
            self._die(error)
        elif not self.dead:
            self.close()
            self._services.broken(error)

    async def _feed(self, records: RecordBlock, acknowledge: Acknowledge) -> None:
        records = records.from_offset(self.processor.position)
        if records and not await self._step.fits(records.first, self.processor.position):
            acknowledge()
            return
        if records:
            await self._check_gap(records.first)
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

    async def _check_gap(self, first: int) -> None:
        """Tell what retention cut away under us from holes, which are ordinary."""
        position = self.processor.position
        if self._loss is not None or first - position <= MARKERS:
            return
        earliest = await self._services.earliest()
        if earliest <= position:
            return
        if self._restoring:
            raise SnapshotRefusedError("", f"The log was cut to {earliest} while the state was rebuilt to {position}.")
        reason = "The state is whole; what was to come was cut away."
        self._open_epoch(Loss(position, min(earliest, first), min(earliest, first) - position, -1, reason))

    def _restored(self) -> None:
        self._restoration.finish()
        plan = self.processor.plan
        self._services.progress.restored(plan.topic, self.processor.partition, proven=self._restoration.proven)
        self._restoring = False
        if self._loss is not None:
            self._open_epoch(self._loss)
            self._loss = None
        self._show("running")

    def _open_epoch(self, loss: Loss) -> None:
        self._epoch += 1
        self._put(opening(self.processor, loss, self._epoch), lambda: None)
        self._snapshots.urge()  # no earlier one will do from here on

    async def _fold(self, records: RecordBlock, acknowledge: Acknowledge) -> None:
        await self._queue.room()
        if self.dead:
            return
        await self._taker.take_up(records.first)
        self._put(await self._folded(records), acknowledge)
        if self._snapshots.due():
            await self._snapshots.take()
        await asyncio.sleep(0)  # let the commit and others have their turn

    async def _folded(self, records: RecordBlock) -> Outcome:
        began = time.perf_counter()
        try:
            return await self._runner.fold(records)
        except StorageUnavailableError:
            raise  # a series that sleeps cannot be woken: no bug, and a new owner may do better
        except Exception as error:
            plan = self.processor.plan
            raise FoldError(
                f"{plan.topic}/{self.processor.partition}: the records {records.first} to {records.last} cannot be "
                f"folded under pipeline {plan.version}: {error!r}.",
                remedy="This is a bug in a detector or in the pipeline, whatever the records hold; the log above has "
                "the traceback. Publish a pipeline without that detector, or install a version that mends it.",
            ) from error
        finally:
            seconds = time.perf_counter() - began
            self._snapshots.folded(seconds)
            self._services.progress.folded(self.processor.plan.name, len(records), seconds)

    def _put(self, outcome: Outcome, acknowledge: Acknowledge) -> None:
        completed = outcome.completed
        stamped = msgspec.structs.replace(completed, epoch=self._epoch, time=completed.time or self._time)
        self._time, self._last_put = stamped.time, time.monotonic()
        self._queue.put(replace(outcome, completed=stamped), acknowledge)

    def _rest(self) -> float | None:
        """In how many seconds a small batch may be folded: when everything is committed, and no sooner after the last
        one than the worker's pace allows."""
        if self._restoring:
            return 0.0
        return self._last_put + self._services.pace() - time.monotonic() if self._queue.empty else None

    def _model_trouble(self, reason: str) -> None:
        self._services.progress.role("ingest", "degraded" if reason else "running", reason)

    def _stamp(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Let the last record of a transaction name the newest snapshot."""
        last = outcomes[-1]
        pointer = self._snapshots.for_record(last.completed.to_offset)
        named = replace(last, completed=msgspec.structs.replace(last.completed, snapshot=pointer))
        return [*outcomes[:-1], named]

    def _done(self, outcomes: list[Outcome], seconds: float) -> None:
        for outcome in outcomes:
            self._committed = outcome.completed.to_offset
            self._services.progress.batch(
                outcome.completed, seconds=seconds, end=self._services.highwater(), series=self.processor.series,
                memory=self.processor.memory,
            )  # fmt: skip
        self._snapshots.was_named(outcomes[-1].completed.snapshot)
        self._inbox.look()

    async def tick(self) -> None:
        """Call it once a second: takes and names snapshots also where nothing arrives, and lets time pass there."""
        if self.dead or self._restoring or self._folding.locked():
            return
        async with self._folding:
            if self._snapshots.due():
                await self._snapshots.take()
            self._name_snapshot()
            if self._queue.empty and self._inbox.empty:
                await self._let_time_pass()

    async def _let_time_pass(self) -> None:
        control = await self._idling.due()
        if control is None or self.dead or not self._inbox.empty:
            return
        try:
            await asyncio.to_thread(self.processor.apply, control)  # of a million series at once it takes long
            outcome = self.processor.mark()
        except BaseException:
            self._torn = True
            raise
        if not self.dead:
            self._put(outcome, lambda: None)

    def _name_snapshot(self) -> None:
        """Name a snapshot in a record of its own, where no other is on its way."""
        if self._queue.empty and self._snapshots.ready is not None and not self.dead:
            self._put(self.processor.mark(), lambda: None)

    async def settle(self, timeout_s: float) -> None:
        """Wait until everything taken is folded and committed, as long as ``timeout_s`` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._inbox.emptied()
                async with self._folding:
                    await self._queue.drained()

    async def part(self, timeout_s: float) -> None:
        """Begin no further batch (whoever owns the partition next fetches those), settle, and leave a snapshot behind,
        where that takes less than the next owner would fold again; within ``timeout_s``."""
        began = time.monotonic()
        self._inbox.close()
        await self.settle(timeout_s)
        if self.dead or self._restoring or not self._queue.empty:
            return
        try:
            async with asyncio.timeout(timeout_s - (time.monotonic() - began)):
                await self._last_snapshot()
        except TimeoutError:
            _log.info(
                "no time for a last snapshot", topic=self.processor.plan.topic, partition=self.processor.partition
            )

    async def _last_snapshot(self) -> None:
        await self._snapshots.finish()
        async with self._folding:
            if self._snapshots.worthwhile:
                await self._snapshots.take()
        await self._snapshots.finish()
        self._name_snapshot()
        await self._queue.drained()

    def close(self) -> None:
        """End the ownership: nothing is folded or committed any more."""
        self.dead = self._runner.closed = True
        self._inbox.close()
        self._queue.close()

    def _die(self, error: BaseException) -> None:
        if self.dead:
            return  # a batch that outlived its ownership: whoever ended that knows
        self.close()
        self._services.lost(error)

    def _show(self, state: Any) -> None:
        plan, last = self.processor.plan, self.processor
        self._services.progress.place(
            plan.name, plan.topic, last.partition, state, position=last.position, end=self._services.highwater(),
            series=last.series, memory=last.memory,
        )  # fmt: skip
