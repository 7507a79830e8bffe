"""Read models on databases as they are: the migrated schema, a server that is not there or goes away."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from oddtide.adapters.storage import SqlReadModels
from oddtide.adapters.storage.tables import METADATA
from oddtide.domain.errors import StorageUnavailableError
from tests import read_model_events as make
from tests.read_model_events import NOW, Log

pytest_plugins = ("tests.postgres",)


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port that is taken, by someone who does not answer."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def differ(context: Any, _found: object, _declared: object, found: Any, declared: Any) -> bool:
    """Whether two types of a column are written differently, collation and all."""
    written: list[str] = [kind.compile(dialect=context.dialect) for kind in (found, declared)]
    return written[0] != written[1]


def test_the_migrations_build_the_tables(database_url: str) -> None:
    with (
        SqlReadModels(database_url, clock=lambda: NOW) as models,
        models._database.reading() as connection,
    ):
        context = MigrationContext.configure(connection, opts={"compare_type": differ})
        assert compare_metadata(context, METADATA) == []


def test_texts_are_ordered_by_their_bytes(database_url: str) -> None:
    log = Log()
    with SqlReadModels(database_url, clock=lambda: NOW) as models:
        events = [log.append("oddtide.alerts", make.opened(name)) for name in ("a1", "aZ", "a-", "aä", "a_", "aa")]
        models.fold("observability", events, {})
        assert models.alert_ids("a") == ["a-", "a1", "aZ", "a_", "aa", "aä"]


def test_no_server_at_the_address(postgres_url: str, free_port: int) -> None:
    url = f"postgresql+psycopg://oddtide:secret@127.0.0.1:{free_port}/x"
    with pytest.raises(StorageUnavailableError, match="refused") as caught:
        SqlReadModels(url, clock=lambda: NOW).open()
    assert "secret" not in str(caught.value)
    assert "server runs" in caught.value.remedy


def test_no_such_database_on_the_server(postgres_url: str) -> None:
    with pytest.raises(StorageUnavailableError, match="does not exist") as caught:
        SqlReadModels(f"{postgres_url}_2", clock=lambda: NOW).open()
    assert "Create the database" in caught.value.remedy


def test_a_right_that_is_missing(postgres_url: str) -> None:
    guest = SqlReadModels(postgres_url.replace("oddtide@", "guest@"), clock=lambda: NOW)
    with SqlReadModels(postgres_url, clock=lambda: NOW) as owner:
        with owner._database.writing() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
            connection.execute(text("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN"))
        with pytest.raises(StorageUnavailableError, match=r"no schema.*Grant"):
            guest.open()
        with owner._database.writing() as connection:
            connection.execute(text("GRANT USAGE ON SCHEMA public TO guest"))
        with pytest.raises(StorageUnavailableError, match=r"permission denied.*Grant"):
            guest.open()


def test_a_connection_that_the_server_ended_is_made_again(postgres_url: str) -> None:
    log = Log()
    with (
        SqlReadModels(postgres_url, clock=lambda: NOW) as models,
        SqlReadModels(postgres_url, clock=lambda: NOW) as other,
    ):
        models.fold("observability", [log.append("oddtide.alerts", make.opened("a"))], {})
        ends = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                    "AND datname = current_database()")  # fmt: skip
        with other._database.writing() as connection:
            connection.execute(ends)
        models.fold("observability", [log.append("oddtide.alerts", make.opened("b"))], {})

        def lose_the_connection_in_the_middle() -> None:
            with models._database.writing() as connection:
                with other._database.writing() as killer:
                    killer.execute(ends)
                connection.execute(text("SELECT 1"))

        with pytest.raises(StorageUnavailableError):
            lose_the_connection_in_the_middle()
        assert models.positions("observability") == {("oddtide.alerts", 0): 2}


def test_machines_share_a_postgresql_until_one_rebuilds(postgres_url: str) -> None:
    with (
        SqlReadModels(postgres_url, clock=lambda: NOW) as models,
        SqlReadModels(postgres_url, clock=lambda: NOW) as other,
    ):
        first = models.acquire_projector_lock("machine-1")
        second = other.acquire_projector_lock("machine-2")
        assert first is not None
        assert second is not None
        assert models.projector_holder() == "machine-1, machine-2"
        assert models.acquire_projector_lock("rebuild", alone=True) is None
        first.release()
        second.release()
        alone = models.acquire_projector_lock("rebuild", alone=True)
        assert alone is not None
        with alone:
            assert other.acquire_projector_lock("machine-2") is None
