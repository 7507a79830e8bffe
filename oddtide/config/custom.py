"""The composition ``custom``: as the file says. No choice is taken for granted, no demand is made.

For what neither ``basic`` nor ``enterprise`` describes: a Kafka elsewhere with SQLite here, PostgreSQL beside the
embedded Kafka, plain text inside a trusted network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oddtide.config.sections import ArtifactSettings, KafkaSettings, StorageSettings

__all__ = ["check", "defaults"]


def defaults() -> dict[str, Any]:
    """Nothing beyond the fields' own defaults."""
    return {}


def check(kafka: KafkaSettings, storage: StorageSettings, artifacts: ArtifactSettings) -> None:
    """Nothing is demanded."""
