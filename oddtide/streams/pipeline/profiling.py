"""The profiling stage: every reading into its series' profile, published at exact reading counts."""

from __future__ import annotations

from oddtide.domain.profiling.events import ProfileUpdated
from oddtide.domain.profiling.profile import Profiler
from oddtide.domain.readings import IntArray, Readings, rfc3339
from oddtide.domain.slots import SlotState
from oddtide.streams.envelope import derive_id
from oddtide.streams.pipeline.outcome import Published
from oddtide.streams.pipeline.plan import StreamPlan

__all__ = ["ProfileStage"]


class ProfileStage:
    """Profiles of a partition's series. A profile is published whenever a series' count reaches a multiple of the
    plan's ``profile_every``, as it stood right after that reading, however batches are cut."""

    def __init__(self, plan: StreamPlan, partition: int) -> None:
        self.plan = plan
        self._partition = partition
        self._profiler = Profiler(plan.contract.names, quantiles=plan.profile == "deep")

    def update(self, readings: Readings, slots: IntArray) -> list[Published]:
        """Take the readings; the profiles that fell due."""
        due = self._profiler.stepwise(slots, readings.values, every=self.plan.profile_every)
        return [self._event(readings, row, int(slots[row])) for row in due]

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``; :meth:`update` does so by itself."""
        self._profiler.grow(slots)

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen."""
        self._profiler.forget(slots)

    @property
    def bytes_per_slot(self) -> int:
        """The profiler's."""
        return self._profiler.bytes_per_slot

    def extract(self, slots: IntArray) -> SlotState:
        """Copies of the state of ``slots``."""
        return self._profiler.extract(slots)

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the state of ``slots``, for which there is room. Raises ``StateMismatchError``."""
        self._profiler.insert(slots, state)

    def _event(self, readings: Readings, row: int, slot: int) -> Published:
        plan, offset = self.plan, int(readings.offsets[row])
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
