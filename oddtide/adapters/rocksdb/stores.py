"""Sleeping series in RocksDB."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import finalize

from oddtide.domain.errors import ConfigurationError, StorageUnavailableError

if TYPE_CHECKING:
    from rocksdict import Cache, Options, Rdict, WriteBufferManager

__all__ = ["RocksSleepStore", "RocksSleepStores"]

_MIB = 1 << 20
#: Shared by all stores of a process: blocks, indexes and filters read lately; rows not yet in files.
_CACHE_MIB = 16
_BUFFERS_MIB = 16
_BUFFER_MIB = 4
_OPEN_FILES = 64
#: Bits a key in the filters that spare a read for keys that are not there (1 % of them read all the same).
_FILTER_BITS = 10
_LOCK = "owner.lock"


class RocksSleepStore:
    """One database; keeps the promises of ``streams.ports.SleepStore``."""

    def __init__(self, stores: RocksSleepStores, database: Rdict, folder: Path) -> None:
        from rocksdict import WriteOptions  # imported late: an optional way of working

        self._database: Rdict | None = database
        self._folder = folder
        self._stores = stores  # its end would be this folder's
        self._one_at_a_time = Lock()
        self._unlogged: Any = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[method-assign,assignment]  # a property; its stubs say method

    def put(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        """Store a row under each key: one batch."""
        from rocksdict import WriteBatch  # imported late, likewise

        batch = WriteBatch(raw_mode=True)
        for key, row in zip(keys, rows, strict=True):
            batch.put(key, row)
        with self._using("written") as database:
            database.write(batch, self._unlogged)

    def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The row under each key; keys are looked up in order, so that a block is read once."""
        order = sorted(range(len(keys)), key=keys.__getitem__)
        with self._using("read") as database:
            found = database.get([keys[place] for place in order]) if order else []
        rows: list[bytes | None] = [None] * len(keys)
        for place, row in zip(order, found or [], strict=True):
            rows[place] = row
        return rows

    def checkpoint(self, folder: Path) -> list[Path]:
        """Hard links of the table files, which never change, and copies of the small ones that list them."""
        from rocksdict import Checkpoint  # imported late, likewise

        with self._using("written") as database:
            folder.parent.mkdir(parents=True, exist_ok=True)
            database.flush()
            Checkpoint(database).create_checkpoint(str(folder))
        return sorted(folder.iterdir())

    def close(self) -> None:
        """Close the database and delete its folder. What another thread is in the midst of is waited for: rocksdict
        would refuse to close, or the other's call."""
        with self._one_at_a_time:
            if self._database is not None:
                self._database.close()
                self._database = None
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def _using(self, verb: str) -> Iterator[Rdict]:
        with self._one_at_a_time:
            if self._database is None:
                raise StorageUnavailableError("The store of sleeping series is closed.", remedy="Open another.")
            with _translated(f"Sleeping series cannot be {verb} in {self._folder}"):
                yield self._database


class RocksSleepStores:
    """Makes databases below ``root``, in a folder of this process, which holds a lock on it as long as it lives, and
    deletes it when it ends. Folders of processes that were killed are deleted on the way.

    Raises ``ConfigurationError`` where RocksDB is not installed."""

    def __init__(self, root: Path) -> None:
        _library()
        self._root = root
        self._folder: Path | None = None
        self._made = 0
        self._shared: tuple[Cache, WriteBufferManager] | None = None

    def open(self, name: str, source: Path | None = None) -> RocksSleepStore:
        """An empty store, or one with what a checkpoint holds: its table files are linked where possible."""
        from rocksdict import Rdict  # imported late, likewise

        self._made += 1
        with _translated(f"No place for sleeping series can be made in {self._root}"):
            folder = self._own() / f"{self._made}-{name}"
            folder.mkdir()
            if source is not None:
                _take_over(source, folder)
            return RocksSleepStore(self, Rdict(str(folder), self._options()), folder)

    def _own(self) -> Path:
        if self._folder is None:
            self._root.mkdir(parents=True, exist_ok=True)
            for other in self._root.iterdir():
                _sweep(other)
            folder = Path(mkdtemp(prefix=f"{os.getpid()}-", dir=self._root))  # only for us to read
            lock = os.open(folder / _LOCK, os.O_CREAT | os.O_WRONLY, 0o600)
            finalize(self, _leave, folder, lock, os.getpid())
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._folder = folder
        return self._folder

    def _options(self) -> Options:
        from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, WriteBufferManager

        if self._shared is None:
            self._shared = Cache(_CACHE_MIB * _MIB), WriteBufferManager(_BUFFERS_MIB * _MIB, False)
        cache, buffers = self._shared
        tables = BlockBasedOptions()
        tables.set_block_cache(cache)
        tables.set_cache_index_and_filter_blocks(True)
        tables.set_bloom_filter(_FILTER_BITS, False)
        tables.set_format_version(5)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(tables)
        options.set_write_buffer_manager(buffers)
        options.set_write_buffer_size(_BUFFER_MIB * _MIB)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_max_open_files(_OPEN_FILES)
        options.set_max_background_jobs(2)
        options.set_keep_log_file_num(1)
        options.set_max_log_file_size(_MIB)
        return options


def _library() -> None:
    try:
        import rocksdict  # noqa: F401  (only whether it can be: wheels are not there for every platform)
    except ImportError as error:
        raise ConfigurationError(
            f"The memory budget needs RocksDB: {error}.",
            remedy="Install rocksdict, or set worker.memory_mib = 0 to keep every series in memory.",
        ) from None


def _leave(folder: Path, lock: int, owner: int) -> None:
    if os.getpid() == owner:  # and not a child that was forked
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(folder: Path) -> None:
    """Delete what a process left behind that is gone."""
    try:
        with (folder / _LOCK).open("rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # its process lives, or is about to take the lock


def _take_over(source: Path, folder: Path) -> None:
    for file in source.iterdir():
        target = folder / file.name
        if file.suffix != ".sst":
            shutil.copy(file, target)
            continue
        try:
            os.link(file, target)
        except OSError:  # another file system, or one without links
            shutil.copy(file, target)


@contextmanager
def _translated(problem: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # rocksdict raises plain Exception for whatever RocksDB says
        raise StorageUnavailableError(
            f"{problem}: {error}.", remedy="Make room on the disk or set data_folder elsewhere."
        ) from error
