"""Quality: contracts broken (the newest, and counts) and the newest profile of each series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from oddtide.adapters.storage.columns import digest, moment
from oddtide.adapters.storage.projections.base import Content, Fact, Row, Rows, Store
from oddtide.adapters.storage.projections.counts import Counter
from oddtide.adapters.storage.tables import PROFILES, VIOLATION_COUNTS, VIOLATIONS
from oddtide.domain.events import Message
from oddtide.domain.profiling.events import ProfileUpdated
from oddtide.domain.quality.events import ContractViolated

__all__ = ["QualityProjection"]


class QualityProjection:
    """What was rejected is counted by the ledger; here is which rule was broken, and what the data look like."""

    name: ClassVar[str] = "quality"
    group: ClassVar[str] = "observability"
    takes: ClassVar[tuple[type[Message], ...]] = (ContractViolated, ProfileUpdated)
    contents: ClassVar[tuple[Content, ...]] = (
        Content(VIOLATIONS, recent=True), Content(VIOLATION_COUNTS), Content(PROFILES),
    )  # fmt: skip

    def fold(self, facts: Sequence[Fact], store: Store) -> None:
        violations = [fact for fact in facts if isinstance(fact.event, ContractViolated)]
        store.add_recent(VIOLATIONS, [_violation(fact) for fact in violations])
        Counter(store, VIOLATION_COUNTS, ((fact, _names(fact)) for fact in violations)).fold()
        _fold_profiles([fact for fact in facts if isinstance(fact.event, ProfileUpdated)], store)


def _names(fact: Fact) -> dict[str, str]:
    event = fact.event
    return {"stream": event.stream, "rule": event.rule, "feature": event.feature, "action": event.action}


def _violation(fact: Fact) -> Row:
    event = fact.event
    return {
        "id": fact.id, "stream": event.stream, "series": event.series, "rule": event.rule,
        "time_ns": moment(event.time), "document": fact.document,
    }  # fmt: skip


def _fold_profiles(facts: Sequence[Fact], store: Store) -> None:
    keys = [digest(f.event.stream, f.event.series, f.event.topic, f.event.partition) for f in facts]
    profiles = Rows(store, PROFILES, keys)
    for key, fact in zip(keys, facts, strict=True):
        event = fact.event
        row = profiles.get(key)
        if row is None or (row["last_offset"], row["readings"], row["id"]) < (event.offset, event.readings, fact.id):
            changed: Row = {
                "key": key, "stream": event.stream, "series": event.series, "topic": event.topic,
                "partition": event.partition, "last_offset": event.offset, "readings": event.readings,
                "time_ns": moment(event.time), "id": fact.id, "document": fact.document,
            }  # fmt: skip
            profiles.put(key, changed)
    profiles.save()
