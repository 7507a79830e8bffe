"""What a database's errors mean to a person: what is wrong and what to do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError

from oddtide.domain.errors import StorageUnavailableError

__all__ = ["faults"]

#: What the driver's message holds -> what to do. The first that fits.
_REMEDIES = (
    ("disk is full", "Free space on the disk that holds it, then try again; nothing was lost, the log has it all."),
    ("disk i/o error", "Its disk is full or failing: free space or replace it; nothing was lost, the log has it all."),
    ("no space left", "Free space on the database server's disk, then try again; the log has it all."),
    ("unable to open", "Its folder must exist and be writable by this user; or set another data folder."),
    ("readonly database", "The file and its folder must be writable by this user; or set another data folder."),
    ("database is locked", "Another process is writing to it for long; stop that one or wait."),
    ("not a database", "The file is something else; set another path, or move it away and rebuild the projections."),
    ("malformed", "The file is damaged: move it away and run `oddtide projections rebuild`; the log has it all."),
    ("password authentication", "Correct the user or the password in the database's URL."),
    ("does not exist", "Create the database or the user that the URL names, or correct the URL."),
    ("no schema", "Grant the user of the URL the right to use a schema and to create tables in it."),
    ("permission denied", "Grant the user of the URL the right to create tables in the schema."),
)
#: What PostgreSQL counts as wrong SQL, but is a missing right: no privilege; no schema that this user may see.
_RIGHTS = frozenset({"42501", "3F000"})
_ELSE = "Check that the database server runs, that the URL is right and that this machine may reach it."
_ELSE_FILE = "Check the file and its disk."


@contextmanager
def faults(shown: str) -> Iterator[None]:
    """Turn what a database cannot do into ``StorageUnavailableError``. ``shown`` is its URL without a password.

    Breaches of constraints and wrong SQL are faults of ours and pass through.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        if isinstance(error, IntegrityError | DataError) or not isinstance(error, DBAPIError | sqlite3.Error):
            raise
        if isinstance(error, ProgrammingError) and getattr(cause, "sqlstate", "") not in _RIGHTS:
            raise
        message = " ".join(str(cause).split())
        problem = f"The database {shown} cannot be used: {message}."
        raise StorageUnavailableError(problem, remedy=_remedy(message, shown)) from error


def _remedy(message: str, shown: str) -> str:
    text = message.lower()
    otherwise = _ELSE_FILE if shown.startswith("sqlite") else _ELSE
    return next((remedy for part, remedy in _REMEDIES if part in text), otherwise)
