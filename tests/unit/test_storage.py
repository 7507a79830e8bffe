"""Read models on SQLite: addresses, errors, schema, locks."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

import oddtide.adapters.storage.migrations
from oddtide.adapters.storage import SqlReadModels, database
from oddtide.adapters.storage.columns import Label, digest, identifier, moment
from oddtide.adapters.storage.database import Address, Database, _sqlite, parse_address
from oddtide.adapters.storage.faults import faults
from oddtide.adapters.storage.locks import acquire_projector_lock, projector_holder
from oddtide.adapters.storage.migrate import SCHEMA
from oddtide.adapters.storage.projections import PROJECTIONS
from oddtide.adapters.storage.tables import METADATA, OUTBOX, TRACKING
from oddtide.domain.errors import ConfigurationError, MissingExtraError, StorageUnavailableError
from tests import read_model_events as make
from tests.read_model_events import NOW, Log


def read_models(path: Path) -> SqlReadModels:
    return SqlReadModels(f"sqlite:///{path}", clock=lambda: NOW)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////data/read.db", "sqlite:////data/read.db"),
        ("postgresql://me:secret@db/x", "postgresql://me:***@db/x"),
        ("postgresql+psycopg://me:secret@db:5433/x", "postgresql+psycopg://me:***@db:5433/x"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert parse_address(url).shown == shown


@pytest.mark.parametrize("url", ["", "no url", "sqlite://", "sqlite:///:memory:", "mysql://me:secret@db/x"])
def test_a_url_that_is_none_of_ours_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql\\+psycopg://") as caught:
        parse_address(url)
    assert "secret" not in str(caught.value)


def test_without_its_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"oddtide\[postgres\]"):
        SqlReadModels("postgresql://db/x", clock=lambda: NOW)


def test_sqlite_is_set_up_for_readers_beside_a_writer(tmp_path: Path) -> None:
    with read_models(tmp_path / "read.db") as models, models._database.reading() as connection:
        settings = [
            connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        ]
    assert settings == ["wal", 1, 30_000]


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailableError, match="cannot be made"):
        read_models(tmp_path / "file" / "data" / "read.db").open()


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailableError, match="unable to open") as caught:
        read_models(tmp_path).open()
    assert "writable" in caught.value.remedy


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "read.db").write_bytes(b"no database at all, but long enough to be read as one" * 100)
    with pytest.raises(StorageUnavailableError, match="not a database"):
        read_models(tmp_path / "read.db").open()


def test_a_full_disk_is_a_clear_error_and_changes_nothing(tmp_path: Path) -> None:
    log = Log()
    with read_models(tmp_path / "read.db") as models:
        small = [log.append("oddtide.alerts", make.opened("a"))]
        models.fold("observability", small, {})
        models.close()

        def fill_up(connection: Any, _record: object) -> None:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")

        event.listen(models._database.engine, "connect", fill_up)
        large = [log.append("oddtide.alerts", make.opened(f"{n}", summary="x" * 10_000)) for n in range(50)]
        with pytest.raises(StorageUnavailableError, match="full") as caught:
            models.fold("observability", large, {})
        assert "Free space" in caught.value.remedy
        models.close()
        assert models.positions("observability") == {("oddtide.alerts", 0): 1}
        assert len(models.alerts()) == 1


def test_faults_of_ours_are_not_taken_for_the_databases() -> None:
    for error in (
        IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed")),
        ProgrammingError("SELEC", {}, sqlite3.ProgrammingError("syntax error")),
    ):
        with pytest.raises(type(error)), faults("sqlite:///x"):
            raise error


def test_what_is_not_known_about_has_a_remedy_too() -> None:
    with pytest.raises(StorageUnavailableError, match="out of memory") as caught, faults("sqlite:///x"):
        raise sqlite3.OperationalError("out of memory")
    assert caught.value.remedy


def test_a_disk_that_fails_may_be_full() -> None:
    with pytest.raises(StorageUnavailableError, match="full or failing"), faults("sqlite:///x"):
        raise sqlite3.OperationalError("disk I/O error")


def test_a_missing_right_is_the_databases() -> None:
    class MissingRightError(Exception):
        sqlstate = "42501"

    error = ProgrammingError("CREATE", {}, MissingRightError("permission denied for schema public"))
    with pytest.raises(StorageUnavailableError, match="Grant"), faults("postgresql://db/x"):
        raise error


def test_a_database_of_a_newer_build_is_refused(tmp_path: Path) -> None:
    with read_models(tmp_path / "read.db") as models, models._database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageUnavailableError, match=r"9999.*newer") as caught:
        read_models(tmp_path / "read.db").open()
    assert "Upgrade oddtide" in caught.value.remedy


def test_the_schema_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(oddtide.adapters.storage.migrations.__path__[0])))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA]


def test_several_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with read_models(tmp_path / "data" / "read.db") as models:
                models.positions("health")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_every_table_is_some_projections_content() -> None:
    tables = [content.table.name for projection in PROJECTIONS for content in projection.contents]
    assert sorted([*tables, OUTBOX.name, TRACKING.name]) == sorted(METADATA.tables)


def test_columns_take_what_is_missing() -> None:
    label = Label()
    dialect: Any = None
    assert label.process_bind_param(None, dialect) is None
    assert label.process_result_value(None, dialect) is None
    assert label.process_bind_param("\ud800", dialect) == "?"


def test_keys_are_short_and_tell_apart() -> None:
    assert digest("a", "b") != digest("a\x1fb")
    assert digest("a", 1) == digest("a", "1")
    assert identifier("short") == "short"
    assert len(identifier("x" * 201)) == 32
    assert moment("2026-01-01T12:00:00.5Z") == NOW + 500_000_000
    assert moment("no time") == moment("") == 0


def test_the_lock_of_a_folder_ends_with_its_process(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from oddtide.adapters.storage.locks import acquire_projector_lock; "
        "lock = acquire_projector_lock(pathlib.Path(sys.argv[1]), 'the other'); print(lock.holder, flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "the other\n"
        assert acquire_projector_lock(tmp_path, "me") is None
        assert projector_holder(tmp_path) == "the other"
        other.kill()
    lock = acquire_projector_lock(tmp_path, "me")
    assert lock is not None
    assert projector_holder(tmp_path) == "me"
    lock.release()
    assert projector_holder(tmp_path) is None


def test_nobody_holds_the_lock_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert projector_holder(tmp_path / "nothing") is None


def test_a_lock_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailableError, match=r"projector\.lock"):
        acquire_projector_lock(tmp_path / "file", "me")


def test_threads_that_ask_at_once_share_one_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second engine would be lost with its connections open."""
    made: list[Engine] = []

    def slowly(address: Address) -> Engine:
        time.sleep(0.05)
        made.append(_sqlite(address))
        return made[-1]

    monkeypatch.setattr(database, "_sqlite", slowly)
    shared = Database(parse_address(f"sqlite:///{tmp_path}/read.db"))
    with ThreadPoolExecutor(4) as threads:
        assert len({id(found) for found in threads.map(lambda _: shared.engine, range(4))}) == 1
    assert len(made) == 1
    shared.close()


def test_a_connection_in_use_is_closed_when_its_transaction_ends_after_closing(tmp_path: Path) -> None:
    shared = Database(parse_address(f"sqlite:///{tmp_path}/read.db"))
    with shared.reading() as connection:
        raw: Any = connection.connection.dbapi_connection
        shared.close()
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        raw.execute("SELECT 1")
