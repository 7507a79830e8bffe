"""Batches through Faust: one message per (partition, fetched batch), and positions that are not the group's.

Faust hands events over one at a time, at a task's cost each. The transport here hands an agent one message per
partition and fetched batch; its value is the list of records, or for an app with ``blocks`` a ``RecordBlock``, its
offset the last one's. An ordinary
``@app.agent`` then gets batches. Where an app has a *position source*, every seek goes to the position that it
names (the ledger's, a read model's) and the group's committed offsets only serve lag displays.

This module and, for aiokafka's fetcher, :mod:`oddtide.streams.fetching` are the places that lean on private parts of
Faust and aiokafka; these are all of them:

- ``Consumer.getmany``, ``_wait_next_records``, ``_add_gap``, ``_new_offset``, ``_acked``, ``_acked_index`` and
  ``_buffered_partitions`` carry the batches, ``on_buffer_drop`` and ``_get_active_partitions`` say who has room for
  them, ``_read_offset`` is what Faust believes to have handed over;
- ``Consumer.highwater`` asserts that the partition is assigned;
- ``Consumer.seek_to_committed`` is called by every seek (``perform_seek``);
- ``AIOKafkaConsumerThread._create_worker_consumer`` makes the client, whose ``_isolation_level``,
  ``_fetch_max_bytes`` and ``_max_partition_fetch_bytes`` are set before it starts, since Faust reads uncommitted
  records and too few; ``on_start``, ``close`` and ``on_thread_stop`` are its beginning and end (see also
  :mod:`oddtide.streams.membership`), ``_fetch_records`` asks it; ``_close_thread_loop_on_stop`` ends its event loop;
- ``AIOKafkaConsumer._fetcher`` gets a class of ours and its ``_client`` a wrapper, so that after
  ``Fetcher._proc_fetch_request`` each ``FetchResult._partition_records`` in ``_records`` makes blocks;
  ``_get_actions_per_node`` makes the requests and puts ``_fetch_max_wait_ms`` into them;
  ``PartitionRecords._unpack_records``, ``_records_iterator``, ``_consume_aborted_up_to``, ``ControlRecord``,
  ``record.util.calc_crc32c`` and ``aiokafka.codec`` are what it makes them with;
- ``App._new_transport`` plugs it in;
- ``aiokafka.producer.sender.BACKOFF_OVERRIDE`` is how long a producer waits between two transactions.
- in :mod:`oddtide.streams.transactions`, ``AIOKafkaProducer._txn_manager.wait_for_transaction_end`` and
  ``_message_accumulator._batches`` tell what nobody would look at after a failure.

``tests/integration/test_transport.py`` and ``tests/unit/test_private_parts.py`` hold them to it; the versions are
pinned in ``pyproject.toml``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeAlias, cast

import aiokafka
import aiokafka.producer.sender as sender
import faust
import structlog
import uvloop
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from oddtide.streams.assignor import forget_what_was_held
from oddtide.streams.ending import closed_within
from oddtide.streams.fetching import fetch_blocks
from oddtide.streams.membership import leave_at_end, watch

__all__ = ["BatchApp", "PositionSource", "quicken_transactions"]

#: Where to resume, as next offsets, for those of the assigned partitions that it knows.
PositionSource: TypeAlias = Callable[[set[TP]], Awaitable[Mapping[TP, int]]]

_TRANSACTION_PAUSE_S = 0.002
#: While all buffers are full: how long until it is asked whether a rebalance has made an end of that.
_LOOK_AGAIN_S = 1.0
#: What one request fetches at most, of a partition and in all, where blocks are handed over: enough for batches of
#: 15,000 readings when a worker is behind. As much again may wait in blocks that are not folded yet.
_PARTITION_BYTES = 2 << 20
_FETCH_BYTES = 8 << 20
#: How long a consumer that stops tries to commit, then to leave its group (seconds). Without Kafka aiokafka would try
#: for ever, and in the middle of a rebalance wait for its end.
_LAST_COMMIT_S = 2.0
_LEAVE_S = 5.0

_log = structlog.get_logger(__name__)


def quicken_transactions() -> None:
    """Let aiokafka wait 2 ms instead of 20 between two transactions of one producer (commit p50 23 → 1.7 ms)."""
    sender.BACKOFF_OVERRIDE = _TRANSACTION_PAUSE_S


class _CommittedReads(driver.AIOKafkaConsumerThread):
    """Reads committed records only: what an aborted transaction left behind never reaches an agent. Leaves its group
    when it stops, and ends the app where another process took its place in it."""

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        if _hands_blocks(self.app):
            consumer._max_partition_fetch_bytes, consumer._fetch_max_bytes = _PARTITION_BYTES, _FETCH_BYTES
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        if _hands_blocks(self.app):
            fetch_blocks(self._ensure_consumer(), self.app.conf.broker_max_poll_records)
        app, loop = self.app, self.app.loop
        watch(
            self._consumer,
            out=lambda: forget_what_was_held(app.assignor),
            fenced=lambda error: _crash(app, loop, error),
        )

    async def stop(self) -> None:
        """Stop, also where a crash has ended the thread already: mode would print a traceback of its own then, which
        hides the reason for the crash."""
        try:
            await super().stop()
        except RuntimeError:
            if not self.thread_loop.is_closed():
                raise

    def set_shutdown(self) -> None:
        """Tell the app that the thread has ended; after a crash its event loop may be closed by then, and a traceback
        would hide the reason for the crash."""
        try:
            super().set_shutdown()
        except RuntimeError:
            if not self.parent_loop.is_closed():
                raise

    def close(self) -> None:
        """Do nothing: Faust asks for it where a rebalance meets an app that stops, and would close the client from
        another thread than the one it lives in. A commit under way then found no coordinator for ever, which the last
        commit waited for, and the group was never left. Stopping closes the client anyway."""

    async def on_thread_stop(self) -> None:
        leave_at_end(self._consumer)
        if not await closed_within(_LEAVE_S, super().on_thread_stop()):
            _log.warning("left a group without a word: Kafka notices when the session ends", group=self.app.conf.id)

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> Any:
        limit = None if _hands_blocks(self.app) else max_records  # aiokafka would count blocks
        return await super()._fetch_records(consumer, active_partitions, timeout=timeout, max_records=limit)


def _crash(app: Any, loop: asyncio.AbstractEventLoop, error: Exception) -> None:
    """End ``app`` from another thread; nothing happens where its event loop has ended already."""
    if not loop.is_closed():
        asyncio.run_coroutine_threadsafe(app.crash(error), loop)


class _BatchConsumer(driver.Consumer):
    """Faust's consumer with batches for messages and offsets acknowledged per batch."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._drained = asyncio.Event()

    async def on_stop(self) -> None:
        """Commit once more, for lag displays, if Kafka takes it."""
        await closed_within(_LAST_COMMIT_S, super().on_stop())

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        thread: Any = _CommittedReads(self, loop=self.loop, thread_loop=uvloop.new_event_loop(), beacon=self.beacon)
        thread._close_thread_loop_on_stop = True  # as it does with one of its own
        return cast("driver.AIOKafkaConsumerThread", thread)

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._drained.set()

    async def _room(self) -> None:
        """While batches enough of every partition wait for their agent, Faust looks again after a second. By then they
        were folded long ago, and a worker that was behind had stood still."""
        while self.flow_active and self._buffered_partitions and not self._get_active_partitions():
            if self.should_stop:
                return
            self._drained.clear()
            await self.wait(self._drained.wait(), timeout=_LOOK_AGAIN_S)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's signature
        await self._room()
        records, active = cast("tuple[Any, Any]", await self._wait_next_records(timeout))
        if records is None or self.should_stop:
            return
        generation = self.app.consumer_generation_id
        if not self.flow_active:
            await self._seek_again()
            return
        for source, batch in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            tp = TP(source.topic, source.partition)
            if batch and (active is None or tp in active or tp in self._buffered_partitions):
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                for part in self._parts_of(tp, batch):
                    yield tp, _message(tp, part, generation)

    def _parts_of(self, tp: TP, batch: Any) -> Iterator[Any]:
        """A list as it is; blocks one by one. Faust passes over what it has handed over before, by an offset that it
        writes down *after* each message: a seek made while blocks are handed over would be undone by the next one, and
        what was asked for again never come. Whoever takes blocks knows what it has."""
        if not _hands_blocks(self.app):
            yield batch
            return
        for block in batch:
            self._read_offset.pop(tp, None)
            yield block

    def highwater(self, tp: TP) -> int:
        """The end of a partition as last fetched; 0 where nothing was fetched, or where the partition is not ours any
        more: a rebalance may come between a fetch and the question, and aiokafka's assertion would end the worker."""
        try:
            return super().highwater(tp) or 0
        except (AssertionError, AttributeError, KeyError):
            return 0

    async def _seek_again(self) -> None:
        try:
            await self.perform_seek()
        except Exception as error:  # a rebalance is under way; the seek after it counts
            self.log.info("seek while the flow is stopped: %r", error)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Every assigned partition is sought: to its position, else to the group's commit, else to its oldest record.
        One left where it is would lose what was fetched from it while the flow was stopped."""
        committed = await super().seek_to_committed()
        offsets = {TP(*tp): offset for tp, offset in committed.items() if offset is not None and offset >= 0}
        assigned = {TP(tp.topic, tp.partition) for tp in self.assignment()}
        positions = self.app.positions if isinstance(self.app, BatchApp) else None
        own = dict(await positions(assigned)) if positions is not None else {}
        nowhere = assigned - set(offsets) - set(own)
        if nowhere:
            oldest = await self.earliest_offsets(*nowhere)
            own |= {TP(*tp): offset for tp, offset in oldest.items()}
        if own:
            await self.seek_wait(own)
        return {**offsets, **own}

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """No gaps to track: acknowledgements are per batch."""

    def _new_offset(self, tp: TP) -> int | None:
        """Batches of a partition are acknowledged in order, so the newest one will do."""
        acked = self._acked[tp]
        if not acked:
            return None
        newest = max(acked) + 1
        acked.clear()
        self._acked_index[tp].clear()
        return int(newest)


def _hands_blocks(app: Any) -> bool:
    return isinstance(app, BatchApp) and app.blocks


def _message(tp: TP, batch: Any, generation: int) -> ConsumerMessage:
    last = batch[-1]
    return ConsumerMessage(
        tp.topic, tp.partition, last.offset, last.timestamp / 1000.0, 0, None, None, batch, None, 0, 0, tp,
        generation_id=generation,
    )  # fmt: skip


class _BatchTransport(driver.Transport):
    Consumer = _BatchConsumer


class BatchApp(faust.App):
    """A Faust app whose agents are handed batches: blocks of records where ``blocks`` is set, else lists of them.
    ``positions`` says where to resume, or None for the group's committed offsets."""

    positions: PositionSource | None = None
    blocks: bool = False

    def _new_transport(self) -> driver.Transport:
        return _BatchTransport(self.conf.broker_consumer, self)
