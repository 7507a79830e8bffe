"""The promises, checked over what a scenario left behind."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from oddtide.domain.observability.ledger import BatchCompleted, check_batch, check_succession
from oddtide.streams.pipeline.frames import expand_frame
from tests.torture.reading import read_all
from tests.torture.stage import Stage
from tests.torture.undisturbed import Expected, content, undisturbed

__all__ = ["Findings", "check"]

_ROLES = ("detections", "deadletters", "quality", "drift")


@dataclass
class Findings:
    """What was found. A sound application has ``missing``, ``repeated``, ``alien`` and ``altered`` at 0, no
    ``ledger_problems`` and no ``differing`` hashes; ``aborted`` counts the records that only a reader of uncommitted
    messages sees: traces of transactions that were open when harm struck."""

    records: int = 0
    readings: int = 0
    verdicts: int = 0
    detections: int = 0
    dead_letters: int = 0
    batches: int = 0
    aborted: int = 0
    missing: int = 0
    repeated: int = 0
    alien: int = 0
    altered: int = 0
    ledger_problems: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Everything that breaks a promise, in words."""
        counts = {
            "missing": self.missing, "repeated": self.repeated, "alien": self.alien, "altered": self.altered,
        }  # fmt: skip
        return [f"{count} {what}" for what, count in counts.items() if count] + self.ledger_problems + self.differing


async def check(stage: Stage) -> Findings:
    """Read everything back and hold it against an undisturbed fold of the same log."""
    topics = {spec.name: spec.partitions for spec in stage.catalogue.all()}
    names = [stage.catalogue.name(role) for role in ("verdicts", *_ROLES)]
    ledger_topic = stage.catalogue.ledger_of(stage.topic)
    results = {name: topics[name] for name in (*names, ledger_topic)}
    committed = await read_all(stage.kafka, {**results, stage.topic: topics[stage.topic]})
    dirty = await read_all(stage.kafka, results, "read_uncommitted")
    ledger: dict[int, list[BatchCompleted]] = defaultdict(list)
    for record in committed[ledger_topic]:
        ledger[record.partition].append(msgspec.json.decode(record.value, type=BatchCompleted))
    pipelines = stage.catalogue.name("pipelines")
    published = await read_all(stage.kafka, {pipelines: topics[pipelines]})
    expected = undisturbed(stage, committed[stage.topic], published[pipelines], ledger)
    findings = Findings(records=len(committed[stage.topic]))
    findings.aborted = sum(len(dirty[name]) - len(committed[name]) for name in results)
    findings.detections = len(committed[stage.catalogue.name("detections")])
    findings.dead_letters = len(committed[stage.catalogue.name("deadletters")])
    _hold_verdicts(findings, expected, committed[stage.catalogue.name("verdicts")])
    for role in _ROLES:
        topic = stage.catalogue.name(role)
        _hold(findings, expected.events.get(topic, {}), [content(record) for record in committed[topic]])
    _hold_ledger(findings, expected, ledger)
    return findings


def _hold_verdicts(findings: Findings, expected: Expected, frames: Sequence[Any]) -> None:
    found = [(verdict.id, msgspec.json.encode(verdict)) for frame in frames for verdict in expand_frame(frame.value)]
    findings.verdicts = len(found)
    _hold(findings, expected.verdicts, found)


def _hold(findings: Findings, expected: dict[str, bytes], found: Sequence[tuple[str, bytes]]) -> None:
    counts = Counter(ident for ident, _ in found)
    findings.missing += len(expected.keys() - counts.keys())
    findings.alien += len(counts.keys() - expected.keys())
    findings.repeated += sum(counts.values()) - len(counts)
    findings.altered += sum(1 for ident, seen in found if expected.get(ident, seen) != seen)


def _hold_ledger(findings: Findings, expected: Expected, ledger: dict[int, list[BatchCompleted]]) -> None:
    for partition, end in expected.ends.items():
        batches = ledger[partition]
        findings.batches += len(batches)
        for previous, batch in zip([None, *batches[:-1]], batches, strict=True):
            wrong = check_batch(batch) + check_succession(previous, batch)
            findings.ledger_problems += [f"partition {partition} at {batch.from_offset}: {each}" for each in wrong]
        if not batches or batches[0].from_offset != 0 or batches[-1].to_offset != end:
            span = (batches[0].from_offset, batches[-1].to_offset) if batches else None
            findings.ledger_problems.append(f"partition {partition}: the ledger spans {span}, the log 0 to {end}")
        _hold_totals(findings, expected.totals[partition], partition, batches)
        _hold_hashes(findings, expected, partition, batches)


def _hold_totals(findings: Findings, expected: dict[str, int], partition: int, batches: list[BatchCompleted]) -> None:
    totals = {
        name: sum(getattr(batch, name) for batch in batches) for name in ("records", "readings", "scored", "detections")
    }
    totals["rejected"] = sum(sum(batch.rejected.values()) for batch in batches)
    totals["skipped"] = sum(sum(batch.skipped.values()) for batch in batches)
    findings.readings += totals["readings"]
    for name, total in totals.items():
        if total != expected[name]:
            findings.ledger_problems.append(f"partition {partition}: {total} {name}, undisturbed {expected[name]}")


def _hold_hashes(findings: Findings, expected: Expected, partition: int, batches: list[BatchCompleted]) -> None:
    for batch in batches:
        at = expected.hashes.get((partition, batch.to_offset))
        if at != batch.hash:
            findings.differing.append(
                f"partition {partition} at {batch.to_offset}: hash {batch.hash}, undisturbed {at}"
            )
            return
