"""The composition ``basic``: one machine, everything open source and from pip. The default.

An embedded Kafka on 127.0.0.1, read models in SQLite, artifacts in a folder. Kafka or PostgreSQL elsewhere may
still be named; nothing is demanded.
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
