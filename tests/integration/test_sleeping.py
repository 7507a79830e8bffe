"""More series than memory has room for, on a real Kafka: asleep on disk, in snapshots, after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from oddtide.adapters.blobs.folder import Folder
from oddtide.adapters.blobs.signed import SignedBlobs
from oddtide.adapters.rocksdb import RocksSleepStores
from oddtide.domain.observability.ledger import check_batch, check_succession
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.sleeping import NAME_BYTES, MemoryBudget, Sleeping
from oddtide.streams.snapshotting import SnapshotPolicy
from tests.integration.test_ingest import T0, TOOLKIT, Platform

pytestmark = pytest.mark.timeout(240)

AWAKE = 30
POLICY = SnapshotPolicy(every_s=0.05, share=1.0, keep=2)


def readings(count: int, start: int) -> list[bytes | None]:
    """Of 100 series, each coming back after all the others."""
    return [
        orjson.dumps({"series": f"pump-{i % 100}", "time": T0 + i, "value": float(i * i % 97)})
        for i in range(start, start + count)
    ]


async def run(platform: Platform, folder: Path, more: Sequence[bytes | None], until: int) -> dict[str, Any]:
    """A worker with room for few series takes ``more``; how it began."""
    alone = PartitionProcessor(platform.plan, TOOLKIT, application="a", partition=0)
    budget = MemoryBudget(AWAKE * (alone.bytes_per_slot + NAME_BYTES))
    parts = {
        "snapshots": SignedBlobs(Folder(folder / "snapshots"), b"k" * 32),
        "snapshot_policy": POLICY,
        "sleeping": Sleeping(RocksSleepStores(folder / "sleeping"), budget),
    }
    with capture_logs() as lines:
        async with platform.working(parts=parts):
            await platform.push(more)
            ledger = await platform.until(until)
            while ledger[-1].snapshot is None or ledger[-1].snapshot.offset < until:
                ledger = await platform.ledger()
            (held,) = platform.context.progress.snapshot().partitions
    assert held.series == 100
    assert held.memory.awake <= AWAKE
    assert held.memory.asleep == 100 - held.memory.awake
    return next(dict(line) for line in lines if line["event"] == "holds partition")


async def test_verdicts_are_those_of_unlimited_memory_also_after_a_restart(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    platform = Platform(kafka, topic_prefix, tmp_path, partitions=1)
    await platform.create()
    first, second = readings(1_500, 0), readings(900, 1_500)
    assert (await run(platform, tmp_path, first, 1_500))["begun_from"] == "log"
    began = await run(platform, tmp_path, second, 2_400)
    assert (began["begun_from"], began["to_fold_silently"]) == ("snapshot", 0)
    ledger = await platform.ledger()
    for previous, batch in zip([None, *ledger[:-1]], ledger, strict=True):
        assert (check_batch(batch), check_succession(previous, batch)) == ([], [])
    alone = PartitionProcessor(platform.plan, TOOLKIT, application=platform.context.application, partition=0)
    outcome = alone.fold([Record(i, T0, b"k", value) for i, value in enumerate([*first, *second])])
    assert ledger[-1].hash == outcome.completed.hash
    assert await platform.verdict_ids() == [verdict.id for verdict in outcome.verdicts]
