"""What became of a batch's readings, counted: the ledger record, and the refusals that validation adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from oddtide.domain.detection.events import AbsenceDetected
from oddtide.domain.observability.controls import ControlApplied
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.quality.validation import Checked
from oddtide.domain.readings import Readings, rfc3339
from oddtide.streams.codecs.decoded import Decoded, Refusal
from oddtide.streams.pipeline.outcome import Published
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.verdicts import VerdictColumns

__all__ = ["counted", "refused"]


def counted(
    plan: StreamPlan,
    partition: int,
    position: int,
    decoded: Decoded,
    refusals: Sequence[Refusal],
    checked: Checked,
    verdicts: VerdictColumns,
    absences: Sequence[Published],
    *,
    hash: str,
    silence: str,
    controls: list[ControlApplied],
) -> BatchCompleted:
    """The ledger record of a batch that began at ``position``; ``refusals`` are those of decoding and validation."""
    readings = decoded.readings
    return BatchCompleted(
        stream=plan.name,
        topic=plan.topic,
        partition=partition,
        from_offset=position,
        to_offset=decoded.next,
        records=decoded.records,
        holes=decoded.next - position - decoded.records,
        readings=len(readings) + len(decoded.refusals),
        scored=len(verdicts),
        rejected=dict(sorted(Counter(refusal.reason for refusal in refusals).items())),
        skipped=dict(sorted(Counter(reason for _, reason in checked.skips).items())),
        detections=int(verdicts.is_anomaly.sum()),
        suppressed=int(verdicts.suppressed.untaught.sum()) if verdicts.suppressed is not None else 0,
        history=int(verdicts.suppressed.history.sum()) if verdicts.suppressed is not None else 0,
        absences=sum(isinstance(each.event, AbsenceDetected) for each in absences),
        hash=hash,
        silence=silence,
        controls=controls,
        pipeline_version=plan.version,
        time=rfc3339(int(readings.arrivals[-1])) if len(readings) else "",
    )


def refused(readings: Readings, checked: Checked) -> list[Refusal]:
    """The readings that broke their contract."""
    return [
        Refusal(int(readings.offsets[i]), int(readings.rows[i]), reason, detail, readings.series[i])
        for i, reason, detail in checked.refusals
    ]
