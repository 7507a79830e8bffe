"""What alembic runs: our own connection and transaction come from :mod:`oddtide.adapters.storage.migrate`."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from oddtide.adapters.storage.tables import METADATA


def run(connection: Connection) -> None:
    """Run the migrations on ``connection``, inside the caller's transaction."""
    context.configure(connection=connection, target_metadata=METADATA)
    context.run_migrations()


run(context.config.attributes["connection"])
