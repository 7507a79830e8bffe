"""``oddtide topics migrate`` on a real Kafka: everything once, series in order, also when it is killed on the way."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import chain
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from oddtide.streams.agents.logs import log_client
from oddtide.streams.replay.migrating import migration_topic, partition_of
from oddtide.streams.replay.reading import bounds_of, read_records
from tests.integration.history_kit import T0_MS, History, answer, history, run

__all__ = ["history"]


def produce(history: History, count: int, start: int = 0) -> None:
    """Readings of twenty series by their keys, with headers, tombstones, some without a key, and an aborted one."""

    async def send() -> None:
        options = history.composition.broker_access().aiokafka_options()
        async with AIOKafkaProducer(**options) as producer:
            for i in range(start, start + count):
                key = f"series-{i % 20}".encode() if i % 7 else None
                value = json.dumps({"series": f"series-{i % 20}", "time": T0_MS + i, "value": i}).encode()
                await producer.send(
                    history.topic, None if key and i % 50 == 0 else value, key=key, timestamp_ms=T0_MS + i,
                    headers=[("n", str(i).encode())], partition=None if key else i % 2,
                )  # fmt: skip
        async with AIOKafkaProducer(**options, transactional_id=f"{history.prefix}-aborted") as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(history.topic, b"aborted", key=b"k")
            await producer.abort_transaction()

    asyncio.run(send())


def contents(history: History, topic: str, partitions: int) -> dict[int, list[tuple[Any, ...]]]:
    async def read() -> dict[int, list[tuple[Any, ...]]]:
        found: dict[int, list[tuple[Any, ...]]] = {}
        async with log_client(history.composition.broker_access()) as client:
            for partition in range(partitions):
                bounds = await bounds_of(client, topic, partition)
                found[partition] = [
                    (r.key, r.value, r.timestamp, tuple(r.headers))
                    async for records in read_records(client, topic, partition, *bounds) for r in records
                ]  # fmt: skip
        return found

    return asyncio.run(read())


def same(history: History, target: str, partitions: int) -> None:
    """Every record once, where Kafka's clients would put it, each key's in order."""
    before, after = contents(history, history.topic, 2), contents(history, target, partitions)
    assert sorted(map(repr, chain(*before.values()))) == sorted(map(repr, chain(*after.values())))
    for partition, records in after.items():
        for key, *_ in records:
            assert key is None or partition_of(key, partitions) == partition
    for key in {record[0] for records in before.values() for record in records}:
        if key is not None:
            was = [r for records in before.values() for r in records if r[0] == key]
            assert [r for records in after.values() for r in records if r[0] == key] == was
    for source in before:
        keyless = [r for r in before[source] if r[0] is None]
        assert [r for r in after[source % partitions] if r in keyless] == keyless


def test_a_topic_is_copied_in_steps_and_checked(history: History) -> None:
    target = f"{history.prefix}.wide"
    produce(history, 300)
    rows = answer("topics", "migrate", "--to", target, "--partitions", "5")
    assert sum(row["found"] for row in rows) == 300
    assert all(row["same"] for row in rows)
    produce(history, 100, start=300)
    result = run("topics", "migrate", "--to", target, "--partitions", "5")
    assert result.exit_code == 0
    assert "100 records copied" in result.stderr
    assert f'topic = "{target}", partitions = 5' in result.stderr
    same(history, target, 5)
    assert "0 records copied" in run("topics", "migrate", "--to", target, "--partitions", "5").stderr

    assert run("topics", "migrate", "--to", target, "--partitions", "6").exit_code == 2
    assert run("topics", "migrate", "--to", history.topic, "--partitions", "5").exit_code == 2
    history.say(target, b"foreign", [])
    assert run("topics", "migrate", "--to", target, "--partitions", "5").exit_code == 6
    used = f"{history.prefix}.used"
    assert run("topics", "migrate", "--to", used, "--partitions", "3", "--from", "2100-01-01").exit_code == 0
    history.say(used, b"foreign", [])
    assert run("topics", "migrate", "--to", used, "--partitions", "3", "--from", "2100-01-01").exit_code == 1


SMALL_CHUNKS = """
import oddtide.streams.replay.migrating as migrating
from oddtide.config.cli import main

migrating._CHUNK = 40
main()
"""


@pytest.mark.timeout(240)
def test_killed_at_random_moments_it_loses_and_repeats_nothing(history: History) -> None:
    target, moments = f"{history.prefix}.wide", random.Random(4)
    produce(history, 3_000)
    command = [
        sys.executable, "-c", SMALL_CHUNKS, "topics", "migrate", "--to", target, "--partitions", "3",
    ]  # fmt: skip
    kills = 0
    while kills < 4:
        process = subprocess.Popen(command, env=os.environ.copy(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = positions(history, target)
        while process.poll() is None and positions(history, target) == before:
            time.sleep(0.02)
        time.sleep(moments.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
    assert kills >= 2
    rows = answer("topics", "migrate", "--to", target, "--partitions", "3")
    assert sum(row["found"] for row in rows) == 3_000
    same(history, target, 3)


def positions(history: History, target: str) -> int:
    with history.composition.admin() as admin:
        topic = migration_topic(target)
        return admin.offsets(topic)[0][1] if topic in admin.names() else 0
