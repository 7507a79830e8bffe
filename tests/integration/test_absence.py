"""A series that falls silent on a real Kafka where nothing arrives any more: found once, ended by its next reading, the
same for a second worker and for a replay."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from oddtide.config.build import build_name
from oddtide.domain.detection.absence import AbsencePolicy
from oddtide.domain.detection.events import AbsenceDetected, SeriesReturned
from oddtide.streams.codecs.history import history_header
from oddtide.streams.replay.checking import verify_partition
from oddtide.streams.replay.history import History
from tests.integration.test_ingest import T0, TOOLKIT, NoArtifacts, Platform
from tests.integration.test_transport import producing

pytestmark = pytest.mark.timeout(240)


def readings(series: str, *seconds: float) -> list[bytes | None]:
    return [orjson.dumps({"series": series, "time": T0 + int(1e3 * each), "value": each}) for each in seconds]


async def until_found(platform: Platform, kind: type[Any], count: int) -> list[Any]:
    async with asyncio.timeout(60):
        while len(found := await platform.events("detections", kind)) < count:  # noqa: ASYNC110 - what is waited for lies in Kafka
            await asyncio.sleep(0.2)
    return found


async def test_silence_on_an_idle_partition_is_found_once_and_replayed(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    platform = Platform(kafka, topic_prefix, tmp_path, partitions=1)
    platform.plan = replace(platform.plan, absence=AbsencePolicy(1.5))
    await platform.create()
    async with producing(kafka) as producer:  # what is history says nothing of who speaks
        headers = [history_header(1, 0)]
        await producer.send(platform.topic, readings("z", -9)[0], key=b"k", partition=0, headers=headers)
        await producer.send(platform.topic, readings("z", -9)[0], key=b"k", partition=0, headers=headers)
    async with platform.working():
        await platform.push([*readings("x", 0, 1), *readings("y", 0.5)])
        absent = await until_found(platform, AbsenceDetected, 2)
        assert [(event.series, event.allowed_s, event.offset) for event in absent] == [("y", 1.5, 5), ("x", 1.5, 5)]
        await platform.push(readings("x", 10))
        (back,) = await until_found(platform, SeriesReturned, 1)
        assert (back.absence, back.silent_s, back.offset) == (absent[1].id, 9.0, 5)
        await until_found(platform, AbsenceDetected, 3)
    async with platform.working():  # who comes next finds nothing that is known already
        await platform.push(readings("y", 20))
        (_, again) = await until_found(platform, SeriesReturned, 2)
        assert again.absence == absent[0].id
        await asyncio.sleep(1.5)
    found = await platform.events("detections", AbsenceDetected)
    assert [event.series for event in found][:3] == ["y", "x", "x"]
    assert len({event.id for event in found}) == len(found) <= 4
    ledger = await platform.ledger()
    assert (sum(batch.history for batch in ledger), ledger[0].skipped) == (1, {"loaded_before": 1})
    assert sum(batch.absences for batch in ledger) == len(found)
    history = History(
        platform.plan, 0, platform.context.broker, platform.catalogue, TOOLKIT, NoArtifacts(),
        platform.context.application, build_name(),
    )  # fmt: skip
    result = await verify_partition(replace(history, build=ledger[-1].build), lambda count: None)
    assert (result.status, result.readings, result.detail) == ("equal", 7, "")
