"""One partition's history, and what is needed to compute it anew."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer

from oddtide.streams.broker import BrokerAccess
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.ports import Artifacts, SnapshotStore, Toolkit
from oddtide.streams.replay.reading import LedgerEntry, read_ledger, read_range
from oddtide.streams.topics import TopicCatalogue

__all__ = ["History"]


@dataclass(frozen=True, slots=True)
class History:
    """One partition's history and what is needed to compute it anew. ``start`` and ``stop`` bound what is judged
    (offsets; None: as far as there is any); folding begins where the state can be known."""

    plan: StreamPlan
    partition: int
    broker: BrokerAccess
    catalogue: TopicCatalogue
    toolkit: Toolkit
    artifacts: Artifacts
    application: str
    build: str
    snapshots: SnapshotStore | None = None
    start: int | None = None
    stop: int | None = None

    def processor(self, plan: StreamPlan | None = None) -> PartitionProcessor:
        """A new processor for this partition."""
        return PartitionProcessor(
            plan or self.plan, self.toolkit, application=self.application, partition=self.partition
        )

    def entries(self, client: AIOKafkaConsumer) -> AsyncIterator[LedgerEntry]:
        """The partition's ledger."""
        return read_ledger(client, self.catalogue.ledger_of(self.plan.topic), self.partition)

    def records(self, client: AIOKafkaConsumer, start: int, end: int) -> AsyncGenerator[RecordBlock]:
        """The partition's records from ``start`` to where judging stops, ``end`` at most."""
        stop = end if self.stop is None else min(self.stop, end)
        return read_range(client, self.plan.topic, self.partition, start, stop)
