"""A history on a real Kafka without a worker: readings in the log, and everything a worker would have published about
them, written by the same code in the same transactions. What is published can be tampered with on the way."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner, Result

from oddtide.config.build import build_name
from oddtide.config.cli import cli
from oddtide.config.composition import Composition
from oddtide.config.settings import load
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.replay.reading import block_client, bounds_of, read_range
from oddtide.streams.results import ResultRecord, result_records
from oddtide.streams.transactions import PartitionWriter

Tamper = Callable[[list[ResultRecord]], Iterable[ResultRecord]]

STREAMS = [{"partitions": 2, "publish": "all", "detectors": [{"kind": "ewma", "parameters": {"warm_up": 10}}]}]
#: When the readings were taken: an hour ago, since Kafka's retention goes by the records' timestamps.
T0_MS = int(time.time() - 3_600) * 1_000


def reading(i: int, value: float, series: str = "pump") -> bytes:
    return json.dumps({"series": series, "time": T0_MS + 1_000 * i, "value": value}).encode()


def ordinary(count: int, start: int = 0, spikes: Sequence[int] = ()) -> list[bytes]:
    """A calm series; a spike at each of ``spikes``."""
    return [reading(i, 1e6 if i in spikes else float(i * 7 % 11)) for i in range(start, start + count)]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="oddtide")


def answer(*arguments: str, code: int = 0) -> Any:
    """What a command says as JSON; it must end with ``code``."""
    result = run(*arguments, "--output", "json")
    assert result.exit_code == code, (result.stdout, result.stderr)
    return json.loads(result.stdout)


@dataclass
class History:
    """One installation: its settings come from the environment, as the commands see them."""

    prefix: str
    composition: Composition

    @property
    def topic(self) -> str:
        return f"{self.prefix}.readings"

    def push(self, values: Sequence[bytes | None], partition: int = 0, *, abort: bool = False) -> None:
        """Readings into the log; ``abort``: in a transaction that is then aborted."""

        async def send() -> None:
            transaction = {"transactional_id": f"{self.prefix}-source"} if abort else {}
            async with AIOKafkaProducer(
                **self.composition.broker_access().aiokafka_options(), **transaction
            ) as producer:
                if abort:
                    await producer.begin_transaction()
                for i, value in enumerate(values):
                    await producer.send(
                        self.topic,
                        value,
                        key=b"pump",
                        partition=partition,
                        timestamp_ms=T0_MS + i,
                        headers=[("h", b"1")],
                    )
                if abort:
                    await producer.flush()
                    await producer.abort_transaction()

        asyncio.run(send())

    def publish(
        self,
        *,
        batch: int = 40,
        tamper: Tamper = list,
        build: str | None = None,
        partitions: Sequence[int] = (0, 1),
        before: Callable[[PartitionProcessor], None] = lambda processor: None,
    ) -> list[Outcome]:
        """Fold the log and publish everything, ``batch`` records a transaction; the outcomes, as they were."""

        async def all_of() -> list[Outcome]:
            return [
                each
                for partition in partitions
                for each in await self._publish(partition, batch, tamper, build, before)
            ]

        return asyncio.run(all_of())

    async def _publish(
        self, partition: int, size: int, tamper: Tamper, build: str | None, before: Callable[[PartitionProcessor], None]
    ) -> list[Outcome]:
        composition, (plan,) = self.composition, self.composition.plans()
        broker, catalogue = composition.broker_access(), composition.catalogue()
        processor = PartitionProcessor(plan, composition.toolkit(), application=self.prefix, partition=partition)
        async with block_client(broker) as client:
            bounds = await bounds_of(client, plan.topic, partition)
            blocks = [each async for each in read_range(client, plan.topic, partition, *bounds)]
        processor.start_at(bounds.begin)
        before(processor)
        outcomes = []
        writer = PartitionWriter(broker, f"{self.prefix}-{plan.topic}-{partition}")
        await writer.open()
        for records in blocks:
            for start in range(0, len(records), size):
                outcome = processor.fold(records[start : start + size])
                outcomes.append(outcome)
                made = result_records(outcome, plan, catalogue, "/test", build or build_name(), "w")
                await writer.commit(tamper(list(made)))
        await writer.close()
        return outcomes

    def say(self, topic: str, value: bytes, headers: list[tuple[str, bytes]], partition: int = 0) -> None:
        """One more record on a topic."""
        with self.composition.writer() as writer:
            writer.send(topic, value, key=b"k", headers=headers, partition=partition).wait()

    def ends(self) -> dict[str, dict[int, tuple[int, int]]]:
        """How far every topic of the cluster that is ours reaches."""
        with self.composition.admin() as admin:
            return {name: admin.offsets(name) for name in admin.names() if name.startswith(self.prefix)}


@pytest.fixture
def history(kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """An installation of its own, its topics made."""
    for name in list(os.environ):
        if name.startswith("ODDTIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODDTIDE_KAFKA__BOOTSTRAP", kafka)
    monkeypatch.setenv("ODDTIDE_PREFIX", topic_prefix)
    monkeypatch.setenv("ODDTIDE_APPLICATION", topic_prefix)
    monkeypatch.setenv("ODDTIDE_STREAMS", json.dumps(STREAMS))
    assert run("topics", "create").exit_code == 0
    return History(topic_prefix, Composition(load(None).settings))


def ledger_changed(change: Callable[[BatchCompleted], dict[str, Any]]) -> Tamper:
    """Tampers with ledger records: ``change`` says which fields get which values."""

    def tamper(records: list[ResultRecord]) -> list[ResultRecord]:
        *others, last = records
        batch = msgspec.json.decode(last.value or b"", type=BatchCompleted)
        changed = msgspec.structs.replace(batch, **change(batch))
        return [*others, last._replace(value=msgspec.json.encode(changed))]

    return tamper
