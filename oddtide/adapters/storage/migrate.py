"""Bringing a database to this build's schema, through alembic."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from oddtide.adapters.storage.database import Database
from oddtide.domain.errors import StorageUnavailableError

__all__ = ["SCHEMA", "current_schema", "migrate"]

#: The newest revision under ``migrations/versions``.
SCHEMA = "0001"

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x0DD71DE0


def current_schema(connection: Connection) -> str | None:
    """The revision that the database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def migrate(database: Database) -> None:
    """Bring the database to :data:`SCHEMA`, in one transaction; at once where it is there already.

    Several processes may do so at the same time. Raises ``StorageUnavailableError`` for a database of a newer build.
    """
    _make_folder(database)
    with database.reading() as connection:
        if current_schema(connection) == SCHEMA:
            return
    with database.writing() as connection:
        if database.is_postgresql:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _upgrade(connection, database.address.shown)


def _make_folder(database: Database) -> None:
    folder = database.address.folder
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailableError(
            f"The folder {folder} cannot be made: {error.strerror}.", remedy="Set a data folder that can be written."
        ) from None


def _upgrade(connection: Connection, shown: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = current_schema(connection)
    if found is not None and found not in known:
        raise StorageUnavailableError(
            f"The database {shown} has schema {found}, which is newer than this build's {SCHEMA}.",
            remedy="Upgrade oddtide on this machine, or set another database.",
        )
    command.upgrade(config, "head")
