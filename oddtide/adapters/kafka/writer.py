"""Sending records: idempotent, batched, bounded in memory, and loud about what was not delivered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from oddtide.adapters.kafka.connection import KafkaConnection, connect, explain, too_large, unreachable
from oddtide.domain.errors import DependencyError, NotFoundError, OddtideError, UsageError

if TYPE_CHECKING:
    from kafka import KafkaProducer
    from kafka.producer.future import FutureRecordMetadata

__all__ = ["Delivery", "KafkaWriter", "Sent"]

_LINGER_MS = 5
_BATCH_BYTES = 128 * 1024
_LARGEST_RECORD = 64 * 1024 * 1024
_IN_FLIGHT_BYTES = 32 * 1024 * 1024
_BATCH_HEAD_BYTES = 61
_RECORD_BYTES = 3  # attributes, and the differences of time and offset to the batch's, which are 0 in a batch of one
_DECIDED_AFTER_S = 5.0
_CLOSE_S = 1.0
_REQUEST_TIMEOUT_MS = 10_000
_TOPIC_APPEARS_WITHIN_S = 1.0


class Delivery(NamedTuple):
    """Where an acknowledged record lies. ``offset`` means nothing where ``acks`` is 0."""

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
        """Wait for the acknowledgement, at most ``timeout`` seconds. Raises the reason when it was not delivered.

        ``DependencyError`` when it is still on its way after ``timeout``.
        """
        from kafka.errors import KafkaError

        try:
            found = self._future.get(timeout)
        except KafkaError as error:
            if not self._future.is_done:
                raise _undecided(timeout) from None
            raise self._explain(error) from error
        return Delivery(found.topic, found.partition, found.offset, found.timestamp)


class KafkaWriter:
    """Sends records to any topic of the cluster. Threads may share one.

    With ``acks="all"`` each record is written once and in order per partition, also when requests are repeated. A
    record that could not be delivered raises from its :meth:`Sent.wait` and from the next :meth:`flush`; leaving the
    ``with`` block flushes. About 32 MiB may be on their way; then :meth:`send` waits. Connects at the first use.
    """

    def __init__(
        self, connection: KafkaConnection, acks: str | int = "all", *, delivery_timeout_s: float = 30.0
    ) -> None:
        self.connection = connection
        self._acks = acks
        self._timeout_s = delivery_timeout_s
        self._made: KafkaProducer | None = None
        self._limits: dict[str, int] = {}
        self._their_errors: type[Exception] = Exception
        self._making = threading.Lock()
        self._space = threading.Condition()
        self._failed = False
        self._in_flight = 0
        self._lost = 0
        self._first_error: tuple[str, Exception] | None = None

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
            raise UsageError("A record needs a key or a value.", remedy="Pass value=b'' for an empty one.")
        headers = list(headers)
        size = _size(key, value, headers)
        producer = self._producer()
        self._check_target(producer, topic, partition)
        if size > self._limits[topic]:
            raise too_large(topic, size, self._limits[topic])
        self._take(size)
        try:
            future = producer.send(topic, value, key, headers, partition, timestamp_ms)
        except BaseException as error:
            self._give(size)
            if isinstance(error, self._their_errors):
                raise self._explain(topic, error) from error
            raise
        future.add_callback(self._give, size)
        future.add_errback(self._fail, size, topic)
        return Sent(future, partial(self._explain, topic))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything handed over is decided. Raises the first failure since the last flush.

        ``DependencyError`` when something is on its way after ``timeout`` seconds (default: when it must be decided).
        """
        seconds = self._timeout_s + _DECIDED_AFTER_S if timeout is None else timeout
        deadline = time.monotonic() + seconds
        with suppress(self._their_errors):  # it stumbles over batches that had to be split; decided is what was counted
            if self._made is not None:
                self._made.flush(seconds)
        with self._space:
            if not self._space.wait_for(lambda: self._in_flight == 0, max(0.1, deadline - time.monotonic())):
                raise _undecided(seconds)
        with self._space:
            first, lost = self._first_error, self._lost
            self._first_error, self._lost = None, 0
        if first is not None:
            reason = self._explain(*first)
            more = f" {lost} records were not delivered, this is the first reason." if lost > 1 else ""
            raise type(reason)(reason.problem + more, remedy=reason.remedy) from first[1]

    def close(self) -> None:
        """Let go of the connection. What was not flushed may be lost."""
        with self._making:
            self._release()

    def _producer(self) -> KafkaProducer:
        """The producer in use, made at first and again after a failure: kafka-python's stays failed after some."""
        with self._making:
            if self._made is not None and self._failed:
                self._release()
            if self._made is None:
                from kafka import KafkaProducer
                from kafka.errors import KafkaError

                self._their_errors, self._failed = KafkaError, False
                self._made = connect(KafkaProducer, self.connection, **self._options())
            return self._made

    def _options(self) -> dict[str, Any]:
        timeout_ms = int(self._timeout_s * 1000)
        return {
            "acks": self._acks,
            "enable_idempotence": self._acks == "all",
            "linger_ms": _LINGER_MS,
            "batch_size": _BATCH_BYTES,
            "max_request_size": _LARGEST_RECORD,
            "max_block_ms": timeout_ms,
            "request_timeout_ms": min(_REQUEST_TIMEOUT_MS, timeout_ms - _LINGER_MS),
            "delivery_timeout_ms": timeout_ms,
            "allow_auto_create_topics": False,
        }

    def _release(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            try:
                made.close(timeout=_CLOSE_S)
            except self._their_errors:  # it flushes first, and leaves its thread running when that takes too long
                made._sender.force_close()
                made._sender.join(_CLOSE_S)

    def _check_target(self, producer: KafkaProducer, topic: str, partition: int | None) -> None:
        """Ask once per topic: kafka-python would wait for one that is missing, and not survive a record too large."""
        if topic not in self._limits:
            self._limits[topic] = self._largest_record(topic)
        if partition is not None and partition not in (there := producer.partitions_for(topic)):
            raise UsageError(
                f"The topic {topic!r} has no partition {partition}.",
                remedy=f"It has the partitions 0 to {len(there) - 1}.",
            )

    def _largest_record(self, topic: str) -> int:
        from oddtide.adapters.kafka.admin import KafkaAdmin

        deadline = time.monotonic() + _TOPIC_APPEARS_WITHIN_S
        with KafkaAdmin(self.connection) as admin:
            while True:
                try:
                    return int(admin.describe(topic).config["max.message.bytes"])
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

    def _give(self, size: int, _: object = None) -> None:
        with self._space:
            self._in_flight -= size
            self._space.notify_all()

    def _fail(self, size: int, topic: str, error: Exception) -> None:
        with self._space:
            self._failed = True
            self._lost += 1
            self._first_error = self._first_error or (topic, error)
        self._give(size)


def _undecided(seconds: float | None) -> DependencyError:
    return DependencyError(
        f"Kafka has not acknowledged everything within {seconds:g} s.",
        remedy="Wait longer, or look at the cluster's load.",
    )


def _size(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> int:
    """Bytes that the record takes alone in a batch of Kafka's format 2: what a topic's limit is held against."""
    fields = [key, value]
    for name, content in headers:
        fields += [name.encode(), content]
    body = (
        _RECORD_BYTES
        + _varint(len(headers))
        + sum(_varint(-1 if f is None else len(f)) + len(f or b"") for f in fields)
    )
    return _BATCH_HEAD_BYTES + _varint(body) + body


def _varint(number: int) -> int:
    """Length of a number in Kafka's zigzag encoding: seven bits a byte."""
    zigzag = number * 2 if number >= 0 else -number * 2 - 1
    return max(1, (zigzag.bit_length() + 6) // 7)
