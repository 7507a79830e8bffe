"""Why a broker did not come up, in one line, from what it wrote before it ended."""

from __future__ import annotations

from pathlib import Path

from oddtide.domain.errors import DependencyError, OddtideError, StorageUnavailableError

__all__ = ["explain", "port_taken"]

_TAIL = 65_536


def port_taken(port: int, *, kafka: bool) -> DependencyError:
    """Port in use, by a Kafka of somebody else or by another program."""
    owner = "another Kafka" if kafka else "another program"
    remedy = "Choose another with embedded.port, or stop what uses it."
    if kafka:
        remedy = f'Use that one with kafka.bootstrap = "127.0.0.1:{port}", or choose another embedded.port.'
    return DependencyError(f"Port {port} is in use by {owner}.", remedy=remedy)


def explain(logs: Path, port: int, end: str = "it left no reason") -> OddtideError:
    """The error that fits the last lines of the broker's logs; ``end`` says how it ended where they tell nothing."""
    text = "".join(_tail(logs / name) for name in ("start.log", "kafka.log"))
    if "No space left on device" in text:
        return StorageUnavailableError(
            f"The embedded Kafka stopped: the disk that holds {logs.parent} is full.",
            remedy="Free some space, or move the data with the setting data_folder.",
        )
    if "Address already in use" in text:
        return port_taken(port, kafka=False)
    if "Could not reserve enough space" in text or "insufficient memory" in text or "OutOfMemoryError" in text:
        return DependencyError(
            "The embedded Kafka stopped: there is not enough memory for Java.",
            remedy="Free memory, or lower embedded.heap_mib.",
        )
    if "UnsupportedClassVersionError" in text:
        return DependencyError(
            "The embedded Kafka stopped: Java is too old for it.", remedy="Set ODDTIDE_JAVA to a Java 17 or newer."
        )
    cause = next((line for line in reversed(text.splitlines()) if _telling(line)), end)
    return DependencyError(
        f"The embedded Kafka stopped while starting: {cause.strip()}.", remedy=f"Its logs are in {logs}."
    )


def _telling(line: str) -> bool:
    return any(mark in line for mark in (" ERROR ", " FATAL ", "Exception", "Error: ", " error: "))


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
