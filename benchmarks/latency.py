"""From push to committed verdict: a producer pushes at a fixed rate, a committed reader takes the verdict frames.

Each reading carries the wall-clock time at which it was handed to the producer; its latency is what has passed when a
reader of committed records has the frame with its verdict in hand. Both are one process beside the worker.
"""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pyarrow as pa
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.kit import Bench, Worker, note, table

__all__ = ["latency", "latency_table"]

PARTITIONS = 4
_TICK_S = 0.002
#: A broker that has just been started compiles for most of a minute, at the cost of everybody's latency.
_SETTLE_S = 45.0


def latency(bench: Bench, *, rate: int = 5_000, series: int = 1_000, seconds: float = 20.0) -> np.ndarray:
    """(n,) latencies in milliseconds, of readings pushed after the first few seconds."""
    topic = bench.empty_topic(PARTITIONS)
    with Worker(bench, topic, PARTITIONS, stream='detectors = ["ewma"]\npublish = "all"') as worker:
        worker.start()
        found = asyncio.run(_measure(worker, rate, series, seconds))
    bench.drop(topic)
    return found


async def _measure(worker: Worker, rate: int, series: int, seconds: float) -> np.ndarray:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=worker.bench.bootstrap, enable_auto_commit=False, isolation_level="read_committed",
        fetch_max_wait_ms=500,
    )  # fmt: skip
    producer = AIOKafkaProducer(bootstrap_servers=worker.bench.bootstrap, linger_ms=0)
    await producer.start()
    await consumer.start()
    try:
        consumer.assign([TopicPartition(f"{worker.topic}.verdicts", p) for p in range(PARTITIONS)])
        await consumer.seek_to_beginning()
        await _push(producer, worker.topic, rate, series, 1.0)
        await _take(consumer, worker, rate)  # until then it starts up, and compiles kernels on a fresh machine
        pushing = asyncio.create_task(_push(producer, worker.topic, rate, series, seconds + _SETTLE_S))
        taken = await _take(consumer, worker, int(rate * (seconds + _SETTLE_S)))
        await pushing
        return taken
    finally:
        await consumer.stop()
        await producer.stop()


async def _push(producer: AIOKafkaProducer, topic: str, rate: int, series: int, seconds: float) -> None:
    count, sent, began = int(rate * seconds), 0, time.perf_counter()
    while sent < count:
        due = min(int((time.perf_counter() - began) * rate) + 1, count)
        for i in range(sent, due):
            key = b"sensor-%07d" % (i % series)
            value = b'{"series":"%b","time":%d,"value":%.6f}' % (key, time.time_ns(), 20 + (i * 7919 % 1000) / 500)
            await producer.send(topic, value, key=key, partition=i % series % PARTITIONS)
        sent = due
        await asyncio.sleep(_TICK_S)


async def _take(consumer: AIOKafkaConsumer, worker: Worker, count: int) -> np.ndarray:
    taken, seen, began = [], 0, None
    give_up = time.monotonic() + 120
    while seen < count and time.monotonic() < give_up:
        worker.check()
        for records in (await consumer.getmany(timeout_ms=500)).values():
            now = time.time_ns()
            for record in records:
                times = pa.ipc.open_stream(record.value).read_all().column("time").to_numpy().astype(np.int64)
                began = began or int(times[0])
                seen += len(times)
                taken.append(((now - times) / 1e6)[times > began + _SETTLE_S * 1e9])
    note(f"  latency: {seen:,} of {count:,} readings came back")
    return np.concatenate(taken)


def latency_table(found: np.ndarray, rate: int) -> str:
    """Percentiles in milliseconds."""
    cells = [f"{np.percentile(found, q):.1f}" for q in (50, 90, 99, 99.9)]
    return table(("readings/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms"), [(f"{rate:,}", *cells)])
