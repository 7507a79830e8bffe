"""What an undisturbed worker would have said of the same log: the fold itself, without Kafka, folded here."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import msgspec

from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.controls import ControlSource, PublishedPipelines
from oddtide.streams.envelope import Headers
from oddtide.streams.logged import logged_events
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.results import ResultRecord, result_records
from tests.torture.pushing import START_MS, Load
from tests.torture.stage import Stage

__all__ = ["Expected", "content", "undisturbed", "warm_up"]

_WARM_UP = 2_000

#: The ledger of every partition, in order.
Ledger: TypeAlias = Mapping[int, Sequence[BatchCompleted]]

#: Headers that say who published, or in which batch: they differ between runs, and are no consumer's matter.
_VARYING = {"ce_source"}


@dataclass
class Expected:
    """What must be there. ``verdicts`` are JSON bytes by id; ``events`` the contents of records by topic and id;
    ``hashes`` the running hash by partition and offset, at every offset that was asked for."""

    verdicts: dict[str, bytes] = field(default_factory=dict)
    events: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    hashes: dict[tuple[int, int], str] = field(default_factory=dict)
    totals: dict[int, dict[str, int]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)


def content(record: Any) -> tuple[str, bytes]:
    """(id, everything that a consumer sees of it) of a record on a result topic."""
    headers: Headers = [(name, bytes(raw or b"")) for name, raw in record.headers]
    names = dict(headers)
    ident = names.get("ce_id", b"").decode() or names.get("oddtide-rejection", b"").decode()
    seen = [record.key, record.value, [(name, raw) for name, raw in headers if name not in _VARYING]]
    return ident, msgspec.msgpack.encode(seen)


def undisturbed(stage: Stage, log: Sequence[Any], published: Sequence[Any], ledger: Ledger) -> Expected:
    """Fold the ``log`` (records of every partition), with the controls of the ``ledger`` taking effect where it says
    (their pipelines are among the ``published`` records), and note the hash wherever the ledger has one."""
    composition, pipelines = stage.composition, PublishedPipelines()
    for logged in logged_events(stage.catalogue.name("pipelines"), 0, published):
        pipelines.fold(logged)
    fold = _Fold(stage, ControlSource(pipelines, composition.artifacts()), Expected())
    by_partition: dict[int, list[Any]] = defaultdict(list)
    for record in log:
        by_partition[record.partition].append(record)
    for partition, records in sorted(by_partition.items()):
        fold.partition(partition, records, ledger.get(partition, []))
    return fold.expected


class _Made(NamedTuple):
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes | None
    headers: tuple[()] = ()


def warm_up(stage: Stage, load: Load) -> None:
    """Fold a little of a load here, so that compiled kernels are on the disk: workers that all compile them at their
    start would take a slow machine's whole patience."""
    records = itertools.islice(load.records(), _WARM_UP)
    made = [_Made(p, i, START_MS + 10 * i, key, value) for i, (p, key, value) in enumerate(records)]
    undisturbed(stage, made, [], {})


@dataclass
class _Fold:
    stage: Stage
    source: ControlSource
    expected: Expected

    def partition(self, partition: int, records: list[Any], batches: Sequence[BatchCompleted]) -> None:
        composition, expected = self.stage.composition, self.expected
        (plan,) = composition.plans()
        controls = sorted((control for batch in batches for control in batch.controls), key=lambda each: each.offset)
        if controls and controls[0].kind == "pipeline":
            plan = self.source.plan(plan.name, controls[0].pipeline)
        processor = PartitionProcessor(
            plan, composition.toolkit(), application=composition.settings.application, partition=partition
        )
        processor.start_at(0)
        totals = dict.fromkeys(("records", "readings", "scored", "detections", "rejected", "skipped"), 0)
        end = records[-1].offset + 1
        cuts = sorted({*(batch.to_offset for batch in batches), *(control.offset for control in controls), end})
        for cut, part in _parts(records, cuts):
            if part:
                self._fold(processor, part, totals)
            expected.hashes[partition, cut] = f"{processor.hash:016x}"
            for control in controls:
                if control.offset == cut:
                    self.source.apply(processor, control)
        expected.totals[partition], expected.ends[partition] = totals, end

    def _fold(self, processor: PartitionProcessor, records: list[Any], totals: dict[str, int]) -> None:
        stage = self.stage
        outcome = processor.fold([Record(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in records])
        _note(outcome, self.expected, result_records(outcome, processor.plan, stage.catalogue, "/", "", ""), stage)
        _count(outcome, totals)


def _parts(records: list[Any], cuts: Iterable[int]) -> Iterable[tuple[int, list[Any]]]:
    """The records before each cut and after the cut before it."""
    start = 0
    for cut in cuts:
        stop = start
        while stop < len(records) and records[stop].offset < cut:
            stop += 1
        yield cut, records[start:stop]
        start = stop


def _note(outcome: Outcome, expected: Expected, records: Iterable[ResultRecord], stage: Stage) -> None:
    for verdict in outcome.verdicts:
        expected.verdicts[verdict.id] = msgspec.json.encode(verdict)
    apart = {stage.catalogue.name("verdicts"), stage.catalogue.ledger_of(stage.topic)}
    for record in records:
        if record.topic not in apart:
            ident, seen = content(record)
            expected.events[record.topic][ident] = seen


def _count(outcome: Outcome, totals: dict[str, int]) -> None:
    done = outcome.completed
    for name in ("records", "readings", "scored", "detections"):
        totals[name] += getattr(done, name)
    totals["rejected"] += sum(done.rejected.values())
    totals["skipped"] += sum(done.skipped.values())
