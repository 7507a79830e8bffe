"""What a projection takes: an event with its place in the log, whoever read it there."""

from __future__ import annotations

from typing import Protocol

from oddtide.domain.events import Message

__all__ = ["Logged", "LoggedEnvelope"]


class LoggedEnvelope(Protocol):
    """The part of an envelope that projections use."""

    @property
    def id(self) -> str:
        """Equal for a fact that was logged twice."""
        ...


class Logged(Protocol):
    """An event as it stands in the log. ``timestamp`` is the record's, in milliseconds."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def envelope(self) -> LoggedEnvelope: ...
    @property
    def event(self) -> Message: ...
