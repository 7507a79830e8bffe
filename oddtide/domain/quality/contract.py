"""What a stream promises: the declaration of a contract. The rules that check it are in ``validation``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Action", "Contract", "FeatureRule", "OrderPolicy"]

#: What becomes of a reading that breaks a rule: refused to the dead letters, not scored but counted, or scored
#: all the same and reported.
Action = Literal["reject", "skip", "report"]
#: What becomes of a reading older than its series' newest: scored anyway, or not.
OrderPolicy = Literal["accept", "skip", "reject"]


@dataclass(frozen=True, slots=True)
class FeatureRule:
    """One feature: whether it must be there and the range (both ends in) it may take, in its own unit; of a
    ``counter`` detectors see the growth per second (see ``counters``)."""

    name: str
    required: bool = True
    minimum: float | None = None
    maximum: float | None = None
    on_range: Action = "reject"
    counter: bool = False


@dataclass(frozen=True, slots=True)
class Contract:
    """A stream's contract. Durations in seconds.

    ``max_age_s``/``max_ahead_s``  how far a reading's time may lie before/after its Kafka record's timestamp
    ``order``                      what a reading older than the newest of its series gets
    ``duplicates``                 what a reading of exactly that time gets
    ``unknown_fields``             what a reading with an undeclared feature or field gets
    ``max_series_bytes``           longest series key, in bytes of UTF-8
    ``max_labels``                 most labels a reading may carry
    ``max_label_length``           longest name or text of a label, in characters
    """

    features: tuple[FeatureRule, ...] = field(default_factory=lambda: (FeatureRule("value"),))
    max_age_s: float = 40 * 365.25 * 86_400
    max_ahead_s: float = 3_600.0
    order: OrderPolicy = "accept"
    duplicates: OrderPolicy = "accept"
    unknown_fields: Literal["reject", "ignore"] = "reject"
    max_series_bytes: int = 512
    max_labels: int = 32
    max_label_length: int = 256

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in column order."""
        return tuple(rule.name for rule in self.features)

    @property
    def counters(self) -> tuple[bool, ...]:
        """Which features are counters, in column order."""
        return tuple(rule.counter for rule in self.features)
