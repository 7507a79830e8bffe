"""Feedback that alters verdicts: "accept as the new normal"."""

from __future__ import annotations

from oddtide.domain.observability.controls import ControlApplied, ControlsInForce
from oddtide.domain.observability.events import FeedbackGiven, FeedbackWithdrawn
from oddtide.streams.controls.kinds import Place
from oddtide.streams.pipeline.verdicts import place_of_verdict
from oddtide.streams.ports import LoggedEvent

__all__ = ["FeedbackControls"]


class FeedbackControls:
    """A fold of the feedback topic. A word belongs to the partition that its verdict is from: the verdict's id says
    which. What is withdrawn before it took effect never does; afterwards nothing is undone, for what a detector has
    forgotten is gone. Words about verdicts of no known shape alter nothing."""

    def __init__(self) -> None:
        self._accepted: dict[Place, dict[str, tuple[int, int, FeedbackGiven]]] = {}
        self._places: dict[str, Place] = {}

    def fold(self, logged: LoggedEvent) -> None:
        """Take the next event."""
        event = logged.event
        if isinstance(event, FeedbackGiven) and event.label == "accepted":
            found = place_of_verdict(event.verdict)
            if found is not None:
                place = self._places[event.id] = Place(*found)
                words = self._accepted.setdefault(place, {})
                words[event.id] = (logged.partition, logged.offset, event)
        elif isinstance(event, FeedbackWithdrawn) and event.feedback in self._places:
            self._accepted[self._places[event.feedback]].pop(event.feedback, None)

    def due(self, place: Place, in_force: ControlsInForce, offset: int) -> list[ControlApplied]:
        """A control for each word that has not taken effect yet, in the order in which they lie in the topic."""
        words = self._accepted.get(place, {})
        done = set(in_force.feedback)
        return [
            ControlApplied(kind="feedback", offset=offset, series=event.series, feedback=event.id, causation=event.id)
            for _, _, event in sorted(words.values(), key=lambda word: word[:2])
            if event.id not in done
        ]
