"""In memory: for tests, and wherever a place outside the process is not wanted."""

from __future__ import annotations

from oddtide.adapters.memory.sleeping import MemorySleepStores

__all__ = ["MemorySleepStores"]
