"""Fetching blocks of records: what aiokafka's consumer fetched, handed over without an object per record.

aiokafka keeps its own work: requests, positions, errors, group. Only where it would make records of a response's bytes
(``PartitionRecords``) a subclass makes blocks, with aiokafka's rules for checksums, control batches, aborted
transactions and positions. What it leans on is named in :mod:`oddtide.streams.transport`.

A damaged batch is never passed over: what lies before it is handed over, then ``CorruptRecordException`` ends the
worker, again at each start until the log is mended or an operator moves the position beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aiokafka
import numpy as np
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from numpy.typing import NDArray

from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.framing import FetchedPiece
from oddtide.streams.codecs.record_block import RecordBlock

__all__ = ["BlockRecords", "fetch_blocks"]

#: Bytes that were fetched and are not asked for yet, of all partitions together: beyond it nothing more is fetched.
MOST_WAITING = 64 << 20

#: How long the broker may keep a request that leaves partitions out because records of theirs wait to be folded. There
#: is one request at a time, and when those are folded it has to come back before more are asked for: with Faust's 1.5 s
#: a partition that was behind stood still as long as that, each time, once the others were at their end.
_BRIEF_WAIT_MS = 20

#: Kafka's own word for a record without a timestamp (message format v0).
_NO_TIMESTAMP = -1


class BlockRecords(PartitionRecords):
    """What was fetched of one partition, as blocks of ``limit`` records at most."""

    def __init__(self, raw: bytes, old: PartitionRecords, limit: int) -> None:
        super().__init__(
            old._tp, MemoryRecords(raw), old._aborted_transactions, old.next_fetch_offset, None, None, old._check_crcs,
            old._isolation_level,
        )  # fmt: skip
        # A generator that never ran and its object hold each other, and here 2 MiB: the collector looks seldom, and a
        # hundred such fetches lay about.
        replaced: Any = old
        replaced._records_iterator = None
        self._raw = raw
        self._limit = limit
        self.nbytes = len(raw)

    def _unpack_records(self) -> Iterator[RecordBlock]:
        piece = FetchedPiece(self._raw)
        begin = self.next_fetch_offset
        if piece.old_format:
            block, end = self._of_old_format()
        else:
            wanted, end = self._wanted(piece)
            block, rest = piece.records(wanted)
            end = end if rest is None else rest
        block = block.from_offset(begin)
        size = -(-len(block) // max(-(-len(block) // self._limit), 1))  # parts of equal size: no small one at the end
        for start in range(0, len(block), max(size, 1)):
            part = block[start : start + size]
            self.next_fetch_offset = part.last + 1
            yield part
        # The end of the last batch, whose last records may have been compacted away: else it would be fetched again.
        self.next_fetch_offset = end

    def _of_old_format(self) -> tuple[RecordBlock, int]:
        records = [
            Record(
                each.offset, _NO_TIMESTAMP if each.timestamp is None else each.timestamp, each.key, each.value,
                each.headers,
            )
            for each in super()._unpack_records()
        ]  # fmt: skip
        return RecordBlock.of(records), self.next_fetch_offset

    def _wanted(self, piece: FetchedPiece) -> tuple[NDArray[np.bool_], int]:
        """Which batches' records are to be handed over, and the offset after the last one looked at."""
        stop = piece.intact(checksums=self._check_crcs)
        if not stop and len(piece):
            raise CorruptRecordException(f"{self._tp}: the batch from offset {piece[0].base} on is damaged")
        # What lies before a damaged batch is handed over; fetched again, the damaged one comes first.
        wanted = np.arange(len(piece)) < stop
        for place in piece.special(stop):
            wanted[place] = not self._taken_back(place, piece) and not piece[place].control
        return wanted, piece[stop - 1].next if stop else self.next_fetch_offset

    def _taken_back(self, place: int, piece: FetchedPiece) -> bool:
        """Whether a batch belongs to an aborted transaction: aiokafka's rules, on our batches."""
        batch = piece[place]
        if self._isolation_level != READ_COMMITTED:
            return False
        self._consume_aborted_up_to(batch.base)
        if batch.control and ControlRecord.parse(piece.records([place])[0][0].key or b"") == ABORT_MARKER:
            self._aborted_producers.discard(batch.producer)
        return batch.transactional and batch.producer in self._aborted_producers


class _Overhearing:
    """A client that remembers the responses to requests until they are taken."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._responses: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node: Any, request: Any, **options: Any) -> Any:
        response = await self._client.send(node, request, **options)
        self._responses[id(request)] = response
        return response

    def taken(self, request: Any) -> Any:
        return self._responses.pop(id(request), None)


class _BlockFetcher(Fetcher):
    """A fetcher whose results hold blocks."""

    _client: _Overhearing
    _fetch_max_wait_ms: int
    limit: int
    patience_ms: int

    def _get_actions_per_node(self, assignment: Any) -> Any:
        """Ask for nothing more while enough waits to be folded: aiokafka's own bound is so much *per partition*."""
        self._fetch_max_wait_ms = _BRIEF_WAIT_MS if self._records else self.patience_ms
        requests, *others = super()._get_actions_per_node(assignment)
        return (requests if self._waiting() < MOST_WAITING else [], *others)

    def _waiting(self) -> int:
        results = [result for result in self._records.values() if type(result) is FetchResult]
        return sum(getattr(result._partition_records, "nbytes", 0) for result in results)

    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> bool:
        try:
            fresh: bool = await super()._proc_fetch_request(assignment, node_id, request)
        finally:
            response = self._client.taken(request)
        for topic, partitions in response.topics if fresh and response is not None else ():
            for partition, _, _, *data in partitions:
                result = self._records.get(TopicPartition(topic, partition))
                if type(result) is FetchResult and type(result._partition_records) is PartitionRecords:
                    result._partition_records = BlockRecords(data[-1], result._partition_records, self.limit)
        return fresh


def fetch_blocks(consumer: aiokafka.AIOKafkaConsumer, limit: int) -> None:
    """Let a started consumer, before it is given partitions, hand over blocks of ``limit`` records at most."""
    FetchedPiece(b"").records([])  # compiles the kernels now, while there is no session to keep alive
    fetcher: Any = consumer._fetcher
    fetcher.__class__ = _BlockFetcher
    fetcher.limit, fetcher.patience_ms = limit, fetcher._fetch_max_wait_ms
    fetcher._client = _Overhearing(fetcher._client)
