"""Refusals, grouped into one dead letter a record."""

from __future__ import annotations

from collections.abc import Iterable

from oddtide.domain.quality.events import ReadingRejected, RejectedRow
from oddtide.streams.codecs.decoded import WHOLE_RECORD, Refusal
from oddtide.streams.envelope import derive_id
from oddtide.streams.pipeline.outcome import DeadLetter
from oddtide.streams.pipeline.verdicts import Origin

__all__ = ["ATTEMPT_HEADER", "dead_letters"]

#: Rows listed in a dead letter; ``rejected`` counts them all.
MAX_ROWS = 50
#: Characters shown of a series' name: of a long one fifty times over the letter would be larger than Kafka takes.
MAX_SERIES = 100
#: How often a record was sent again from the dead letters.
ATTEMPT_HEADER = "oddtide-attempt"


def dead_letters(origin: Origin, refusals: Iterable[Refusal]) -> list[DeadLetter]:
    """One letter for each record that something was refused of, in log order."""
    groups: dict[int, list[Refusal]] = {}
    for refusal in refusals:
        groups.setdefault(refusal.offset, []).append(refusal)
    return [_letter(origin, group) for _, group in sorted(groups.items())]


def _letter(origin: Origin, group: list[Refusal]) -> DeadLetter:
    first = min(group, key=lambda refusal: refusal.row)
    ident = derive_id("dead", origin.application, origin.stream, origin.topic, origin.partition, first.offset)
    rows = [
        RejectedRow(row=refusal.row, reason=refusal.reason, detail=refusal.detail, series=refusal.series[:MAX_SERIES])
        for refusal in sorted(group, key=lambda refusal: refusal.row)[:MAX_ROWS]
        if refusal.row != WHOLE_RECORD
    ]
    event = ReadingRejected(
        reason=first.reason,
        detail=first.detail,
        stream=origin.stream,
        topic=origin.topic,
        partition=origin.partition,
        offset=first.offset,
        rejected=len(group),
        rows=rows,
    )
    return DeadLetter(ident, event, None)
