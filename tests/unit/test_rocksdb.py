from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from oddtide.adapters.rocksdb import RocksSleepStores
from oddtide.domain.errors import ConfigurationError, StorageUnavailableError

LEAVES = """
import os, sys
from pathlib import Path
from oddtide.adapters.rocksdb import RocksSleepStores
store = RocksSleepStores(Path(sys.argv[1])).open("t-0")
store.put([b"a"], [b"b"])
print(flush=True)
sys.stdin.read()
os._exit(9)
"""


def test_a_process_deletes_what_those_before_it_left_and_nothing_of_those_alive(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEAVES, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        (its,) = tmp_path.iterdir()
        mine = RocksSleepStores(tmp_path).open("t-0")
        assert its in set(tmp_path.iterdir())
        other.communicate()
    assert its in set(tmp_path.iterdir())
    again = RocksSleepStores(tmp_path).open("t-0")
    assert its not in set(tmp_path.iterdir())
    assert list(again.get([b"a"])) == [None]
    for store in (mine, again):
        store.close()
    del mine, again, store
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    RocksSleepStores(tmp_path / "sleeping")
    assert not (tmp_path / "sleeping").exists()


def test_a_place_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageUnavailableError, match="data_folder"):
        RocksSleepStores(tmp_path / "file" / "sleeping").open("t-0")


def test_without_the_library_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    with pytest.raises(ConfigurationError, match="memory_mib = 0"):
        RocksSleepStores(tmp_path)


def test_tables_are_shared_by_checkpoints_and_stores(tmp_path: Path) -> None:
    stores = RocksSleepStores(tmp_path / "sleeping")
    store = stores.open("t-0")
    store.put([b"a"], [b"1"])
    first = {file.name: file.stat().st_ino for file in store.checkpoint(tmp_path / "1") if file.suffix == ".sst"}
    store.put([b"b"], [b"2"])
    second = {file.name: file.stat().st_ino for file in store.checkpoint(tmp_path / "2") if file.suffix == ".sst"}
    assert first
    assert first.items() < second.items()
    store.close()
    again = stores.open("t-0", tmp_path / "2")
    assert list(again.get([b"a", b"b"])) == [b"1", b"2"]
    again.close()


def test_closing_waits_for_what_another_thread_is_in_the_midst_of(tmp_path: Path) -> None:
    store = RocksSleepStores(tmp_path / "sleeping").open("t-0")
    keys = [b"%07d" % number for number in range(50_000)]
    store.put(keys, [b"row" * 20] * len(keys))
    began, errors = threading.Event(), list[BaseException]()

    def read() -> None:
        try:
            while True:
                began.set()
                store.get(keys)
        except BaseException as error:
            errors.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    began.wait()
    store.close()
    reading.join()
    assert [str(error) for error in errors] == ["The store of sleeping series is closed. Open another."]
