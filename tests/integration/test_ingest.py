"""Ingest on a real Kafka: every reading accounted for, each verdict once, state rebuilt in silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from oddtide.domain.detection.events import AnomalyDetected, Verdict
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.errors import StateMismatchError
from oddtide.domain.events import Message
from oddtide.domain.observability.ledger import BatchCompleted, check_batch, check_succession
from oddtide.domain.quality.events import ReadingRejected
from oddtide.streams.agents.ingest import build
from oddtide.streams.app import WorkerContext
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.controls import pipeline_key, publication
from oddtide.streams.envelope import open_envelope, seal
from oddtide.streams.parts import WorkerParts
from oddtide.streams.pipeline.frames import expand_frame
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.ports import Toolkit
from oddtide.streams.results import REJECTION_HEADER
from oddtide.streams.topics import TopicCatalogue
from tests.integration.test_transport import context_of, producing

T0 = 1_700_000_000_000
TOOLKIT = Toolkit(detector=partial(build_detector, families={}), monitors=lambda policy: pytest.fail("light only"))
Kind = TypeVar("Kind", bound=Message)


class NoArtifacts:
    def put(self, name: str, content: bytes) -> tuple[str, str]:
        raise AssertionError("nothing is stored here")

    def get(self, reference: str, digest: str) -> bytes:
        raise AssertionError("no model is in force here")


def no_training(
    algorithm: str, parameters: object, values: object, features: tuple[str, ...]
) -> tuple[bytes, dict[str, str], dict[str, float]]:
    raise AssertionError("nothing is trained here")


class Platform:
    """One application on the session's Kafka: its topics, its worker, what it published."""

    def __init__(self, kafka: str, prefix: str, folder: Path, partitions: int = 2) -> None:
        self.kafka, self.partitions = kafka, partitions
        self.topic = f"{prefix}.readings"
        self.catalogue = TopicCatalogue((("readings", self.topic, partitions),), prefix=prefix, partitions=2)
        self.plan = StreamPlan(
            "readings", self.topic, detectors=(DetectorSpec("ewma", {"warm_up": 10}),), publish="all"
        )
        base = context_of(kafka, prefix, folder)
        self.context: WorkerContext = replace(base, catalogue=self.catalogue)

    async def create(self, **readings_settings: str) -> None:
        """Make every topic as the catalogue says, the readings topic with settings of its own."""
        topics = [
            NewTopic(
                spec.name,
                spec.partitions,
                1,
                topic_configs={**spec.config, **(readings_settings if spec.name == self.topic else {})},
            )
            for spec in self.catalogue.all()
        ]
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        await admin.create_topics(topics)
        await admin.close()

    async def push(self, values: Sequence[bytes | None], partition: int = 0) -> None:
        async with producing(self.kafka) as producer:
            for value in values:
                await producer.send(self.topic, value, key=b"k", partition=partition)

    async def publish(self, plan: StreamPlan) -> None:
        """Publish a version of the stream's pipeline."""
        event = publication(plan, self.partitions, by="ann", time="", settings={})
        key = pipeline_key(event)
        value, headers = seal(event, id=key, source="/test")
        async with producing(self.kafka) as producer:
            await producer.send_and_wait(self.catalogue.name("pipelines"), value, key=key.encode(), headers=headers)

    @asynccontextmanager
    async def working(
        self, plan: StreamPlan | None = None, *, parts: Mapping[str, Any] | None = None, **changes: Any
    ) -> AsyncIterator[Any]:
        made = WorkerParts((plan or self.plan,), TOOLKIT, NoArtifacts(), no_training, **(parts or {}))
        app = build(replace(self.context, **changes), made)
        await app.start()
        try:
            yield app
        finally:
            await app.stop()

    async def records(self, topic: str) -> list[Any]:
        """Everything committed on a topic, in order."""
        # A request that a broker does not answer in time, as seen once just after a topic was made, is put again soon.
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka, isolation_level="read_committed", request_timeout_ms=10_000
        )
        await consumer.start()
        try:
            tps = [TopicPartition(topic, partition) for partition in sorted(await _known(consumer, topic))]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            ends, found = await consumer.end_offsets(tps), []
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    found += batch
            return found
        finally:
            await consumer.stop()

    async def events(self, role: str, kind: type[Kind]) -> list[Kind]:
        opened = [open_envelope(r.value, r.headers)[1] for r in await self.records(self.catalogue.name(role))]
        return [event for event in opened if isinstance(event, kind)]

    async def ledger(self, partition: int = 0) -> list[BatchCompleted]:
        records = await self.records(self.catalogue.ledger_of(self.topic))
        return [msgspec.json.decode(r.value, type=BatchCompleted) for r in records if r.partition == partition]

    async def verdicts(self) -> list[Verdict]:
        frames = await self.records(self.catalogue.name("verdicts"))
        return [verdict for frame in frames for verdict in expand_frame(frame.value)]

    async def verdict_ids(self) -> list[str]:
        return [verdict.id for verdict in await self.verdicts()]

    async def until(self, position: int, partition: int = 0) -> list[BatchCompleted]:
        """Wait until the ledger has reached a position."""
        async with asyncio.timeout(60):
            while True:
                ledger = await self.ledger(partition)
                if ledger and ledger[-1].to_offset >= position:
                    return ledger
                await asyncio.sleep(0.1)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for belongs to others and has no event
            await asyncio.sleep(0.05)


async def _known(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    consumer.subscribe([topic])
    await eventually(lambda: bool(consumer.partitions_for_topic(topic)))
    consumer.unsubscribe()
    return consumer.partitions_for_topic(topic) or set()


@pytest.fixture
async def platform(kafka: str, topic_prefix: str, tmp_path: Path) -> Platform:
    subject = Platform(kafka, topic_prefix, tmp_path)
    await subject.create()
    return subject


def readings(count: int, start: int = 0, spikes: Sequence[int] = ()) -> list[bytes | None]:
    noise = np.random.default_rng(start).normal(0, 1, count)
    return [
        orjson.dumps({"series": "xy"[i % 2], "time": T0 + start + i, "value": 1e3 if i in spikes else float(noise[i])})
        for i in range(count)
    ]


async def test_readings_become_verdicts_detections_and_a_ledger(platform: Platform) -> None:
    values = [*readings(200, spikes=[150]), b"{", None, b""]
    await platform.push(values)
    async with platform.working():
        ledger = await platform.until(203)
    assert [check_batch(batch) for batch in ledger] == [[]] * len(ledger)
    assert sum(batch.scored for batch in ledger) == 200
    assert sum(sum(batch.rejected.values()) for batch in ledger) == 3
    (found,) = await platform.events("detections", AnomalyDetected)
    assert (found.offset, found.value, found.series) == (150, 1e3, "x")
    assert "1000" in found.reason
    alone = PartitionProcessor(platform.plan, TOOLKIT, application=platform.context.application, partition=0)
    expected = alone.fold([Record(i, T0, b"k", value) for i, value in enumerate(values)])
    assert await platform.verdict_ids() == [verdict.id for verdict in expected.verdicts]


async def test_rejected_records_are_kept_as_they_came(platform: Platform) -> None:
    bad = [b"{", b"\xff\xfe", None, b"x" * 990_000]  # the last is all that the input topic takes
    await platform.push(bad)
    async with platform.working():
        await platform.until(len(bad))
    letters = await platform.records(platform.catalogue.name("deadletters"))
    events = [msgspec.json.decode(dict(r.headers)[REJECTION_HEADER], type=ReadingRejected) for r in letters]
    assert [r.value for r in letters] == bad
    assert [(event.offset, event.truncated) for event in events] == [(0, False), (1, False), (2, False), (3, False)]
    assert (events[3].size, letters[3].value) == (990_000, bad[3])
    assert {r.key for r in letters} == {b"k"}


async def test_after_a_restart_the_state_goes_on_and_nothing_is_said_twice(platform: Platform) -> None:
    first, second = readings(100), readings(100, start=100, spikes=[70])
    await platform.push(first)
    async with platform.working():
        await platform.until(100)
    await platform.push(second)
    async with platform.working(worker="w2"):
        ledger = await platform.until(200)
    for previous, batch in zip([None, *ledger[:-1]], ledger, strict=True):
        assert check_succession(previous, batch) == []
    alone = PartitionProcessor(platform.plan, TOOLKIT, application=platform.context.application, partition=0)
    outcome = alone.fold([Record(i, T0, b"k", value) for i, value in enumerate([*first, *second])])
    assert ledger[-1].hash == outcome.completed.hash
    ids = await platform.verdict_ids()
    assert ids == [verdict.id for verdict in outcome.verdicts]
    assert len(set(ids)) == len(ids)


async def test_a_state_that_is_not_what_the_ledger_says_stops_the_worker(platform: Platform) -> None:
    await platform.push(readings(20))
    lie = BatchCompleted(
        stream="readings", topic=platform.topic, partition=0, from_offset=0, to_offset=20, records=20, holes=0,
        readings=20, scored=20, hash="00000000deadbeef", pipeline_version=platform.plan.version,
        build=platform.context.build,
    )  # fmt: skip
    async with producing(platform.kafka) as producer:
        value, headers = seal(lie, id="lie", source="/test")
        ledger = platform.catalogue.ledger_of(platform.topic)
        await producer.send_and_wait(ledger, value, headers=headers, partition=0)
    async with platform.working() as app:
        await eventually(lambda: app.crashed)
    assert isinstance(app.crash_reason, StateMismatchError)
    assert await platform.verdict_ids() == []


async def test_settings_count_from_when_they_are_published(platform: Platform) -> None:
    other = replace(platform.plan, detectors=(DetectorSpec("ewma", {"warm_up": 30}),))
    await platform.push(readings(100))
    async with platform.working():
        await platform.until(100)
    await platform.push(readings(50, start=100))
    async with platform.working(other):
        ledger = await platform.until(150)
    assert {batch.pipeline_version for batch in ledger} == {platform.plan.version}
    await platform.publish(other)
    await platform.push(readings(50, start=150))
    async with platform.working(other):
        ledger = await platform.until(200)
    assert [c.pipeline for batch in ledger for c in batch.controls] == [platform.plan.version, other.version]
    assert ledger[-1].pipeline_version == other.version
    assert len(await platform.verdict_ids()) == 200


async def test_two_workers_share_the_partitions(platform: Platform) -> None:
    async with platform.working(), platform.working(worker="w2"):
        for partition in range(2):
            await platform.push(readings(50), partition)
        await asyncio.gather(platform.until(50, 0), platform.until(50, 1))
    ids = await platform.verdict_ids()
    assert len(ids) == len(set(ids)) == 100


async def test_holes_in_the_log_are_ordinary(platform: Platform) -> None:
    async with producing(platform.kafka, transactional_id=f"{platform.topic}-t") as producer:
        for value in readings(5):
            async with producer.transaction():
                await producer.send(platform.topic, value, partition=0)
    async with platform.working():
        ledger = await platform.until(9)
    assert sum(batch.records for batch in ledger) == 5
    assert ledger[-1].to_offset == 9
    assert sum(batch.holes for batch in ledger) == 4


async def test_a_hole_at_the_position_with_many_blocks_behind_it_keeps_no_partition_waiting(platform: Platform) -> None:
    values = [value for value in readings(2_000) if value is not None]
    source = AIOKafkaProducer(bootstrap_servers=platform.kafka, transactional_id=f"{platform.topic}-source")
    async with source:
        await source.begin_transaction()
        await source.send_and_wait(platform.topic, b"{}", partition=0)
        await source.abort_transaction()
        await source.begin_transaction()
        await asyncio.gather(*[await source.send(platform.topic, value, partition=0) for value in values])
        await source.commit_transaction()
    async with platform.working(max_batch=50):  # 40 blocks in one fetch: more than are queued for an agent
        ledger = await platform.until(2 + len(values))
    assert sum(batch.records for batch in ledger) == len(values)
    assert sum(batch.holes for batch in ledger) == 2
