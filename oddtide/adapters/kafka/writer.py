"""Sending records: idempotent, batched, bounded in memory, and loud about what was not delivered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from oddtide.adapters.kafka.connection import KafkaConnection, connect, explain, explained, unreachable
from oddtide.domain.errors import NotFoundError, OddtideError, UsageError

if TYPE_CHECKING:
    from kafka import KafkaProducer
    from kafka.producer.future import FutureRecordMetadata

__all__ = ["Delivery", "KafkaWriter", "Sent"]

_LINGER_MS = 5
_BATCH_BYTES = 128 * 1024
_LARGEST_RECORD = 64 * 1024 * 1024
_IN_FLIGHT_BYTES = 32 * 1024 * 1024
_OVERHEAD_BYTES = 100
_REQUEST_TIMEOUT_MS = 10_000
_TOPIC_APPEARS_WITHIN_S = 1.0


class Delivery(NamedTuple):
    """Where an acknowledged record lies. ``offset`` is -1 where ``acks`` is 0."""

    topic: str
    partition: int
    offset: int
    timestamp: int


class Sent:
    """A record on its way."""

    def __init__(self, future: FutureRecordMetadata, explain_error: Callable[[Exception], OddtideError]) -> None:
        self._future = future
        self._explain = explain_error

    @property
    def done(self) -> bool:
        """Whether it is decided: acknowledged or failed."""
        return bool(self._future.is_done)

    def wait(self, timeout: float | None = None) -> Delivery:
        """Wait for the acknowledgement, at most ``timeout`` seconds. Raises the reason when it was not delivered."""
        from kafka.errors import KafkaError

        try:
            found = self._future.get(timeout)
        except KafkaError as error:
            raise self._explain(error) from error
        return Delivery(found.topic, found.partition, found.offset, found.timestamp)


class KafkaWriter:
    """Sends records to any topic of the cluster. Threads may share one.

    With ``acks="all"`` each record is written once and in order per partition, also when requests are repeated. A
    record that could not be delivered raises from its :meth:`Sent.wait` and from the next :meth:`flush`; leaving the
    ``with`` block flushes. About 32 MiB may be on their way; then :meth:`send` waits. Connects at the first use.
    """

    def __init__(self, connection: KafkaConnection, acks: str | int = "all", *, delivery_timeout_s: float = 30.0) -> None:
        self.connection = connection
        self._acks = acks
        self._timeout_s = delivery_timeout_s
        self._made: KafkaProducer | None = None
        self._known: set[str] = set()
        self._space = threading.Condition()
        self._in_flight = 0
        self._lost = 0
        self._first_error: OddtideError | None = None

    def __enter__(self) -> KafkaWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self.close()

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes]] = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Sent:
        """Hand over one record; returns before it is delivered.

        Without ``partition`` the key decides, as in Kafka's own clients (murmur2); without a key any. Raises
        ``NotFoundError`` for a topic, ``UsageError`` for a partition that does not exist or a record of neither key
        nor value, ``BrokerUnreachableError`` when the cluster does not take it in time.
        """
        if value is None and key is None:
            raise UsageError("A record needs a key or a value.", remedy="Pass value=b\"\" for an empty one.")
        producer = self._producer
        self._check_target(topic, partition)
        headers = list(headers)
        size = _size(key, value, headers)
        self._take(size)
        try:
            with explained(self.connection, topic):
                future = producer.send(topic, value, key, headers, partition, timestamp_ms)
        except BaseException:
            self._give(size)
            raise
        future.add_callback(lambda _: self._give(size))
        future.add_errback(lambda error: self._fail(size, self._explain(topic, error)))
        return Sent(future, lambda error: self._explain(topic, error))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything handed over is decided. Raises the first failure since the last flush.

        ``BrokerUnreachableError`` when it is not decided after ``timeout`` seconds (default: the delivery timeout).
        """
        if self._made is not None:
            deadline = time.monotonic() + (self._timeout_s + 5.0 if timeout is None else timeout)
            with explained(self.connection):
                self._made.flush(max(0.0, deadline - time.monotonic()))
            self._settle(deadline)
        with self._space:
            first, lost = self._first_error, self._lost
            self._first_error, self._lost = None, 0
        if first is not None:
            more = f" {lost} records were not delivered, this is the first reason." if lost > 1 else ""
            raise type(first)(first.problem + more, remedy=first.remedy)

    def close(self) -> None:
        """Let go of the connection. What was not flushed may be lost."""
        made, self._made = self._made, None
        if made is not None:
            from kafka.errors import KafkaTimeoutError

            try:
                made.close(timeout=1.0)
            except KafkaTimeoutError:  # its flush ran out of time; close the sockets all the same
                made._sender.force_close()

    @property
    def _producer(self) -> KafkaProducer:
        with self._space:
            if self._made is None:
                from kafka import KafkaProducer

                self._made = connect(
                    KafkaProducer,
                    self.connection,
                    acks=self._acks,
                    enable_idempotence=self._acks == "all",
                    linger_ms=_LINGER_MS,
                    batch_size=_BATCH_BYTES,
                    max_request_size=_LARGEST_RECORD,
                    max_block_ms=int(self._timeout_s * 1000),
                    request_timeout_ms=min(_REQUEST_TIMEOUT_MS, int(self._timeout_s * 1000) - _LINGER_MS),
                    delivery_timeout_ms=int(self._timeout_s * 1000),
                    allow_auto_create_topics=False,
                )
            return self._made

    def _check_target(self, topic: str, partition: int | None) -> None:
        """Ask once per topic whether it exists: kafka-python would wait for it to appear until its time is over."""
        if topic not in self._known:
            self._await_topic(topic)
            self._known.add(topic)
        if partition is not None and partition not in self._producer.partitions_for(topic):
            count = len(self._producer.partitions_for(topic))
            raise UsageError(
                f"The topic {topic!r} has no partition {partition}.", remedy=f"It has the partitions 0 to {count - 1}."
            )

    def _await_topic(self, topic: str) -> None:
        from oddtide.adapters.kafka.admin import KafkaAdmin

        deadline = time.monotonic() + _TOPIC_APPEARS_WITHIN_S
        with KafkaAdmin(self.connection) as admin:
            while True:
                try:
                    admin.describe(topic)
                    return
                except NotFoundError:  # one just made may take a moment to be known
                    if time.monotonic() > deadline:
                        raise
                time.sleep(0.1)

    def _explain(self, topic: str, error: Exception) -> OddtideError:
        return explain(error, self.connection, topic)

    def _take(self, size: int) -> None:
        with self._space:
            room = self._space.wait_for(lambda: not self._in_flight or self._in_flight + size <= _IN_FLIGHT_BYTES,
                                        self._timeout_s)  # fmt: skip
            if not room:
                raise unreachable(self.connection)
            self._in_flight += size

    def _give(self, size: int) -> None:
        with self._space:
            self._in_flight -= size
            self._space.notify_all()

    def _fail(self, size: int, error: OddtideError) -> None:
        with self._space:
            self._lost += 1
            self._first_error = self._first_error or error
        self._give(size)

    def _settle(self, deadline: float) -> None:
        """kafka-python wakes a flush just before it calls back: wait until the last record was counted."""
        with self._space:
            if not self._space.wait_for(lambda: self._in_flight == 0, max(0.1, deadline - time.monotonic())):
                raise unreachable(self.connection)


def _size(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> int:
    texts = sum(len(name) + len(content) for name, content in headers)
    return _OVERHEAD_BYTES + len(key or b"") + len(value or b"") + texts
