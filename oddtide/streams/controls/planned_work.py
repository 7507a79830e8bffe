"""Planned work: windows that were declared and not cancelled."""

from __future__ import annotations

import structlog

from oddtide.domain.observability.controls import (
    ControlApplied,
    ControlsInForce,
    PlannedWindow,
    PlannedWorkCancelled,
    PlannedWorkDeclared,
)
from oddtide.domain.readings import parse_rfc3339
from oddtide.streams.controls.kinds import Place
from oddtide.streams.ports import LoggedEvent

__all__ = ["PlannedWorkControls"]

_log = structlog.get_logger(__name__)


class PlannedWorkControls:
    """A fold of the planned-work topic. Each partition of the stream puts each window in force, whether it holds one of
    its series or not: one may yet appear."""

    def __init__(self) -> None:
        self._declared: dict[str, dict[str, PlannedWorkDeclared]] = {}

    def fold(self, logged: LoggedEvent) -> None:
        """Take the next event."""
        event = logged.event
        if isinstance(event, PlannedWorkDeclared):
            if not _understood(event.window):
                _log.warning("planned work left out: its window is none", stream=event.stream, work=event.window.id)
                return
            self._declared.setdefault(event.stream, {})[event.window.id] = event
        elif isinstance(event, PlannedWorkCancelled):
            self._declared.get(event.stream, {}).pop(event.work, None)

    def declared(self, stream: str) -> tuple[PlannedWorkDeclared, ...]:
        """What is declared for a stream and not cancelled, in the order of declaration."""
        return tuple(self._declared.get(stream, {}).values())

    def due(self, place: Place, in_force: ControlsInForce, offset: int) -> list[ControlApplied]:
        """Cancellations of windows in force, then the windows declared since."""
        declared = self._declared.get(place.stream, {})
        present = [window.id for window in in_force.planned_work]
        ended = [
            ControlApplied(kind="planned_work", offset=offset, cancelled=id, causation=id)
            for id in present
            if id not in declared
        ]
        begun = [
            ControlApplied(kind="planned_work", offset=offset, work=event.window, causation=id)
            for id, event in declared.items()
            if id not in present
        ]
        return ended + begun


def _understood(window: PlannedWindow) -> bool:
    """Whether the window says when it is. One that does not would end every worker that puts it in force, for ever."""
    try:
        parse_rfc3339(window.from_time)
        parse_rfc3339(window.to_time)
    except ValueError:
        return False
    return True
