"""Reading records that are committed: from a place to the end, or on and on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from oddtide.adapters.kafka.connection import KafkaConnection, connect, explained
from oddtide.adapters.kafka.group_progress import GroupProgress
from oddtide.domain.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from kafka import KafkaConsumer, TopicPartition
    from kafka.consumer.fetcher import ConsumerRecord

__all__ = ["KafkaReader", "KafkaRecord", "Start"]

#: ``beginning``, ``end``, ``-n`` for the last n offsets of each partition, or an offset for each partition.
Start: TypeAlias = str | int | Mapping[int, int]

_POLL_MS = 200
_FETCH_WAIT_MS = 100
_AT_ONCE = 5_000
_CLOSE_MS = 2_000


class KafkaRecord(NamedTuple):
    """A record as it lies in the log. ``timestamp`` in milliseconds since 1970; a null value is a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class KafkaReader:
    """Reads topics of the cluster, committed records only: none of a transaction that is open or was aborted.

    Order holds within a partition, not between them. :meth:`close`, from whichever thread, ends every iteration
    within a fraction of a second.
    """

    def __init__(self, connection: KafkaConnection) -> None:
        self.connection = connection
        self._closed = threading.Event()

    def __enter__(self) -> KafkaReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is being read. The reader is of no use afterwards."""
        self._closed.set()

    def read(
        self,
        topic: str,
        *,
        partitions: Sequence[int] | None = None,
        start: Start = "beginning",
        stop_at_end: bool = False,
        group: str | None = None,
    ) -> Iterator[KafkaRecord]:
        """Yield records of ``topic`` (of ``partitions``, else of all) from ``start``.

        ``stop_at_end`` ends at what was the end when reading began; otherwise this waits for more until closed.
        Partitions that a mapping ``start`` leaves out are read from the beginning. Offsets no longer kept count as
        the oldest that is.

        With ``group`` the partitions are shared with the group's other readers, and each is resumed after what the
        group has committed, else from ``start`` (``beginning`` or ``end``). A record counts as done when the next one
        of this iterator is asked for, and is committed soon after, at the latest when reading ends: at least once.

        Raises ``NotFoundError`` for an unknown topic or partition, ``UsageError`` for a contradiction,
        ``BrokerUnreachableError`` when no broker answers at the beginning; one lost later is waited for.
        """
        if group is not None and (partitions is not None or start not in ("beginning", "end")):
            raise UsageError(
                "A group shares out the partitions and remembers where it is.",
                remedy="With a group leave partitions out, and start at 'beginning' or 'end'.",
            )
        if isinstance(start, str) and start not in ("beginning", "end"):
            raise UsageError(f"start = {start!r} is unknown.", remedy="Use 'beginning', 'end', -n or a mapping.")
        if isinstance(start, int) and start >= 0:
            raise UsageError(f"start = {start} is not negative.", remedy="Use -n for the last n of each partition.")
        return self._read(topic, partitions, start, stop_at_end, group)

    def _read(
        self, topic: str, partitions: Sequence[int] | None, start: Start, stop_at_end: bool, group: str | None
    ) -> Iterator[KafkaRecord]:
        consumer = self._consumer(group, start)
        progress = None if group is None else GroupProgress(consumer)
        try:
            with explained(self.connection, topic):
                if group is not None:  # first of all: partitions learnt of later make the group share out once more
                    consumer.subscribe([topic])
                where = self._partitions(consumer, topic, partitions)
                if not where:
                    return
                ends = consumer.end_offsets(where)
                if group is None:
                    consumer.assign(where)
                    for each, offset in self._begin(consumer, where, ends, start).items():
                        consumer.seek(each, offset)
            yield from self._records(consumer, topic, ends if stop_at_end else None, progress)
        finally:
            if progress is not None:
                progress.settle()
            consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)

    def _consumer(self, group: str | None, start: Start) -> KafkaConsumer:
        from kafka import KafkaConsumer

        return connect(
            KafkaConsumer,
            self.connection,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="latest" if start == "end" else "earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_poll_records=_AT_ONCE,
            request_timeout_ms=10_000,
            session_timeout_ms=10_000,
            allow_auto_create_topics=False,
        )

    def _partitions(
        self, consumer: KafkaConsumer, topic: str, partitions: Sequence[int] | None
    ) -> list[TopicPartition]:
        from kafka import TopicPartition

        there = consumer.partitions_for_topic(topic)
        if not there:
            raise NotFoundError(
                f"There is no topic {topic!r} on {self.connection.bootstrap}.",
                remedy="`oddtide topics list` shows those there are, `oddtide topics create` makes ours.",
            )
        unknown = sorted(set(partitions or ()) - there)
        if unknown:
            raise NotFoundError(
                f"The topic {topic!r} has no partition {unknown[0]}.",
                remedy=f"It has the partitions 0 to {len(there) - 1}.",
            )
        return [TopicPartition(topic, each) for each in sorted(there if partitions is None else set(partitions))]

    @staticmethod
    def _begin(
        consumer: KafkaConsumer, where: list[TopicPartition], ends: Mapping[TopicPartition, int], start: Start
    ) -> dict[TopicPartition, int]:
        if start == "end":
            return dict(ends)
        oldest = consumer.beginning_offsets(where)
        if isinstance(start, int):
            return {each: max(oldest[each], ends[each] + start) for each in where}
        if isinstance(start, Mapping):
            return {each: max(oldest[each], start.get(each.partition, 0)) for each in where}
        return dict(oldest)

    def _records(
        self,
        consumer: KafkaConsumer,
        topic: str,
        ends: Mapping[TopicPartition, int] | None,
        progress: GroupProgress | None,
    ) -> Iterator[KafkaRecord]:
        while not self._closed.is_set():
            if ends is not None and self._all_read(consumer, ends):
                return
            with explained(self.connection, topic):
                batch = consumer.poll(timeout_ms=_POLL_MS)
            for where, records in batch.items():
                limit = ends.get(where) if ends is not None else None
                for record in records:
                    if self._closed.is_set():
                        return
                    if limit is not None and record.offset >= limit:
                        break
                    yield _record(record)
                    if progress is not None:
                        progress.done(where, record.offset)
            if progress is not None:
                progress.commit()

    def _all_read(self, consumer: KafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
        owned = consumer.assignment()
        with explained(self.connection):
            return bool(owned) and all(consumer.position(each) >= ends[each] for each in owned)


def _record(record: ConsumerRecord) -> KafkaRecord:
    headers = tuple((name, value or b"") for name, value in record.headers)
    return KafkaRecord(
        record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, headers
    )
