"""Following topics of ours to their ends, without a consumer group: every worker reads all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from oddtide.domain.errors import OddtideError
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.ending import closed_within
from oddtide.streams.logged import logged_events
from oddtide.streams.ports import LoggedEvent

__all__ = ["TopicFollower"]

_RETRY_S = 1.0
_STOP_TIMEOUT_S = 2.0

_log = structlog.get_logger(__name__)


class TopicFollower:
    """Hands every committed event of ``topics`` (name to number of partitions) to ``take``, in order by partition.

    ``blind`` is called once when it can follow no further (an event of a newer schema version, one that ``take`` fails
    at): what comes after would be missed in silence."""

    def __init__(
        self,
        broker: BrokerAccess,
        topics: Mapping[str, int],
        take: Callable[[LoggedEvent], None],
        blind: Callable[[OddtideError], None],
    ) -> None:
        self._broker = broker
        self._sources = [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]
        self._take = take
        self._blind = blind
        self._task: asyncio.Task[None] | None = None
        self._read: dict[TopicPartition, int] = {}
        self._moved = asyncio.Condition()
        self._over = False

    async def start(self) -> None:
        """Read the topics to their present ends, then follow them in the background."""
        consumer = self._consumer()
        try:
            await consumer.start()
            consumer.assign(self._sources)
            await consumer.seek_to_beginning(*self._sources)
            ends = await consumer.end_offsets(self._sources)
            while await self._unread(consumer, ends):
                await self._poll(consumer)
        except BaseException:
            await consumer.stop()
            raise
        self._task = asyncio.create_task(self._follow(consumer))

    async def catch_up(self) -> None:
        """Wait until everything that the topics hold now has been taken. Raises what ended the following."""
        async with self._consumer() as asking:  # an own connection: the one with the long poll answers late
            ends = await asking.end_offsets(self._sources)
        async with self._moved:
            await self._moved.wait_for(lambda: self._ended() or not self._behind(ends))
        if self._over and self._task is not None:
            await self._task

    async def stop(self) -> None:
        """Stop following, within a few seconds whatever the cluster does."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=2 * _STOP_TIMEOUT_S)

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._broker.aiokafka_options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )

    def _ended(self) -> bool:
        return self._task is None or self._over

    def _behind(self, ends: Mapping[TopicPartition, int]) -> bool:
        return any(self._read.get(source, 0) < end for source, end in ends.items())

    async def _unread(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
        for source in self._sources:
            self._read[source] = await consumer.position(source)
        return self._behind(ends)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        try:
            while True:
                try:
                    await self._poll(consumer)
                    await self._unread(consumer, {})
                except KafkaError as error:
                    _log.warning("cannot read the control topics for now", reason=str(error) or type(error).__name__)
                    await asyncio.sleep(_RETRY_S)
                async with self._moved:
                    self._moved.notify_all()
        except Exception as error:
            self._blind(error if isinstance(error, OddtideError) else _stuck(error))
            raise
        finally:
            self._over = True
            async with self._moved:
                self._moved.notify_all()  # nobody waits for what will not come
            await closed_within(_STOP_TIMEOUT_S, consumer.stop())

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        for source, records in (await consumer.getmany(timeout_ms=200)).items():
            for logged in logged_events(source.topic, source.partition, records):
                self._take(logged)


def _stuck(error: Exception) -> OddtideError:
    return OddtideError(
        f"The control topics cannot be followed any further: {error!r}.",
        remedy="This is a bug: no event may do that. What was published after it takes no effect until it is mended.",
    )
