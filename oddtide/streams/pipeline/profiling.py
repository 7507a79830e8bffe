"""The profiling stage: every reading into its series' profile, published at exact reading counts."""

from __future__ import annotations

import numpy as np

from oddtide.domain.profiling.events import ProfileUpdated
from oddtide.domain.profiling.profile import Profiler
from oddtide.domain.readings import IntArray, Readings, rfc3339
from oddtide.streams.envelope import derive_id
from oddtide.streams.pipeline.outcome import Published
from oddtide.streams.pipeline.plan import StreamPlan

__all__ = ["ProfileStage"]


class ProfileStage:
    """Profiles of a partition's series. A profile is published whenever a series' count reaches a multiple of the
    plan's ``profile_every``, as it stood right after that reading, however batches are cut."""

    def __init__(self, plan: StreamPlan, partition: int) -> None:
        self._plan = plan
        self._partition = partition
        self._profiler = Profiler(plan.contract.names, quantiles=plan.profile == "deep")
        self._counts = np.zeros(0, np.int64)

    def update(self, readings: Readings, slots: IntArray) -> list[Published]:
        """Take the readings; the profiles that fell due."""
        events: list[Published] = []
        start = 0
        for row in self._due(slots):
            self._profiler.update(slots[start : row + 1], readings.values[start : row + 1])
            events.append(self._event(readings, row, int(slots[row])))
            start = row + 1
        self._profiler.update(slots[start:], readings.values[start:])
        return events

    def _due(self, slots: IntArray) -> list[int]:
        """The rows that bring their series to a multiple of ``profile_every``."""
        if len(slots) == 0:
            return []
        top = int(slots.max()) + 1
        if top > len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros(max(top, 2 * len(self._counts)), np.int64)])
        before = self._counts.copy() if self._plan.profile_every else self._counts
        batch = np.bincount(slots, minlength=len(self._counts))
        self._counts = self._counts + batch
        every = self._plan.profile_every
        if not every or not np.any(self._counts // every != before // every):
            return []
        order = np.argsort(slots, kind="stable")
        ranks = np.empty(len(slots), np.int64)
        starts = np.cumsum(batch) - batch
        ranks[order] = np.arange(len(slots)) - starts[slots[order]]
        return np.flatnonzero((before[slots] + ranks + 1) % every == 0).tolist()

    def _event(self, readings: Readings, row: int, slot: int) -> Published:
        plan, offset = self._plan, int(readings.offsets[row])
        series, count = readings.series[row], int(self._profiler.readings(slot))
        ident = derive_id("profile", plan.name, plan.topic, self._partition, offset, int(readings.rows[row]))
        event = ProfileUpdated(
            id=ident,
            stream=plan.name,
            series=series,
            readings=count,
            time=rfc3339(int(readings.times[row])),
            features=self._profiler.profile(slot),
            topic=plan.topic,
            partition=self._partition,
            offset=offset,
        )
        return Published("quality", series, ident, event)
