"""The jars that make up the embedded Kafka, pinned in ``kafka-<version>.jars`` beside this file.

They are Kafka's own dependencies as its Maven metadata resolve them, and the binding that carries its log lines from
slf4j to log4j, which its own distribution has and its metadata has not. Only these bytes are ever run, wherever they
were fetched from: jgo itself merely warns of a wrong checksum. A new version of Kafka is a new list.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["KAFKA_VERSION", "Pin", "kafka_pins"]

KAFKA_VERSION = "4.2.0"


class Pin(NamedTuple):
    """A jar: SHA-256 in hex, size in bytes, Maven coordinate (group:artifact:version)."""

    sha256: str
    size: int
    coordinate: str

    @property
    def filename(self) -> str:
        """The jar's name in a repository."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def kafka_pins() -> tuple[Pin, ...]:
    """The jars of Kafka :data:`KAFKA_VERSION`, in the order of the class path."""
    text = (Path(__file__).parent / f"kafka-{KAFKA_VERSION}.jars").read_text(encoding="ascii")
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return tuple(Pin(sha256, int(size), coordinate) for sha256, size, coordinate in rows)
