"""When Kafka takes results slowly: nothing piles up, and stopping still commits what was begun."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from oddtide.streams import fetching
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.ending import STOP_WITHIN_S
from oddtide.streams.owner import PartitionOwner
from oddtide.streams.results import ResultRecord
from oddtide.streams.transactions import PartitionWriter
from tests.integration.test_ingest import Platform

#: Readings of about 8 kB, so that a few thousand are many megabytes.
COUNT, BATCH = 3_500, 100
LABELS = ",".join(f'"label-{i}":"{"x" * 240}"' for i in range(32))
MIB = 1 << 20


def large(count: int) -> list[bytes]:
    head = b'{"series":"s","time":%d,"value":%d,"labels":{'
    return [head % (1_767_225_600_000 + i, i % 7) + LABELS.encode() + b"}}" for i in range(count)]


class Gate:
    """Kafka as seen through a needle's eye: commits wait while it is shut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.begun = self.done = 0
        through = PartitionWriter.commit

        async def commit(writer: PartitionWriter, records: Iterable[ResultRecord]) -> None:
            self.begun += 1
            await self.open.wait()
            await through(writer, records)
            self.done += 1

        monkeypatch.setattr(PartitionWriter, "commit", commit)


def fetched_bytes() -> int:
    """What all living blocks of records hold."""
    blocks = [each for each in gc.get_objects() if isinstance(each, RecordBlock)]
    return sum({id(block.data.base): block.data.nbytes for block in blocks}.values())


async def standstill(board: Any) -> int:
    """How many records were folded when no more are for a while."""
    before = -1
    while True:
        folded = sum(int(stream.sizes.total) for stream in board.snapshot().streams)
        if folded == before and folded > 0:
            return folded
        before = folded
        await asyncio.sleep(1.0)


async def test_what_cannot_be_committed_is_not_fetched(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = Platform(kafka, topic_prefix, tmp_path)
    await platform.create()
    await platform.push(large(COUNT))
    gate = Gate(monkeypatch)
    async with platform.working(max_batch=BATCH):
        board = platform.context.progress
        folded = await standstill(board)
        # four wait, as many may be in the transaction that is under way, one more is folded
        assert folded <= 9 * BATCH
        assert fetched_bytes() < 20 * MIB
        held = board.snapshot().partitions[0].health
        assert held.end >= COUNT, "the lag is known all the same"
        gate.open.set()
        ledger = await platform.until(COUNT)
    assert sum(batch.scored for batch in ledger) == COUNT


async def test_no_more_is_fetched_than_may_wait_over_all_partitions(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MOST_WAITING", 1)
    platform = Platform(kafka, topic_prefix, tmp_path, partitions=4)
    await platform.create()
    for partition in range(4):
        await platform.push(large(200), partition)
    async with platform.working():
        for partition in range(4):
            await platform.until(200, partition)


async def test_stopping_commits_what_was_folded(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[tuple[int, int]] = []
    close = PartitionOwner.close

    def closed(owner: PartitionOwner) -> None:
        ends.append((owner.processor.position, owner.committed))
        close(owner)

    monkeypatch.setattr(PartitionOwner, "close", closed)
    platform = Platform(kafka, topic_prefix, tmp_path, partitions=1)
    await platform.create()
    await platform.push(large(1_000))
    gate = Gate(monkeypatch)
    async with asyncio.timeout(STOP_WITHIN_S + 60), platform.working(max_batch=BATCH) as app:
        folded = await standstill(platform.context.progress)
        stopping = asyncio.create_task(app.stop())
        await asyncio.sleep(0.2)
        gate.open.set()
        async with asyncio.timeout(STOP_WITHIN_S):
            await stopping
    assert gate.begun == gate.done
    ((position, committed),) = ends
    assert position == committed >= folded
    ledger = await platform.ledger()
    assert ledger[-1].to_offset == committed
