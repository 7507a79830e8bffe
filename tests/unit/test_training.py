"""What a training reads back, and what its lineage says of it, without Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition

from oddtide.domain.errors import UsageError
from oddtide.domain.quality.contract import Contract
from oddtide.streams.agents import training
from oddtide.streams.agents.training import TrainingData, newest_readings
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.pipeline.plan import StreamPlan

T0 = 1_700_000_000_000
Log = Mapping[int, list[Record]]


def record(offset: int, arrival: int, time: int | None = None) -> Record:
    value = {"series": "x", "time": T0 + (offset if time is None else time), "value": float(offset)}
    return Record(offset, T0 + arrival, None, orjson.dumps(value))


async def read_back(
    monkeypatch: pytest.MonkeyPatch, log: Log, window: int, contract: Contract | None = None
) -> TrainingData:
    @asynccontextmanager
    async def client(broker: BrokerAccess) -> AsyncIterator[None]:
        yield None

    async def bounds(_: Any, topic: str, partitions: Iterable[int]) -> dict[TopicPartition, tuple[int, int]]:
        ends = {p: log[p][-1].offset + 1 if log[p] else 0 for p in partitions}
        begins = {p: log[p][0].offset if log[p] else 0 for p in partitions}
        return {TopicPartition(topic, p): (begins[p], ends[p]) for p in partitions}

    async def ranges(_: Any, wanted: Mapping[TopicPartition, tuple[int, int]]) -> AsyncIterator[Any]:
        for source, (start, stop) in wanted.items():
            yield source, [one for one in log[source.partition] if start <= one.offset < stop]

    monkeypatch.setattr(training, "log_client", client)
    monkeypatch.setattr(training, "topic_bounds", bounds)
    monkeypatch.setattr(training, "fetch_ranges", ranges)
    plan = StreamPlan("s", "t", contract=contract or Contract())
    return await newest_readings(BrokerAccess("nowhere:1"), plan, len(log), window)


def accounted(data: TrainingData) -> list[tuple[int, int, int]]:
    return [(place.partition, place.from_offset, place.to_offset) for place in data.lineage]


async def test_a_record_with_an_old_timestamp_leaves_no_gap_in_the_lineage(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = [10, 30, 5, 20]
    data = await read_back(monkeypatch, {0: [record(i, at) for i, at in enumerate(arrivals)]}, 2)
    assert data.values[:, 0].tolist() == [2.0, 3.0]
    assert accounted(data) == [(0, 2, 4)]


async def test_the_newest_of_all_partitions_by_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    log = {0: [record(i, 10 * i) for i in range(4)], 1: [record(7, 15), record(8, 25)], 2: []}
    data = await read_back(monkeypatch, log, 3)
    assert data.values[:, 0].tolist() == [2.0, 8.0, 3.0]
    assert accounted(data) == [(0, 2, 4), (1, 8, 9)]


async def test_order_is_judged_across_the_pieces_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_FIRST_STEP", 2)
    times = [0, 9, 10, 3, 11]
    log = {0: [record(i, i, time) for i, time in enumerate(times)]}
    data = await read_back(monkeypatch, log, 5, Contract(order="reject"))
    assert data.values[:, 0].tolist() == [0.0, 1.0, 2.0, 4.0]
    whole = await read_back(monkeypatch, log, 10, Contract(order="reject"))
    assert whole.values[:, 0].tolist() == [0.0, 1.0, 2.0, 4.0]


async def test_a_log_of_bad_records_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="holds no valid readings"):
        await read_back(monkeypatch, {0: [Record(0, T0, None, b"garbage"), Record(1, T0, None, None)]}, 10)
