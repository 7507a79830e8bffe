"""The drift stage: each series' values and score under a monitor, and what follows a drift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.ports import Detector, Rows, Scores
from oddtide.domain.drift.events import DetectorAdapted, DriftDetected, DriftWarned
from oddtide.domain.drift.watch import DriftWatch, Finding
from oddtide.domain.readings import IntArray, Readings, rfc3339
from oddtide.domain.slots import SlotColumns, SlotState
from oddtide.streams.envelope import derive_id
from oddtide.streams.pipeline.outcome import Published
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.planned_work import advance, scattered
from oddtide.streams.ports import Toolkit

__all__ = ["DriftStage"]


class DriftStage:
    """Watches a partition's series, row by row. Where the policy says ``reset``, the series' detectors forget it
    right after the row that settled the drift; the rows of that series after it in the batch are scored again from
    there, so batches do not matter."""

    def __init__(self, plan: StreamPlan, toolkit: Toolkit, partition: int) -> None:
        self.plan = plan
        self._partition = partition
        self._columns = SlotColumns("the drift stage", {"readings": np.zeros((), dtype=np.int64)})
        self._watch = DriftWatch(plan.drift, toolkit.monitors(plan.drift), plan.contract.names)

    def watch(
        self,
        readings: Readings,
        rows: Rows,
        detectors: Sequence[Detector],
        scored: list[Scores],
        suppressed: NDArray[np.bool_] | None = None,
        untaught: NDArray[np.bool_] | None = None,
    ) -> list[Published]:
        """Take the batch's values and first detector's scores (those past its warm-up); the events that followed.
        ``scored`` is mended in place where a reset changed what comes after it. Rows that are ``suppressed`` (n,) are
        not watched, those that are ``untaught`` not learnt."""
        events: list[Published] = []
        scores = self._watched_scores(detectors, scored)
        self.grow(int(rows.slots.max()) + 1 if len(rows) else 0)
        watched = np.arange(len(rows)) if suppressed is None else np.flatnonzero(~suppressed)
        slots, values, update = rows.slots.tolist(), readings.values.tolist(), self._watch.update
        for row in watched.tolist():
            findings = update(slots[row], values[row], scores[row])
            if not findings:
                continue
            count = self._count(rows.slots, watched, row)
            signs = [self._sign(readings, row, count, finding) for finding in findings]
            events += signs
            drifts = [sign.id for sign in signs if isinstance(sign.event, DriftDetected)]
            if drifts and self.plan.drift.adaptation != "none":
                events += self._adapt(readings, row, drifts[-1])
                if self.plan.drift.adaptation == "reset":
                    self._reset(row, rows, detectors, scored, untaught)
                    scores = self._watched_scores(detectors, scored)
        np.add.at(self._columns["readings"], rows.slots[watched], 1)
        return events

    def _count(self, slots: IntArray, watched: IntArray, row: int) -> int:
        """Readings of the row's series that were watched before it."""
        before = watched[: np.searchsorted(watched, row)]
        return int(self._columns["readings"][slots[row]]) + int((slots[before] == slots[row]).sum())

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``; :meth:`watch` does so by itself."""
        self._columns.grow(slots)

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen."""
        self._columns.forget(slots)
        self._watch.forget(slots)

    @property
    def bytes_per_slot(self) -> int:
        """Mostly the monitors': a guess."""
        return self._columns.bytes_per_slot + self._watch.bytes_per_slot

    def extract(self, slots: IntArray) -> SlotState:
        """Copies of the state of ``slots``."""
        return {**self._columns.extract(slots), **self._watch.extract(slots)}

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the state of ``slots``, for which there is room. Raises ``StateMismatchError``; unpickles."""
        self._columns.check(slots, state)
        self._watch.insert(slots, state)
        self._columns.insert(slots, state)

    @staticmethod
    def _watched_scores(detectors: Sequence[Detector], scored: list[Scores]) -> list[float]:
        first = scored[0]
        shown: list[float] = np.where(first.seen >= detectors[0].warm_up, first.score, np.nan).tolist()
        return shown

    def _reset(
        self,
        row: int,
        rows: Rows,
        detectors: Sequence[Detector],
        scored: list[Scores],
        untaught: NDArray[np.bool_] | None,
    ) -> None:
        slot = int(rows.slots[row])
        later = row + 1 + np.flatnonzero(rows.slots[row + 1 :] == slot)
        again = rows.take(later)
        unlearnt = untaught[later] if untaught is not None else None
        for position, detector in enumerate(detectors):
            detector.forget(rows.slots[row : row + 1])
            if len(later):
                mended = (later, advance(detector, again, unlearnt))
                scored[position] = scattered([(np.arange(len(rows)), scored[position]), mended], len(rows))

    def _sign(self, readings: Readings, row: int, count: int, finding: Finding) -> Published:
        watched, kind, before, after = finding
        plan, series = self.plan, readings.series[row]
        where = (plan.name, plan.topic, self._partition, int(readings.offsets[row]), int(readings.rows[row]))
        event_type = DriftDetected if kind == "drift" else DriftWarned
        ident = derive_id(kind, *where, watched)
        event = event_type(
            id=ident,
            stream=plan.name,
            series=series,
            time=rfc3339(int(readings.times[row])),
            monitor=plan.drift.monitor,
            watched=watched,
            readings=count,
            before=before,
            after=after,
            topic=plan.topic,
            partition=self._partition,
            offset=where[3],
            row=where[4],
        )
        return Published("drift", series, ident, event)

    def _adapt(self, readings: Readings, row: int, cause: str) -> list[Published]:
        plan, series = self.plan, readings.series[row]
        policy = plan.drift.adaptation
        adapted = [s.name for s in plan.detectors if policy == "reset" or s.kind.startswith("pyod:")]
        events = []
        for name in adapted:
            ident = derive_id("adapted", cause, name)
            event = DetectorAdapted(
                id=ident,
                stream=plan.name,
                series=series,
                time=rfc3339(int(readings.times[row])),
                policy=policy,
                detector=name,
                causation=cause,
                topic=plan.topic,
                partition=self._partition,
                offset=int(readings.offsets[row]),
                row=int(readings.rows[row]),
            )
            events.append(Published("drift", series, ident, event))
        return events
