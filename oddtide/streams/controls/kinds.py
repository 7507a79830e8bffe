"""What a kind of control is to the board."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from oddtide.domain.observability.controls import ControlApplied, ControlsInForce
from oddtide.streams.ports import LoggedEvent

__all__ = ["ControlKind", "Place"]


class Place(NamedTuple):
    """The partition that a control is put in force in."""

    stream: str
    topic: str
    partition: int


class ControlKind(Protocol):
    """A fold of the topics that one kind of control travels on. It decides nothing by itself: what is due becomes true
    when an owner has put it in force and its ledger says so."""

    def fold(self, logged: LoggedEvent) -> None:
        """Take the next event; one of another kind is left alone."""
        ...

    def due(self, place: Place, in_force: ControlsInForce, offset: int) -> list[ControlApplied]:
        """What is to be put in force at ``offset`` where ``in_force`` is by now, in a fixed order. Raises
        ``ConfigurationError`` where this build cannot understand it."""
        ...
