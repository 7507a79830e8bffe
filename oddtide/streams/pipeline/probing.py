"""Looking into a processor: what its detectors would say of a reading that never comes. The processor never notices."""

from __future__ import annotations

from oddtide.domain.detection.ports import Pattern, Recalls, Rows
from oddtide.domain.readings import Readings, SeriesColumn
from oddtide.streams.pipeline.processor import PartitionProcessor

__all__ = ["alone", "recalled"]

# A part of the processor that lies in a file of its own, hence the underscores.


def alone(processor: PartitionProcessor, series: str) -> PartitionProcessor | None:
    """A processor that knows this one series as it stands there, to try things with; None where it is not awake.
    Adopted models and the alarm budget do not come along."""
    column = SeriesColumn.of([series])
    slots = processor._series.find(column)
    if (slots < 0).any():
        return None
    copy = PartitionProcessor(
        processor.plan, processor._toolkit, application=processor._application, partition=processor.partition
    )
    copy.in_force = processor.in_force
    copy.insert(copy._series.put(column), processor.extract(slots))
    return copy


def recalled(processor: PartitionProcessor | None, readings: Readings) -> dict[str, Pattern]:
    """What the detectors of ``processor``, as they stand, compare the one reading with, by detector."""
    if processor is None:
        return {}
    slots = processor._series.find(readings.series)
    if (slots < 0).any():
        return {}
    rows, found = Rows(slots, readings.times, readings.values, readings.labels or None), {}
    for spec, detector in zip(processor.plan.detectors, processor._stages.detectors, strict=True):
        pattern = detector.recall(rows)[0] if isinstance(detector, Recalls) else None
        if pattern is not None:
            found[spec.name] = pattern
    return found
