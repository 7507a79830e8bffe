"""The fold at the heart of the platform: records of one partition in, verdicts and events out.

Deterministic: the same records give the same outcome whatever the batches they come in, on any worker. No Kafka, no
Faust, no clock: ``oddtide detect`` runs it over files, the ingest agent over batches from the log.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.ports import Adoptable, Rows
from oddtide.domain.errors import StateMismatchError
from oddtide.domain.observability.controls import ControlApplied, ControlsInForce
from oddtide.domain.observability.progress import MemoryUse
from oddtide.domain.readings import IntArray, Readings, SeriesColumn, parse_rfc3339
from oddtide.domain.slots import PerSlot, SlotState
from oddtide.streams.codecs.decoded import Decoded, RecordLike
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.pipeline.counts import counted, refused
from oddtide.streams.pipeline.deadletters import dead_letters
from oddtide.streams.pipeline.judging import judge
from oddtide.streams.pipeline.outcome import Outcome, Published
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.planned_work import PlannedWork, advance
from oddtide.streams.pipeline.running_hash import EMPTY_HASH, advance_hash, hash_text
from oddtide.streams.pipeline.series import SeriesIndex
from oddtide.streams.pipeline.sleeping import NAME_BYTES, Sleepers, Sleeping
from oddtide.streams.pipeline.stages import Stages
from oddtide.streams.pipeline.verdicts import Origin, VerdictColumns
from oddtide.streams.pipeline.warming import loud, with_history
from oddtide.streams.ports import Toolkit

__all__ = ["PartitionProcessor"]

#: In a saved state, after a stage's name: what it keeps of no awake series.
_SHARED = " of the partition"


class PartitionProcessor:
    """The state of one partition and the way it changes.

    ``position`` is the next offset to fold, ``hash`` the running hash of every verdict so far, ``in_force`` every
    control that took effect. Without ``sleeping`` every series stays in memory. Not thread-safe: one fold at a time.
    """

    def __init__(
        self, plan: StreamPlan, toolkit: Toolkit, *, application: str, partition: int, sleeping: Sleeping | None = None
    ) -> None:
        self.position = 0
        self.hash = EMPTY_HASH
        self.in_force = ControlsInForce()
        self.partition = partition
        self._application = application
        self._toolkit = toolkit
        self._stages = Stages.of(plan, toolkit, partition)
        self._series = SeriesIndex()
        self._controls: list[ControlApplied] = []
        self._planned_work = PlannedWork(())
        self.sleepers = Sleepers(self._series, sleeping, f"{plan.topic}-{partition}") if sleeping else None

    @property
    def plan(self) -> StreamPlan:
        """The plan in force."""
        return self._stages.plan

    @property
    def series(self) -> int:
        """How many series the state holds, awake or asleep."""
        return len(self._series) + (self.sleepers.asleep if self.sleepers is not None else 0)

    @property
    def silence(self) -> str:
        """The running hash of absences, as the ledger shows it; empty where the plan does not look for them."""
        return self._stages.absences.silence if self._stages.absences is not None else ""

    def overdue(self, clock: int, quiet_since: int) -> int | None:
        """How far to let time pass where nothing arrives; see :meth:`AbsenceStage.overdue`."""
        stage = self._stages.absences
        return stage.overdue(clock, quiet_since) if stage is not None else None

    @property
    def memory(self) -> MemoryUse:
        """How many series are awake, how many asleep, and what the awake ones take."""
        if self.sleepers is not None:
            return self.sleepers.use(self)
        return MemoryUse(awake=len(self._series), bytes_per_series=self.bytes_per_slot + NAME_BYTES)

    @property
    def most_at_once(self) -> int:
        """How many records to fold at once, so that even if each is of another series memory stays near its budget."""
        return self.sleepers.most_at_once(self) if self.sleepers is not None else sys.maxsize

    def close(self) -> None:
        """The state is not gone on with: give back what it holds outside memory."""
        if self.sleepers is not None:
            self.sleepers.close()

    def start_at(self, position: int, hash: int | None = None, silence: str = "") -> None:
        """Begin at ``position``; ``hash`` and ``silence`` continue chains whose beginning is no longer in the log."""
        self.position = position
        if hash is not None:
            self.hash = hash
        if silence and self._stages.absences is not None:
            self._stages.absences.hash = int(silence, 16)

    def forget_controls(self) -> None:
        """Controls applied so far are in the ledger already, and what they brought is published."""
        self._controls = []
        if self._stages.absences is not None:
            self._stages.absences.said.clear()

    def apply(self, control: ControlApplied, artifact: bytes = b"", plan: StreamPlan | None = None) -> None:
        """Let a control take effect from the position on; the next outcome's ledger record lists it.

        A model comes with its ``artifact``, a pipeline with its ``plan``. What raises changes nothing: whatever
        ``adopt`` says of the artifact, ``ConfigurationError`` where the plan cannot be followed here."""
        if plan is not None:
            self._stages = self._stages.under(plan, self._toolkit, self.partition, self._series.capacity)
        elif control.kind == "model":
            self._adopt(control, artifact)
        elif control.kind == "feedback":
            self._learn_anew(control.series)
        elif control.kind == "time_advanced" and (stage := self._stages.absences) is not None:
            stage.advance(parse_rfc3339(control.time), self.position, self._series, self._planned_work)
        self._put_in_force(self.in_force.after(control))
        self._controls.append(control)

    def resume(self, in_force: ControlsInForce, artifacts: Mapping[str, bytes]) -> None:
        """Take up what was in force where a state was saved: ``artifacts`` are those of ``in_force.models``, by
        detector. The plan is the one in force already. The ledger has all of it: nothing is listed again."""
        for detector, control in in_force.models.items():
            self._adopt(control, artifacts[detector])
        self._put_in_force(in_force)

    def _put_in_force(self, in_force: ControlsInForce) -> None:
        self.in_force = in_force
        self._planned_work = PlannedWork(in_force.planned_work)

    def _learn_anew(self, series: str) -> None:
        """Let the detectors and drift monitors of a series begin anew; what it shows now becomes its normal."""
        column = SeriesColumn.of([series])
        asleep = self.sleepers is not None and self.sleepers.sleeps(column)
        slots = self._slots_of(column) if asleep else self._series.find(column)
        held = slots[slots >= 0]
        for name, stage in self._stages.parts.items():
            if name not in ("validator", "profiles", "counters", "absences"):
                stage.forget(held)

    def _adopt(self, control: ControlApplied, artifact: bytes) -> None:
        for spec, detector in zip(self.plan.detectors, self._stages.detectors, strict=True):
            if spec.name == control.detector and isinstance(detector, Adoptable):
                detector.adopt(artifact, f"{control.model}@{control.version}")

    @property
    def bytes_per_slot(self) -> int:
        """Memory that the state of one series takes over all stages, its name excepted; a guess where it is objects."""
        return sum(stage.bytes_per_slot for stage in self._stages.parts.values())

    def extract(self, slots: IntArray) -> dict[str, SlotState]:
        """A copy of the state of ``slots``, in their order, by stage: what is inserted into a processor of the same
        plan, in any slots, gives the same future to the bit. Shares no memory with the processor.

        A stage is named with the offset at which it began (``detector ewma@1200``), so that state of before a change
        of the plan is told from state of after it."""
        return {name: stage.extract(slots) for name, stage in self._named().items()}

    def insert(self, slots: IntArray, states: Mapping[str, SlotState], *, slept: bool = False) -> None:
        """Make room for ``slots`` and replace their state by an extracted one.

        Raises ``StateMismatchError`` for one of another plan; some stages may have changed then. State that ``slept``
        may be of a plan before: what has ended since is left out, what has begun since starts anew for these slots, as
        it did for those that were awake. Unpickles where stages hold objects: hand in only what this program
        extracted, or what was checked against its signature.
        """
        stages = self._named()
        if not slept and states.keys() != stages.keys():
            raise StateMismatchError(
                f"The state is of {', '.join(sorted(states)) or 'nothing'}, not of {', '.join(sorted(stages))}.",
                remedy="It was saved under another plan; start from an empty state.",
            )
        room = int(slots.max()) + 1 if len(slots) else 0
        for name, stage in stages.items():
            stage.grow(room)
            if name in states:
                stage.insert(slots, states[name])
            else:
                stage.forget(slots)

    def _named(self) -> dict[str, PerSlot]:
        return {f"{name}@{self.in_force.began(name)}": stage for name, stage in self._stages.parts.items()}

    @property
    def versions(self) -> tuple[str, ...]:
        """Each detector's version, in the plan's order."""
        return self._stages.versions

    def save(self) -> tuple[SeriesColumn, dict[str, SlotState]]:
        """The names of all series and their state, in the same order; copies."""
        slots = self._series.used()
        states = self.extract(slots)
        states |= {f"{name}{_SHARED}": stage.save() for name, stage in self._stages.shared.items()}
        return self._series.names(slots).packed(), states

    def load(self, series: SeriesColumn, states: Mapping[str, SlotState]) -> None:
        """Take up what another processor of the same plan, with the same controls in force, saved. Raises
        ``StateMismatchError`` where this one is not empty, and as :meth:`insert` does."""
        if self.series:
            raise StateMismatchError(f"The state has {self.series} series already.", remedy="Load into a new one.")
        states = dict(states)
        for name, stage in self._stages.shared.items():
            stage.load(states.pop(f"{name}{_SHARED}", {}))
        self.insert(self._series.put(series), states)

    def mark(self, to: int | None = None) -> Outcome:
        """An outcome of no records at all, which puts into the ledger what has come into force since the last. The
        position moves on to ``to``, over offsets that no records have."""
        nothing = self._stages.decoder.decode(())
        return self.process(replace(nothing, first=self.position, next=self.position if to is None else to))

    @property
    def bytes_asleep(self) -> int:
        """Memory that series take although they sleep."""
        return self._stages.absences.bytes_asleep if self._stages.absences is not None else 0

    def doze(self, slots: IntArray, names: SeriesColumn) -> None:
        """The series of ``slots`` go to sleep."""
        if self._stages.absences is not None:
            self._stages.absences.doze(slots, names)

    def wake(self, slots: IntArray, names: SeriesColumn) -> None:
        """These series were woken: they are in ``slots`` again."""
        if self._stages.absences is not None:
            self._stages.absences.wake(slots, names)

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1`` in every stage, also in those that were never shown one of them."""
        for stage in self._stages.parts.values():
            stage.grow(slots)

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen, in every stage."""
        for stage in self._stages.parts.values():
            stage.forget(slots)

    def fold(self, records: Sequence[RecordLike]) -> Outcome:
        """Decode, validate, profile, score and learn ``records`` (in log order, at or after the position)."""
        block = RecordBlock.of(records)
        outcome = self.process(self._stages.decoder.decode(block))
        if outcome.dead:
            dead = [replace(letter, record=block.at_offset(letter.event.offset)) for letter in outcome.dead]
            outcome = replace(outcome, dead=dead)
        return outcome

    def process(self, decoded: Decoded) -> Outcome:
        """The same for what was decoded elsewhere."""
        readings, history, repeated = self._stages.warming.sift(decoded)
        slots = self._slots_of(readings.series)
        checked = self._stages.validator.check(readings, slots)
        checked.skips += repeated
        every = checked.keep.all()
        kept, kept_slots = (readings, slots) if every else (readings.take(checked.keep), slots[checked.keep])
        past = history[checked.keep] if history is not None else None
        origin = self._stages.origin(self._application, self.partition)
        events = [Published("quality", v.series, v.id, v) for v in loud(checked.violations, decoded.history)]
        events += self._stages.profiles.update(kept, kept_slots)
        kept = self._stages.rated(kept, kept_slots)
        verdicts, drift_events = self._score(origin, kept, kept_slots, past)
        events += drift_events
        absences = self._absences(kept, kept_slots, past)
        events += absences
        anomalies = verdicts.anomalies.tolist()
        events += [Published("detections", d.series, d.id, d) for d in map(verdicts.detection, anomalies)]
        self.hash = advance_hash(self.hash, verdicts.digests())
        refusals = [*decoded.refusals, *refused(readings, checked)]
        controls, self._controls = self._controls, []
        completed = counted(
            self.plan, self.partition, self.position, decoded, refusals, checked, verdicts, absences,
            hash=hash_text(self.hash), silence=self.silence, controls=controls,
        )  # fmt: skip
        self.position = decoded.next
        if self.sleepers is not None:
            self.sleepers.rest(self, slots)
        return Outcome(verdicts, events, dead_letters(origin, refusals), completed)

    def _absences(self, kept: Readings, slots: IntArray, past: NDArray[np.bool_] | None) -> list[Published]:
        stage = self._stages.absences
        if stage is None:
            return []
        if past is not None:  # history says nothing of who speaks now
            kept, slots = kept.take(~past), slots[~past]
        return stage.take(kept, slots, self._series, self._planned_work)

    def _slots_of(self, series: SeriesColumn) -> IntArray:
        """The slots of ``series``, each with its state: whoever slept is woken."""
        slots = self.sleepers.slots_of(self, series) if self.sleepers else self._series.slots_of(series)
        self.grow(self._series.capacity)
        return slots

    def _score(
        self, origin: Origin, kept: Readings, slots: IntArray, past: NDArray[np.bool_] | None
    ) -> tuple[VerdictColumns, list[Published]]:
        rows, stages = Rows(slots, kept.times, kept.values, kept.labels or None), self._stages
        suppressed = with_history(past, self._planned_work.suppressed(kept, slots))
        silent, untaught = (suppressed.rows, suppressed.untaught) if suppressed is not None else (None, None)
        scored = [advance(detector, rows, untaught) for detector in stages.detectors]
        events: list[Published] = []
        if stages.drift is not None:
            events = stages.drift.watch(kept, rows, stages.detectors, scored, silent, untaught)
        combined = stages.combined(slots, kept.values, scored, untaught)
        found = judge(stages, slots, kept.values, combined.scores, combined.needed, silent)
        verdicts = VerdictColumns(
            origin, kept, combined.scores, combined.driver, combined.needed, found.hits, suppressed, found.alarm_p,
            levels=found.levels,
        )  # fmt: skip
        return verdicts, events
