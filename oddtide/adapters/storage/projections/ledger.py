"""The ledger: what became of every reading, summed up per partition, and where it does not add up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from oddtide.adapters.storage.columns import digest, moment
from oddtide.adapters.storage.projections.base import Content, Fact, Row, Rows, Store
from oddtide.adapters.storage.tables import LEDGER_BREAKS, LEDGER_PARTITIONS, LEDGER_REASONS
from oddtide.domain.events import Message
from oddtide.domain.observability.events import LedgerBroken
from oddtide.domain.observability.ledger import BatchCompleted, check_batch

__all__ = ["LedgerProjection"]

_SUMS = (
    "batches", "records", "holes", "readings", "scored", "rejected", "skipped", "detections", "gaps", "missing",
    "repeated", "unbalanced",
)  # fmt: skip


class LedgerProjection:
    """One row a partition of readings. ``position`` is how far its ledger reaches. A batch that ends at or before it
    says nothing new. One that begins beyond leaves a gap (``gaps``, ``missing`` records); one that begins before it
    and ends after counts some records twice (``repeated``). ``unbalanced`` batches contradict themselves."""

    name: ClassVar[str] = "ledger"
    group: ClassVar[str] = "health"
    takes: ClassVar[tuple[type[Message], ...]] = (BatchCompleted, LedgerBroken)
    contents: ClassVar[tuple[Content, ...]] = (
        Content(LEDGER_PARTITIONS), Content(LEDGER_REASONS), Content(LEDGER_BREAKS, recent=True),
    )  # fmt: skip

    def fold(self, facts: Sequence[Fact], store: Store) -> None:
        breaks = [fact for fact in facts if isinstance(fact.event, LedgerBroken)]
        store.add_recent(LEDGER_BREAKS, [_break(fact) for fact in breaks])
        batches = [fact.event for fact in facts if isinstance(fact.event, BatchCompleted)]
        counted = _fold_partitions(batches, store)
        _fold_reasons(counted, store)


def _fold_partitions(batches: Iterable[BatchCompleted], store: Store) -> list[BatchCompleted]:
    """Sum up; returns the batches that said something new."""
    batches = list(batches)
    partitions = Rows(store, LEDGER_PARTITIONS, (digest(b.topic, b.partition) for b in batches))
    counted = []
    for batch in batches:
        key = digest(batch.topic, batch.partition)
        row = partitions.get(key)
        if row is None or batch.to_offset > row["position"]:
            partitions.put(key, _summed(row or _empty(key, batch), batch))
            counted.append(batch)
    partitions.save()
    return counted


def _empty(key: str, batch: BatchCompleted) -> Row:
    first = batch.from_offset
    places = {"key": key, "topic": batch.topic, "partition": batch.partition, "first_offset": first, "position": first}
    return places | dict.fromkeys(_SUMS, 0)


def _summed(row: Row, batch: BatchCompleted) -> Row:
    step = batch.from_offset - row["position"]
    adds = {
        "batches": 1, "records": batch.records, "holes": batch.holes, "readings": batch.readings,
        "scored": batch.scored, "rejected": sum(batch.rejected.values()), "skipped": sum(batch.skipped.values()),
        "detections": batch.detections, "gaps": int(step > 0), "missing": max(step, 0), "repeated": max(-step, 0),
        "unbalanced": int(bool(check_batch(batch))),
    }  # fmt: skip
    newest = {
        "stream": batch.stream, "position": batch.to_offset, "hash": batch.hash, "build": batch.build,
        "pipeline_version": batch.pipeline_version, "worker": batch.worker, "time_ns": moment(batch.time),
    }  # fmt: skip
    return row | {name: row[name] + more for name, more in adds.items()} | newest


def _fold_reasons(batches: Sequence[BatchCompleted], store: Store) -> None:
    outcomes = [
        (batch, outcome, reason, count)
        for batch in batches
        for outcome, reasons in (("rejected", batch.rejected), ("skipped", batch.skipped))
        for reason, count in sorted(reasons.items())
    ]
    rows = Rows(store, LEDGER_REASONS, (digest(b.topic, b.partition, o, r) for b, o, r, _ in outcomes))
    for batch, outcome, reason, count in outcomes:
        key = digest(batch.topic, batch.partition, outcome, reason)
        row = rows.get(key)
        changed: Row = {
            "key": key, "stream": batch.stream, "topic": batch.topic, "partition": batch.partition,
            "outcome": outcome, "reason": reason, "count": count + (row["count"] if row else 0),
        }  # fmt: skip
        rows.put(key, changed)
    rows.save()


def _break(fact: Fact) -> Row:
    event = fact.event
    return {
        "id": fact.id, "topic": event.topic, "partition": event.partition, "time_ns": moment(event.time),
        "document": fact.document,
    }  # fmt: skip
