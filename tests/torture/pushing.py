"""A producer that pushes readings at a bounded rate, the same ones for the same seed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from aiokafka import AIOKafkaProducer

from tests.torture.stage import PARTITIONS

__all__ = ["START_MS", "Load", "Pusher"]

START_MS = 1_700_000_000_000
_TICK_S = 0.05
#: Records of one transaction, where the source is transactional; every third is aborted.
_TRANSACTION = 40
_BAD = (b"{", b"\xff\xfe", b"", None, b'{"series":"s","value":1}', b'{"series":"","time":1700000000000,"value":1}')


@dataclass(frozen=True)
class Load:
    """What is pushed: ``rate`` readings a second over ``series`` series, until told to stop or ``most`` are. Every
    ``bad_every``-th record is none that can be read (0: never). A ``transactional`` source aborts every third of its
    transactions, which leaves holes in the log."""

    rate: int = 600
    most: int = 600_000
    series: int = 60
    bad_every: int = 0
    transactional: bool = False
    seed: int = 1

    def records(self) -> Iterator[tuple[int, bytes, bytes | None]]:
        """(partition, key, value) of every record, in order."""
        random = Random(self.seed)
        for i in range(self.most):
            series = i % self.series
            value = random.gauss(20.0, 1.5) + (400.0 if random.random() < 0.002 else 0.0)
            body: bytes | None = b'{"series":"sensor-%04d","time":%d,"value":%.6f}' % (
                series,
                START_MS + 10 * i,
                value,
            )
            if self.bad_every and i % self.bad_every == self.bad_every - 1:
                body = random.choice(_BAD)
            yield series % PARTITIONS, b"sensor-%04d" % series, body


@dataclass
class Pusher:
    """Pushes a load into a topic until :meth:`stop`. ``pushed`` is how many records the brokers took for good."""

    kafka: str
    topic: str
    load: Load
    pushed: int = 0
    sent: int = 0
    _enough: bool = False
    _due: float = 0.0

    def stop(self) -> None:
        """Let :meth:`run` end, with everything placed that it has begun to send."""
        self._enough = True

    async def run(self) -> None:
        """Push; raises where a record could not be placed."""
        options = {"transactional_id": f"{self.topic}-source"} if self.load.transactional else {}
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka, acks="all", enable_idempotence=True, request_timeout_ms=120_000, **options
        )
        await producer.start()
        try:
            await (self._transactions(producer) if self.load.transactional else self._plainly(producer))
        finally:
            await producer.stop()

    async def _plainly(self, producer: AIOKafkaProducer) -> None:
        tick = max(int(self.load.rate * _TICK_S), 1)
        pending: set[asyncio.Future[Any]] = set()
        for partition, key, value in self.load.records():
            pending.add(await producer.send(self.topic, value, key=key, partition=partition))
            self.sent += 1
            if self.sent % tick == 0:
                await self._paced(tick)
                pending = self._settled(pending)
                if self._enough:
                    break
        await asyncio.gather(*pending)
        self.pushed = self.sent

    @staticmethod
    def _settled(pending: set[asyncio.Future[Any]]) -> set[asyncio.Future[Any]]:
        """Those that are still under way; raises for one that failed."""
        for future in pending:
            if future.done():
                future.result()
        return {future for future in pending if not future.done()}

    async def _transactions(self, producer: AIOKafkaProducer) -> None:
        records = self.load.records()
        for number in itertools.count():
            part = list(itertools.islice(records, _TRANSACTION))
            if self._enough or not part:
                return
            await producer.begin_transaction()
            await asyncio.gather(*[await producer.send(self.topic, v, key=k, partition=p) for p, k, v in part])
            if number % 3 == 2:
                await producer.abort_transaction()
            else:
                await producer.commit_transaction()
                self.pushed += len(part)
            self.sent += len(part)
            await self._paced(len(part))

    async def _paced(self, records: int) -> None:
        """Wait until the next records are due; time lost while Kafka was away is not made up for at once."""
        now = time.monotonic()
        self._due = max(self._due, now - 1.0) + records / self.load.rate
        await asyncio.sleep(max(self._due - now, 0.0))
