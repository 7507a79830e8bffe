"""Snapshots on a real Kafka: begun from after a stop and after kill -9, fallen back from, done without; lost logs."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from structlog.testing import capture_logs

from oddtide.adapters.blobs.folder import Folder
from oddtide.adapters.blobs.signed import SignedBlobs
from oddtide.domain.observability.events import HistoryLost
from oddtide.domain.observability.ledger import BatchCompleted, check_batch, check_succession
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.snapshotting import SnapshotPolicy
from tests.integration.test_ingest import T0, TOOLKIT, Platform, readings
from tests.torture.stage import Stage

pytestmark = pytest.mark.timeout(240)

POLICY = SnapshotPolicy(every_s=1e6, fold_s=1e6, keep=2)


class Recovering(Platform):
    """A platform whose workers leave snapshots behind when they stop."""

    def __init__(self, kafka: str, prefix: str, folder: Path) -> None:
        super().__init__(kafka, prefix, folder, partitions=1)
        self.folder = folder / "snapshots"
        self.pushed: list[bytes | None] = []

    async def run(self, more: int) -> tuple[dict[str, Any], list[BatchCompleted]]:
        """Push ``more`` readings to a new worker; how it began, and the ledger once they are in it and it has gone."""
        values = readings(more, start=len(self.pushed), spikes=[more // 2])
        await self.push(values)
        self.pushed += values
        store = SignedBlobs(Folder(self.folder), b"k" * 32)
        with capture_logs() as lines:
            async with self.working(parts={"snapshots": store, "snapshot_policy": POLICY}):
                await self.until(len(self.pushed))
        (began,) = [line for line in lines if line["event"] == "holds partition"]
        return dict(began), await self.ledger()

    @property
    def stored(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".hmac")

    async def cut(self, offset: int) -> None:
        """Delete the records before ``offset``, as retention does."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        await admin.delete_records({TopicPartition(self.topic, 0): RecordsToDelete(before_offset=offset)})
        await admin.close()


def begun(line: dict[str, Any]) -> tuple[str, int]:
    return line["begun_from"], line["to_fold_silently"]


async def test_snapshots_are_begun_from_fallen_back_from_and_done_without(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    platform = Recovering(kafka, topic_prefix, tmp_path)
    await platform.create()
    assert begun((await platform.run(100))[0]) == ("log", 0)
    assert begun((await platform.run(100))[0]) == ("snapshot", 0)
    platform.stored[-1].write_bytes(b"damaged")  # 200
    assert begun((await platform.run(100))[0]) == ("snapshot", 100)
    for path in platform.stored:
        path.unlink()
    began, ledger = await platform.run(100)
    assert begun(began) == ("log", 300)
    for previous, batch in zip([None, *ledger[:-1]], ledger, strict=True):
        assert (check_batch(batch), check_succession(previous, batch)) == ([], [])
    alone = PartitionProcessor(platform.plan, TOOLKIT, application=platform.context.application, partition=0)
    outcome = alone.fold([Record(i, T0, b"k", value) for i, value in enumerate(platform.pushed)])
    assert ledger[-1].hash == outcome.completed.hash
    assert await platform.verdict_ids() == [verdict.id for verdict in outcome.verdicts]


async def test_history_that_is_lost_opens_an_epoch_and_a_snapshot_counts_as_part_of_the_log(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    platform = Recovering(kafka, topic_prefix, tmp_path)
    await platform.create()
    await platform.run(100)
    await platform.cut(100)
    began, ledger = await platform.run(50)  # whose state came from a snapshot at the cut: nothing is lost
    assert (begun(began), ledger[-1].epoch) == (("snapshot", 0), 0)
    for path in platform.stored:
        path.unlink()
    await platform.push(readings(50, start=150))
    platform.pushed += readings(50, start=150)
    await platform.cut(170)  # 20 of which nobody has processed
    began, ledger = await platform.run(50)
    (opening,) = [batch for batch in ledger if batch.opened]
    assert (opening.from_offset, opening.to_offset, opening.lost, opening.epoch) == (150, 170, 20, 1)
    assert (ledger[-1].to_offset, ledger[-1].epoch) == (250, 1)
    for previous, batch in zip([None, *ledger[:-1]], ledger, strict=True):
        assert (check_batch(batch), check_succession(previous, batch)) == ([], [])
    (event,) = await platform.events("health", HistoryLost)
    assert (event.from_offset, event.to_offset, event.unread, event.epoch) == (0, 170, 20, 1)
    assert begun((await platform.run(10))[0]) == ("snapshot", 0)


async def test_killed_with_9_the_next_worker_begins_from_the_snapshot(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    name = topic_prefix[:80]
    stage = Stage(kafka, name, tmp_path, settings="[snapshots]\nevery_s = 0.2")
    platform = Platform(kafka, name, tmp_path, partitions=4)
    try:
        stage.create_topics({})
        await platform.push(readings(400))
        victim = stage.start()
        await platform.until(400)
        await platform.push(readings(100, start=400))

        async def snapshot() -> int:
            pointer = (await platform.until(500))[-1].snapshot
            return pointer.offset if pointer else 0

        while await snapshot() < 400:
            await platform.push(readings(1, start=500))
        victim.signal(signal.SIGKILL)
        victim.ended()
        await platform.push(readings(100, start=600))
        end = sum(batch.records for batch in await platform.ledger()) + 100
        heir = stage.start()
        ledger = await platform.until(end)
    finally:
        stage.close()
    line = next(
        line for line in heir.log.read_text().splitlines() if "holds partition" in line and "partition=0" in line
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
    assert "begun_from=snapshot" in plain
    silently = int(re.search(r"to_fold_silently=(\d+)", plain)[1])  # type: ignore[index]  # it is there
    assert silently < 200
    assert len({batch.worker for batch in ledger}) == 2
    for previous, batch in zip([None, *ledger[:-1]], ledger, strict=True):
        assert (check_batch(batch), check_succession(previous, batch)) == ([], [])
