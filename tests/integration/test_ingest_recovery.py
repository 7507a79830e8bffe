"""Ingest fenced by another that is no member of its group; every other trouble is in ``tests/torture``."""

from __future__ import annotations

from pathlib import Path

import pytest

from oddtide.domain.observability.ledger import BatchCompleted, check_batch, check_succession
from oddtide.streams.transactions import PartitionWriter
from tests.integration.test_ingest import Platform, readings

pytestmark = pytest.mark.timeout(240)


async def sound(platform: Platform, ledger: list[BatchCompleted]) -> None:
    """The ledger adds up and each verdict is there once."""
    for previous, batch in zip([None, *ledger[:-1]], ledger, strict=True):
        assert check_batch(batch) == []
        assert check_succession(previous, batch) == []
    ids = await platform.verdict_ids()
    assert len(set(ids)) == len(ids) == ledger[-1].to_offset


async def test_fenced_by_another_it_takes_the_partition_back_where_the_ledger_stands(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    platform = Platform(kafka, topic_prefix, tmp_path)
    await platform.create()
    await platform.push(readings(100))
    async with platform.working():
        await platform.until(100)
        intruder = PartitionWriter(platform.context.broker, f"{topic_prefix}-{platform.topic}-0")
        await intruder.open()
        await intruder.close()
        await platform.push(readings(100, start=100))
        ledger = await platform.until(200)
    await sound(platform, ledger)
