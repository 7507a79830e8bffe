"""RocksDB, embedded: where series sleep that the memory budget has no room for.

One database per partition held, in a folder that belongs to this process and is gone after it. Its own log is off: what
a crash takes from it comes back with the snapshot.
"""

from __future__ import annotations

from oddtide.adapters.rocksdb.stores import RocksSleepStores

__all__ = ["RocksSleepStores"]
