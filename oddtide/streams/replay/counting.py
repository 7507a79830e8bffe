"""Bringing an audit what it counts: the ledgers, the log's offsets, the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer

from oddtide.streams.agents.logs import log_client
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.replay.auditing import Kind, LedgerAdded, PartitionAudit
from oddtide.streams.replay.published import detection_key, frame_of, letter_of, read_result
from oddtide.streams.replay.reading import Bounds, block_client, bounds_of, read_ledger, read_range, read_records
from oddtide.streams.topics import TopicCatalogue

__all__ = ["Audit", "audit_partitions"]


@dataclass(frozen=True, slots=True)
class Audit:
    """What to add up: partitions of a stream whose results share one result partition, so that it is read once.
    ``compacted`` says that the readings topic is."""

    plan: StreamPlan
    partitions: tuple[int, ...]
    broker: BrokerAccess
    catalogue: TopicCatalogue
    application: str
    compacted: bool = False

    @property
    def results(self) -> int:
        """The partition of the result topics."""
        return self.partitions[0] % self.catalogue.partitions


async def audit_partitions(audit: Audit, tell: Callable[[int], None]) -> list[LedgerAdded]:
    """Add the ledgers of some partitions up, each against the log and against what was published about it."""
    async with log_client(audit.broker) as client, block_client(audit.broker) as blocks:
        return await _audit(client, blocks, audit, tell)


async def _audit(
    client: AIOKafkaConsumer, blocks: AIOKafkaConsumer, audit: Audit, tell: Callable[[int], None]
) -> list[LedgerAdded]:
    plan = audit.plan
    audits = {partition: PartitionAudit(plan.name, plan.topic, partition) for partition in audit.partitions}
    for partition, each in audits.items():
        async for entry in read_ledger(client, audit.catalogue.ledger_of(plan.topic), partition):
            each.take(entry)
        each.settle()
        await _count_log(blocks, audit, partition, each, tell)
    oldest: dict[Kind, int] = {
        "detections": await _count_detections(client, audit, audits),
        "dead_letters": await _count_letters(client, audit, audits),
        "verdicts": await _count_verdicts(client, audit, audits) if plan.publish == "all" else 0,
    }
    for each in audits.values():
        each.check_results(oldest, publishes_all=plan.publish == "all")
    return [each.result for each in audits.values()]


async def _count_log(
    client: AIOKafkaConsumer, audit: Audit, partition: int, each: PartitionAudit, tell: Callable[[int], None]
) -> None:
    topic = audit.plan.topic
    bounds = await bounds_of(client, topic, partition)
    stop = min(bounds.end, each.result.to_offset or 0)
    async for records in read_range(client, topic, partition, bounds.begin, stop):
        each.count_log(records.offsets)
        tell(len(records))
    after = await bounds_of(client, topic, partition)  # retention may have moved on meanwhile
    each.check_log(Bounds(max(bounds.begin, after.begin), bounds.end), compacted=audit.compacted)


def _of(audits: dict[int, PartitionAudit], topic: str, partition: int) -> PartitionAudit | None:
    """The audit of a source partition, where it is one of these."""
    each = audits.get(partition)
    return each if each is not None and each.result.topic == topic else None


async def _oldest(client: AIOKafkaConsumer, audit: Audit, role: str) -> tuple[str, int]:
    """The full name of a result topic, and the timestamp of the oldest record left where some were removed."""
    topic = audit.catalogue.name(role)
    bounds = await bounds_of(client, topic, audit.results)
    if bounds.begin == 0:
        return topic, 0
    async for records in read_records(client, topic, audit.results, bounds.begin, bounds.end):
        return topic, int(records[0].timestamp)
    return topic, 1 << 62


async def _count_detections(client: AIOKafkaConsumer, audit: Audit, audits: dict[int, PartitionAudit]) -> int:
    topic, oldest = await _oldest(client, audit, "detections")
    async for record in read_result(client, audit.broker, topic, audit.results):
        key = detection_key(record)
        each = _of(audits, key.topic, key.partition) if key else None
        if key and each and key.application == audit.application:
            name = f"the detection of row {key.row} at {record.topic}/{record.partition}:{record.offset}"
            each.count(each.detections, (key.offset, key.row), 1, name)
    return oldest


async def _count_letters(client: AIOKafkaConsumer, audit: Audit, audits: dict[int, PartitionAudit]) -> int:
    topic, oldest = await _oldest(client, audit, "deadletters")
    async for record in read_result(client, audit.broker, topic, audit.results):
        letter = letter_of(record)
        each = _of(audits, letter.topic, letter.partition) if letter else None
        if letter and each:
            name = f"the dead letter {record.partition}:{record.offset}"
            each.count(each.letters, (letter.offset, 0), letter.rejected, name)
    return oldest


async def _count_verdicts(client: AIOKafkaConsumer, audit: Audit, audits: dict[int, PartitionAudit]) -> int:
    topic, oldest = await _oldest(client, audit, "verdicts")
    async for record in read_result(client, audit.broker, topic, audit.results):
        places = frame_of(record)
        each = _of(audits, places.origin.topic, places.origin.partition) if places else None
        if places and each:
            each.count_frame(places, f"the frame at {record.topic}/{record.partition}:{record.offset}")
    return oldest
