"""Controls: what alters verdicts from outside, and from which offset of a partition on.

A *control* is a fact that somebody published on a topic of ours: another version of a stream's pipeline, a promoted
model, a person's word that something is the new normal, planned work. It alters no verdict by being published. The
owner of a partition puts it in force before the record at some offset and says so in the ledger
(:class:`ControlApplied`); a rebuild and a replay put it in force at that very offset. So the same log gives the same
verdicts, although nobody can tell beforehand when a worker will hear of a control.
"""

from __future__ import annotations

from typing import Any

import msgspec

from oddtide.domain.events import Event
from oddtide.domain.readings import Rfc3339

__all__ = [
    "ControlApplied",
    "ControlsInForce",
    "PipelinePublished",
    "PlannedWindow",
    "PlannedWorkCancelled",
    "PlannedWorkDeclared",
]


class PlannedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Planned work on the series whose names match one of the patterns ``series`` (``*``, ``?``, ``[…]``; none: all
    of the stream): readings with an event time in ``from <= time < to`` are scored, but they are neither detections
    nor learnt."""

    id: str
    from_time: Rfc3339 = msgspec.field(name="from")
    to_time: Rfc3339 = msgspec.field(name="to")
    series: tuple[str, ...] = ()
    reason: str = ""


class ControlApplied(msgspec.Struct, frozen=True, kw_only=True):
    """Something that alters verdicts took effect before the record at ``offset``. What counts depends on ``kind``:

    ``pipeline``      from there on the stream's plan is the published version ``pipeline``; the stages of the one
                      before that are named in ``kept`` go on with their state, all others start anew
    ``model``         the stream's ``detector`` scores with ``version`` of ``model``, whose artifact lies at
                      ``artifact`` and has ``digest``
    ``feedback``      a person accepted (``feedback`` is the word's id) what ``series`` shows as the new normal: its
                      detectors forget it and warm up anew
    ``planned_work``  the window ``work`` is in force, or the one with the id ``cancelled`` no longer is
    ``time_advanced`` nothing arrived, and the partition's time has come to ``time``: deadlines up to there have passed

    ``causation`` names the event that asked for it. A rebuild of the state applies it at the same offset.
    """

    kind: str
    offset: int
    pipeline: str = ""
    kept: tuple[str, ...] = ()
    detector: str = ""
    artifact: str = ""
    model: str = ""
    version: int = 0
    digest: str = ""
    series: str = ""
    feedback: str = ""
    work: PlannedWindow | None = None
    cancelled: str = ""
    time: Rfc3339 = ""
    causation: str = ""


class ControlsInForce(msgspec.Struct, frozen=True, kw_only=True):
    """All that was put in force in one partition: a fold of its ledger's controls, and part of its snapshots.

    ``pipeline`` is the plan's version, in force from ``switched`` on, ``since`` says of its stages which are older and
    since when, ``models`` the newest model control of each detector, ``planned_work`` the
    windows not cancelled (also those long over: a late reading may yet fall into one), ``feedback`` the ids of the
    words that took effect. Any JSON or MessagePack encoder of msgspec writes and reads it.
    """

    pipeline: str = ""
    switched: int = 0
    since: dict[str, int] = {}
    models: dict[str, ControlApplied] = {}
    planned_work: tuple[PlannedWindow, ...] = ()
    feedback: tuple[str, ...] = ()

    def after(self, control: ControlApplied) -> ControlsInForce:
        """What is in force once ``control`` is. The same control again changes nothing: what began from a snapshot may
        find in the ledger what was in force in it already."""
        change: dict[str, Any] = {}
        if control.kind == "time_advanced":  # what time it is lies with those who wait for it
            return self
        if control.kind == "pipeline":
            change = {
                "pipeline": control.pipeline,
                "switched": control.offset,
                "since": {stage: self.began(stage) for stage in control.kept},
                "models": {name: model for name, model in self.models.items() if f"detector {name}" in control.kept},
            }
        elif control.kind == "model":
            change = {"models": {**self.models, control.detector: control}}
        elif control.kind == "feedback":
            others = tuple(id for id in self.feedback if id != control.feedback)
            change = {"feedback": (*others, control.feedback)}
        elif control.work is not None:
            change = {"planned_work": (*self._work_but(control.work.id), control.work)}
        else:
            change = {"planned_work": self._work_but(control.cancelled)}
        return msgspec.structs.replace(self, **change)

    def began(self, stage: str) -> int:
        """The offset from which on a stage of the pipeline in force has learnt."""
        return self.since.get(stage, self.switched)

    def _work_but(self, id: str) -> tuple[PlannedWindow, ...]:
        return tuple(window for window in self.planned_work if window.id != id)


class PipelinePublished(Event, frozen=True, kw_only=True):
    """A version of a stream's pipeline was published: from now on it is the one to put in force.

    ``plan`` is everything that decides verdicts, enough to rebuild it; ``version`` the digest of that; ``settings`` the
    stream's section as its author wrote it. Publishing an older version again is going back to it.
    ``replaces`` is the version that was in force until then, empty for the first."""

    stream: str
    version: str
    topic: str
    partitions: int
    plan: dict[str, Any]
    by: str
    time: Rfc3339
    settings: dict[str, Any] = {}
    note: str = ""
    replaces: str = ""


class PlannedWorkDeclared(Event, frozen=True, kw_only=True):
    """Somebody will work on a stream's series (``window.series``) in a span of event time: what they show meanwhile is
    neither a detection nor something to learn. A declaration for the past takes effect on readings still to come."""

    stream: str
    window: PlannedWindow
    by: str
    time: Rfc3339


class PlannedWorkCancelled(Event, frozen=True, kw_only=True):
    """The planned work ``work`` no longer holds. What was scored under it stays as it was."""

    work: str
    stream: str
    by: str
    time: Rfc3339
    note: str = ""
