"""A connection to the read models' database: SQLite in the data folder, or PostgreSQL."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from oddtide.adapters.storage.faults import faults
from oddtide.domain.errors import ConfigurationError, MissingExtraError

__all__ = ["Address", "Database", "parse_address"]

_BUSY_S = 30
_CONNECT_S = 5
_WRITES = "oddtide_writes"
_FORMS = "Use sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME."


@dataclass(frozen=True, slots=True)
class Address:
    """Where the read models lie. ``shown`` is the URL without its password; ``file`` is SQLite's."""

    url: URL
    shown: str
    file: Path | None

    @property
    def folder(self) -> Path | None:
        """The data folder of a SQLite file."""
        return None if self.file is None else self.file.parent


def parse_address(url: str) -> Address:
    """Understand a database URL.

    Raises ``ConfigurationError`` for one that is not understood, ``MissingExtraError`` where its driver is not there.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError("The database URL cannot be read.", remedy=_FORMS) from None
    shown = parsed.render_as_string(hide_password=True)
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ConfigurationError(f"The database {shown} names no file.", remedy=_FORMS)
        return Address(parsed.set(drivername="sqlite"), shown, Path(parsed.database))
    if kind not in {"postgresql", "postgres"}:
        raise ConfigurationError(f"The database {shown} is of an unknown kind, {kind!r}.", remedy=_FORMS)
    if importlib.util.find_spec("psycopg") is None:
        raise MissingExtraError(
            f"The database {shown} needs the driver psycopg, which is not installed.",
            remedy="Install the extra: pip install 'oddtide[postgres]'.",
        )
    return Address(parsed.set(drivername="postgresql+psycopg"), shown, None)


class Database:
    """Transactions on one database. Safe to use from several threads; errors are ``StorageUnavailableError``."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._engine: Engine | None = None
        self._making = threading.Lock()
        # SQLite has one writer: waiting here is fairer than its polling.
        self._writer: AbstractContextManager[Any] = threading.Lock() if address.file else nullcontext()

    @property
    def engine(self) -> Engine:
        """The engine; made at its first use."""
        with self._making:
            if self._engine is None:
                self._engine = _sqlite(self.address) if self.address.file else _postgresql(self.address)
            return self._engine

    @property
    def is_postgresql(self) -> bool:
        """Whether several machines may share it."""
        return self.address.file is None

    def close(self) -> None:
        """Give all connections back, one in use at the end of its transaction. Using it again opens new ones."""
        with self._making:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end, rolled back on an error."""
        with self._writer, faults(self.address.shown), self._connected() as connection:
            connection = connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees the database as it was at its first query."""
        with faults(self.address.shown), self._connected() as connection:
            if self.is_postgresql:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        engine = self.engine
        with engine.connect() as connection:
            try:
                yield connection
            finally:
                if engine is not self._engine and not connection.invalidated:
                    connection.detach()  # closed meanwhile: the pool that it came from is gone


def _sqlite(address: Address) -> Engine:
    engine = create_engine(address.url, connect_args={"timeout": _BUSY_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not open transactions by itself: they would begin too late and never around DDL.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", f"busy_timeout={_BUSY_S * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once where another one wrote in between.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(address: Address) -> Engine:
    return create_engine(address.url, pool_pre_ping=True, connect_args={"connect_timeout": _CONNECT_S})
