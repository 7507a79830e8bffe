"""What quality says: readings rejected, contracts broken, schemas changed."""

from __future__ import annotations

from oddtide.domain.events import Event
from oddtide.domain.readings import Rfc3339

__all__ = ["ContractViolated", "ReadingRejected", "RejectedRow"]


import msgspec


class RejectedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One refused reading of a record that holds many."""

    row: int
    reason: str
    detail: str
    series: str = ""


class ReadingRejected(Event, frozen=True, kw_only=True):
    """A record, or some rows of it, did not become readings.

    On ``oddtide.deadletters`` the Kafka record's value is the input's original bytes (the first
    ``original_bytes`` of them where it is ``truncated``), its key the original key, and this event travels in
    the header ``oddtide-rejection`` as JSON. ``rows`` is empty where the whole record was refused.
    """

    reason: str
    detail: str
    stream: str
    topic: str
    partition: int
    offset: int
    rejected: int = 1
    rows: list[RejectedRow] = []
    time: Rfc3339 = ""
    size: int = 0
    truncated: bool = False
    sha256: str = ""
    attempt: int = 0


class ContractViolated(Event, frozen=True, kw_only=True):
    """A reading broke a rule of its stream's contract. ``action`` is what became of it: ``reject``, ``skip`` or
    ``report`` (scored all the same)."""

    id: str
    stream: str
    series: str
    rule: str
    detail: str
    action: str
    time: Rfc3339
    feature: str = ""
    value: float | None = None
    topic: str = ""
    partition: int = 0
    offset: int = 0
    row: int = 0
