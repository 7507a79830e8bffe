"""The base of every event and command, and the catalogue that they enter by being defined.

An *event* is an immutable fact in the past tense; a *command* is a request that may be refused. Both are
frozen msgspec structs: encoding, checking on decode and JSON Schema come from the declaration. A class's
name is its type on the wire (``oddtide.AnomalyDetected``), ``schema_version`` its version.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

__all__ = ["TYPE_PREFIX", "Command", "Event", "Message", "catalogue"]

TYPE_PREFIX = "oddtide."

_CATALOGUE: dict[str, type[Message]] = {}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of events and commands. Fields added later need a default: schemas only grow within a version."""

    schema_version: ClassVar[int] = 1

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls.__name__.startswith("_") and cls.__name__ not in {"Event", "Command"}:
            _CATALOGUE[TYPE_PREFIX + cls.__name__] = cls

    @classmethod
    def type_name(cls) -> str:
        """The type on the wire."""
        return TYPE_PREFIX + cls.__name__


class Event(Message, frozen=True, kw_only=True):
    """A fact. Never changed, never refused."""


class Command(Message, frozen=True, kw_only=True):
    """A request. The agent that decides on it answers with an event."""


def catalogue() -> dict[str, type[Message]]:
    """Every event and command by type name. Complete once ``oddtide.streams.schemas`` was imported."""
    return dict(sorted(_CATALOGUE.items()))
