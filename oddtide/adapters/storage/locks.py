"""Who may fold into a database.

A SQLite file has one projector process, which holds a lock on a file beside it. A PostgreSQL database has as many as
there are machines, each with partitions of its own, and none while a rebuild holds it alone. The system frees a lock
when its holder dies; PostgreSQL does so also where the connection is lost, unnoticed by the holder.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from oddtide.adapters.storage.database import Database
from oddtide.adapters.storage.faults import faults
from oddtide.domain.errors import StorageUnavailableError

__all__ = ["ProjectorLock", "acquire_projector_lock", "database_holder", "lock_database", "projector_holder"]

_FILE = "projector.lock"
_TRIES, _PAUSE_S = 5, 0.02
_KEY = 0x0DD71DE1
_HELD = """
SELECT DISTINCT holder.application_name
FROM pg_locks held JOIN pg_stat_activity holder USING (pid)
WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1 AND held.objid::bigint = :key
  AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
"""


class _Held(Protocol):
    def release(self) -> None: ...


class ProjectorLock:
    """A lock that is held until :meth:`release`, the end of the ``with`` block, or the end of the process."""

    def __init__(self, holder: str, held: _Held) -> None:
        self.holder = holder
        self._held: _Held | None = held

    def release(self) -> None:
        """Give it back. May be called twice."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class _FileLock:
    def __init__(self, handle: int) -> None:
        self._handle = handle

    def release(self) -> None:
        os.ftruncate(self._handle, 0)
        os.close(self._handle)


def acquire_projector_lock(folder: Path, holder: str) -> ProjectorLock | None:
    """The lock of a data folder, or None where another process has it (:func:`projector_holder` says who).

    ``holder`` is what others are told. Raises ``StorageUnavailableError`` where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageUnavailableError(
            f"The lock {folder / _FILE} cannot be made: {error.strerror}.", remedy="Make the folder writable."
        ) from None
    if not _taken(handle):
        os.close(handle)
        return None
    os.ftruncate(handle, 0)
    os.write(handle, holder.encode("utf-8", "replace"))
    return ProjectorLock(holder, _FileLock(handle))


def _taken(handle: int) -> bool:
    # Who only asks for the holder has the lock for an instant, so one refusal says nothing.
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_PAUSE_S)
    return False


def projector_holder(folder: Path) -> str | None:
    """Who holds the lock of a data folder; None where nobody does."""
    try:
        handle = os.open(folder / _FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(handle, 4096).decode("utf-8", "replace") or "another process"
    finally:
        os.close(handle)
    return None


class _SessionLock:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def release(self) -> None:
        # The session's end would free it too, but only after a while; where the connection is lost, it has.
        with suppress(SQLAlchemyError):
            self._connection.execute(text("SELECT pg_advisory_unlock_all()"))
        _end(self._connection)


def _end(connection: Connection) -> None:
    """End the session: its name must not go back to the pool with it."""
    with suppress(SQLAlchemyError):
        connection.invalidate()
    connection.close()


def lock_database(database: Database, holder: str, *, alone: bool) -> ProjectorLock | None:
    """The lock of a database. ``alone``: nobody else may hold it, as a rebuild needs; SQLite's is always so."""
    folder = database.address.folder
    if folder is not None:
        return acquire_projector_lock(folder, holder)
    with faults(database.address.shown):
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        take = "pg_try_advisory_lock" if alone else "pg_try_advisory_lock_shared"
        connection.execute(text("SELECT set_config('application_name', :name, false)"), {"name": holder})
        if connection.execute(text(f"SELECT {take}(:key)"), {"key": _KEY}).scalar_one():
            return ProjectorLock(holder, _SessionLock(connection))
        _end(connection)
        return None


def database_holder(database: Database) -> str | None:
    """Who holds the lock of a database, several separated by commas; None where nobody does."""
    folder = database.address.folder
    if folder is not None:
        return projector_holder(folder)
    with database.reading() as connection:
        names = connection.execute(text(_HELD), {"key": _KEY}).scalars().all()
    return ", ".join(names) or None
