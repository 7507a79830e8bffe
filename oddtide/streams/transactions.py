"""The transactional producer of one partition: everything a batch says becomes visible at once, or nothing does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import aiokafka.errors as errors
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from oddtide.domain.errors import ConfigurationError
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.ending import closed_within
from oddtide.streams.results import ResultRecord

__all__ = ["PartitionWriter"]

#: How a cluster says that it has no transactions for us.
REFUSALS = (
    errors.TransactionalIdAuthorizationFailed,
    errors.ClusterAuthorizationFailedError,
    errors.UnsupportedVersionError,
    errors.IncompatibleBrokerVersion,
)

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_TRANSACTION_TIMEOUT_MS = 60_000
_MAX_BATCH_BYTES = 1 << 20
_MAX_REQUEST_BYTES = 8 << 20


class PartitionWriter:
    """Owns a transactional id. Opening it aborts what an earlier owner left open and fences that owner: a zombie can
    publish nothing any more (its next commit raises ``ProducerFenced``)."""

    def __init__(self, broker: BrokerAccess, transactional_id: str) -> None:
        self._id, self._bootstrap = transactional_id, broker.bootstrap
        self._producer = AIOKafkaProducer(
            **broker.aiokafka_options(),
            transactional_id=transactional_id,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            acks="all",
            linger_ms=0,
            max_batch_size=_MAX_BATCH_BYTES,
            max_request_size=_MAX_REQUEST_BYTES,
        )

    async def open(self) -> None:
        """Connect and fence. Raises what aiokafka raises when the cluster does not answer, and ``ConfigurationError``
        where it answers that we may have no transactions."""
        try:
            await asyncio.wait_for(self._producer.start(), _START_TIMEOUT_S)
        except REFUSALS as error:
            await self.close()
            raise ConfigurationError(
                f"Kafka at {self._bootstrap} lets us have no transactions as {self._id!r}: {error}.",
                remedy="Allow this user to write and describe transactional ids that begin with the application's "
                "name; brokers must be Apache Kafka 2.5 or newer.",
            ) from error
        except BaseException:
            await self.close()
            raise

    async def commit(self, records: Iterable[ResultRecord]) -> None:
        """Publish ``records`` in one transaction. On any error nothing of it is visible to committed readers."""
        try:
            await self._commit(records)
        except BaseException:
            await self._see_unsent()
            raise

    async def _commit(self, records: Iterable[ResultRecord]) -> None:
        await self._producer.begin_transaction()
        sent, filling = list[asyncio.Future[Any]](), dict[tuple[str, int], BatchBuilder]()
        for record in records:
            place = (record.topic, record.partition)
            batch = filling.get(place)
            if batch is None or not _added(batch, record):
                if batch is not None:
                    sent.append(await self._send(place, batch))
                filling[place] = batch = self._producer.create_batch()
                _added(batch, record)  # the first always finds room; one too large for Kafka is refused by it
        sent += [await self._send(place, batch) for place, batch in filling.items()]
        for each in sent:
            await each  # aiokafka commits also what could not be written in part; that must end here
        await self._producer.commit_transaction()

    async def _send(self, place: tuple[str, int], batch: BatchBuilder) -> asyncio.Future[Any]:
        """A batch at a time: record by record a future and 20 µs each would be spent."""
        batch.close()
        sent = await self._producer.send_batch(batch, place[0], partition=place[1])
        sent.add_done_callback(_seen)
        return sent

    async def _see_unsent(self) -> None:
        """Mark as seen what aiokafka told its batches and its transaction when its sender died (fenced, say). It waits
        for them itself only when they are full or committed; asyncio would print each with its traceback, though the
        commit has reported it."""
        producer: Any = self._producer
        ended = producer._txn_manager.wait_for_transaction_end()
        if ended is not None and ended.done():
            _seen(ended)
        for batches in list(producer._message_accumulator._batches.values()):
            for batch in list(batches):
                with suppress(KafkaError):
                    await batch.wait_drain(timeout=0)

    async def close(self) -> None:
        """Disconnect, within a few seconds whatever the cluster does."""
        await closed_within(_STOP_TIMEOUT_S, self._producer.stop())  # the next owner aborts what is open


def _added(batch: BatchBuilder, record: ResultRecord) -> bool:
    added = batch.append(timestamp=record.timestamp, key=record.key, value=record.value, headers=record.headers)
    return added is not None


def _seen(future: asyncio.Future[Any]) -> None:
    """Mark the error as seen: the first one is reported, the others with it."""
    if not future.cancelled():
        future.exception()
