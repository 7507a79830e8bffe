"""The procedures of docs/operations.md as written there: other workers, another build, more partitions. After each of
them the ledger adds up and history is verified."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.history_kit import STREAMS, T0_MS, History, answer, history, run

__all__ = ["history"]

#: A worker as another build would be: everything computes the same, the name is another.
OLDER = """
import oddtide.config.build as build
from oddtide.config.cli import main

name = build.build_name()
build.build_name = lambda: "0.0.1/" + name.partition("/")[2]
main()
"""


@contextmanager
def worker(*arguments: str, program: tuple[str, ...] = ("-m", "oddtide")) -> Iterator[None]:
    """A worker that is stopped as an operator would; it must end well."""
    process = subprocess.Popen(
        [sys.executable, *program, "worker", "--roles", "ingest", *arguments], stderr=subprocess.PIPE,
        env=os.environ.copy(),
    )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 0, said


def produce(history: History, topic: str, start: int, count: int) -> None:
    """Readings of eight series, keyed as producers key them."""
    with history.composition.writer() as writer:
        for i in range(start, start + count):
            key = f"pump-{i % 8}"
            value = 1e6 if i % 97 == 96 else float(i * 7 % 11)
            reading = {"series": key, "time": T0_MS + 1_000 * i, "value": value}
            writer.send(topic, json.dumps(reading).encode(), key=key.encode())


def processed(stream: str, readings: int) -> None:
    deadline = time.monotonic() + 90
    while True:
        done = sum(each["readings"] for each in answer("ledger", "check", "--stream", stream))
        if done >= readings:
            assert done == readings
            return
        assert time.monotonic() < deadline, f"{done} of {readings} readings"
        time.sleep(0.5)


def verified(stream: str, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer("replay", "--verify", "--stream", stream, *arguments)
    assert {each["status"] for each in found} <= {"equal", "nothing"}
    assert "equal" in {each["status"] for each in found}
    return found


@pytest.mark.timeout(300)
def test_other_workers_another_build_and_more_partitions(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ODDTIDE_STREAMS")
    monkeypatch.setenv("ODDTIDE_WORKER__METRICS", "false")
    settings = tmp_path / "oddtide.toml"
    stream = "name = {name!r}\ntopic = {topic!r}\npartitions = {count}\npublish = 'all'\ndetectors = ['ewma']\n"
    old = "[[streams]]\n" + stream.format(name="readings", topic=history.topic, count=STREAMS[0]["partitions"])
    settings.write_text(old)

    produce(history, history.topic, 0, 400)
    with worker(program=("-c", OLDER)):
        processed("readings", 400)
    with worker("--instances", "2"):  # another build, and more workers
        produce(history, history.topic, 400, 400)
        processed("readings", 800)
    with worker():  # fewer
        produce(history, history.topic, 800, 200)
        processed("readings", 1_000)
    whole = verified("readings")
    assert sum(each["compared"] for each in whole) == sum(each["equal"] for each in whole) >= 3
    newest = max(whole, key=lambda each: each["to"])
    later = verified("readings", "--from", str(newest["to"] - 1), "-p", str(newest["partition"]))
    assert later[0]["started"].startswith("the snapshot at ")

    wide = f"{history.prefix}.wide"
    moved = ["topics", "migrate", "--stream", "readings", "--to", wide, "--partitions", "5"]
    answer(*moved)
    produce(history, history.topic, 1_000, 40)  # producers go on meanwhile; then they are stopped
    answer(*moved)
    settings.write_text(old + "[[streams]]\n" + stream.format(name="pumps", topic=wide, count=5))
    assert run("topics", "create").exit_code == 0
    with worker():
        processed("pumps", 1_040)
        produce(history, wide, 1_040, 60)  # producers now send to the new topic
        processed("pumps", 1_100)
        processed("readings", 1_040)
    verified("pumps")
    verified("readings")
    assert run("ledger", "check", "--stream", "pumps").exit_code == 0
