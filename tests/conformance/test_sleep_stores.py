"""The promises of ``streams.ports.SleepStore``, for every implementation there is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from oddtide.adapters.memory import MemorySleepStores
from oddtide.adapters.rocksdb import RocksSleepStores
from oddtide.domain.errors import StorageUnavailableError
from oddtide.streams.ports import SleepStores


@pytest.fixture(params=["memory", "rocksdb"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> SleepStores:
    return MemorySleepStores() if request.param == "memory" else RocksSleepStores(tmp_path / "sleeping")


KEYS = [b"pump-%d" % number for number in range(50)]
ROWS = [os.urandom(number * 40) for number in range(50)]


def test_rows_come_back_by_their_key(stores: SleepStores) -> None:
    store = stores.open("t-0")
    store.put(KEYS, ROWS)
    assert list(store.get([KEYS[7], b"nobody", KEYS[3], KEYS[7], b""])) == [ROWS[7], None, ROWS[3], ROWS[7], None]
    assert list(store.get([])) == []
    store.put([KEYS[3], b""], [b"newer", b""])
    assert list(store.get([b"", KEYS[3], KEYS[4]])) == [b"", b"newer", ROWS[4]]
    store.close()


def test_stores_are_apart(stores: SleepStores) -> None:
    one, other, again = stores.open("t-0"), stores.open("t-1"), stores.open("t-0")
    one.put(KEYS[:1], ROWS[:1])
    assert list(other.get(KEYS[:1])) == list(again.get(KEYS[:1])) == [None]
    for store in (one, other, again):
        store.close()


def test_a_checkpoint_is_what_was_there_at_its_instant(stores: SleepStores, tmp_path: Path) -> None:
    store = stores.open("t-0")
    store.put(KEYS, ROWS)
    files = store.checkpoint(tmp_path / "a" / "checkpoint")
    store.put(KEYS[:2], [b"later", b"later"])
    assert files
    assert sorted(files) == sorted((tmp_path / "a" / "checkpoint").iterdir())
    store.close()
    for _ in range(2):  # the checkpoint is left as it is
        other = stores.open("t-0", tmp_path / "a" / "checkpoint")
        assert list(other.get(KEYS)) == ROWS
        other.put(KEYS[:1], [b"changed"])
        other.checkpoint(tmp_path / "second")
        shutil.rmtree(tmp_path / "second")
        other.close()


def test_a_checkpoint_survives_being_copied_elsewhere(stores: SleepStores, tmp_path: Path) -> None:
    store = stores.open("t-0")
    store.put(KEYS, ROWS)
    (tmp_path / "elsewhere").mkdir()
    for file in store.checkpoint(tmp_path / "checkpoint"):
        (tmp_path / "elsewhere" / file.name).write_bytes(file.read_bytes())
    store.close()
    shutil.rmtree(tmp_path / "checkpoint")
    other = stores.open("t-3", tmp_path / "elsewhere")
    assert list(other.get(KEYS)) == ROWS
    other.close()


def test_what_is_closed_says_so(stores: SleepStores, tmp_path: Path) -> None:
    store = stores.open("t-0")
    store.close()
    store.close()
    with pytest.raises(StorageUnavailableError, match="closed"):
        store.put(KEYS, ROWS)
    with pytest.raises(StorageUnavailableError, match="closed"):
        store.get(KEYS)
    with pytest.raises(StorageUnavailableError, match="closed"):
        store.checkpoint(tmp_path / "checkpoint")


def test_what_is_no_checkpoint_is_refused(stores: SleepStores, tmp_path: Path) -> None:
    store = stores.open("t-0")
    store.put(KEYS, ROWS)
    damaged = tmp_path / "damaged"
    for file in store.checkpoint(damaged):
        if file.name in {"CURRENT", "rows"}:
            file.unlink()
            file.write_bytes(b"junk")
    store.close()
    for folder in (tmp_path / "nowhere", damaged):
        with pytest.raises(StorageUnavailableError):
            stores.open("t-0", folder)


def test_a_folder_that_cannot_be_written_is_said(stores: SleepStores, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = stores.open("t-0")
    store.put(KEYS, ROWS)
    with pytest.raises(StorageUnavailableError):
        store.checkpoint(tmp_path / "file" / "checkpoint")
    store.close()
