"""Explaining one verdict about data at hand."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from typing import Any

import numpy as np

from oddtide.adapters.files.rows import RefusedRow
from oddtide.config.facade.detecting import column_options, default_toolkit
from oddtide.config.facade.inputs import Batch, open_input
from oddtide.config.facade.plans import DetectorLike, make_plan, needs_no_training
from oddtide.config.facade.scorer import Scorer
from oddtide.domain.detection.auto import AUTO
from oddtide.domain.errors import NotFoundError, UsageError
from oddtide.streams.codecs.decoded import Decoded
from oddtide.streams.pipeline.explained import Explained, SeriesView
from oddtide.streams.pipeline.plan import Profile, StreamPlan
from oddtide.streams.pipeline.probing import recalled
from oddtide.streams.pipeline.verdicts import VerdictColumns

__all__ = ["BEFORE", "explain_reading", "explain_row"]

#: So many verdicts of the series before it come along.
BEFORE = 200


def explain_reading(
    data: Any,
    row: int,
    *,
    detector: DetectorLike | Sequence[DetectorLike] = AUTO,
    threshold: float | None = None,
    p_value: float | None = None,
    false_share: float = 0.0,
    time: str = "",
    series: str = "",
    value: str = "",
    features: Sequence[str] = (),
    labels: Sequence[str] = (),
    name: str = "",
    profile: Profile = "light",
    before: int = BEFORE,
) -> Explained:
    """The verdict on row ``row`` (from 0; a verdict's ``offset``) of ``data`` in words, with the verdicts of its series
    before it and, where a detector has one, the nearest normal pattern. The other arguments are those of
    :func:`detect_anomalies`; with the same ones it is the same verdict. Anomaly or not: ``account()`` says why.

    Raises ``NotFoundError`` where there is no such row or it was not scored. Memory grows with the rows before it.
    """
    needs_no_training(detector)
    source = open_input(data, column_options(time, series, value, features, labels, name))
    plan = make_plan(
        source.features, detector=detector, threshold=threshold, p_value=p_value, false_share=false_share,
        profile=profile,
    )  # fmt: skip
    return explain_row(source.batches, plan, row, before)


def explain_row(batches: Any, plan: StreamPlan, row: int, before: int = BEFORE) -> Explained:
    """The same for batches of rows or columns through ``plan``."""
    if row < 0:
        raise UsageError(f"The row is {row}.", remedy="Rows count from 0.")
    scorer = Scorer(plan, default_toolkit(), clock.time_ns)
    seen: list[VerdictColumns] = []
    for batch in batches:
        earlier, target, size = _cut(batch, row - scorer.position)
        if size:
            verdicts = (scorer.rows(earlier) if isinstance(earlier, list) else scorer.columns(earlier)).verdicts
            seen += [] if verdicts is None else [verdicts]
        if target is not None:
            return _explained(scorer, target, seen, row, before)
    raise NotFoundError(f"There is no row {row}: the data has {scorer.position:,} rows.", remedy="Rows count from 0.")


def _cut(batch: Batch, at: int) -> tuple[Batch, Batch | None, int]:
    """What comes before the row at ``at``, that row by itself (None where it comes later), and how many come before."""
    if isinstance(batch, list):
        return batch[:at], batch[at : at + 1] or None, min(at, len(batch))
    offset, readings = batch.first + at, batch.readings
    if offset >= batch.next:
        return batch, None, batch.next - batch.first
    early = readings.take(readings.offsets < offset)
    refusals = [each for each in batch.refusals if each.offset < offset]
    this = [each for each in batch.refusals if each.offset == offset]
    return (
        Decoded(early, refusals, at, batch.first, offset),
        Decoded(readings.take(readings.offsets == offset), this, 1, offset, offset + 1),
        at,
    )


def _explained(scorer: Scorer, target: Batch, seen: Sequence[VerdictColumns], row: int, before: int) -> Explained:
    series = _series_of(target, row)
    probe = scorer.alone(series)
    scored = scorer.rows(target) if isinstance(target, list) else scorer.columns(target)
    if scored.verdicts is None or not len(scored.verdicts):
        why = f"{scored.refused[0].reason}: {scored.refused[0].detail}" if scored.refused else "it was skipped"
        raise NotFoundError(f"Row {row} has no verdict, {why}.", remedy="Name a row that was scored.")
    view = SeriesView(series, before)
    for columns in [*seen, scored.verdicts]:
        view.take(columns, (row, 0))
    *earlier, verdict = view.verdicts()
    reading = scored.verdicts.readings.take(np.zeros(1, dtype=np.int64))
    return Explained(verdict, scorer.plan, tuple(earlier), recalled(probe, reading))


def _series_of(target: Batch, row: int) -> str:
    if isinstance(target, Decoded):
        return target.readings.series[0] if len(target.readings) else ""
    only = target[0]
    if isinstance(only, RefusedRow):
        raise NotFoundError(
            f"Row {row} has no verdict, {only.reason}: {only.detail}.", remedy="Name a row that was scored."
        )
    return only.series
