from __future__ import annotations

from pathlib import Path

import pytest

from oddtide.config.worker_numbers import WorkerNumber, instance_id
from oddtide.domain.errors import StorageUnavailableError


def test_each_has_a_number_of_its_own_and_the_next_one_has_it_again(tmp_path: Path) -> None:
    first, second = WorkerNumber(tmp_path), WorkerNumber(tmp_path)
    assert (first.number, second.number) == (0, 1)
    assert WorkerNumber(tmp_path, preferred=5).number == 5
    first.release()
    first.release()
    assert WorkerNumber(tmp_path, preferred=1).number == 0, "the wanted one is taken: the lowest free"
    assert first.place == second.place != WorkerNumber(tmp_path / "other").place


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(StorageUnavailableError, match=r"/proc/nowhere/workers.*Make the data folder writable"):
        WorkerNumber(Path("/proc/nowhere"))


def test_an_instance_is_another_one_with_other_topics() -> None:
    name = instance_id("host-1", ["b", "a"])
    assert name.startswith("host-1-")
    assert name == instance_id("host-1", ["a", "b"])
    assert name != instance_id("host-1", ["a", "b", "c"])
