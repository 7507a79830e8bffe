"""Readings per second through the shipped worker, against a raw aiokafka drain of the same log in the same run.

Run it with ``make bench`` or ``python -m benchmarks.worker_throughput --help``. It starts an embedded Kafka in a
temporary folder, fills one topic a round with the same events, and alternates the rows round by round, because the
machines are noisy: look at the medians and ratios.

The worker's rate comes from its ledger: readings after the first batch, over the time between the first and the last
ledger record (so start-up does not count; every ledger record stands for results that are committed).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from oddtide.adapters.embedded.broker import EmbeddedBroker

PARTITIONS = 4
ROWS = ("drain", "drain_orjson", "worker_light", "worker_deep")


def events(count: int, series: int) -> list[bytes]:
    random = Random(7)
    start = 1_700_000_000_000
    return [
        b'{"series":"sensor-%06d","time":%d,"value":%.6f,"labels":{"site":"north","unit":"bar"}}'
        % (i % series, start + 10 * i, random.gauss(20.0, 1.5))
        for i in range(count)
    ]


async def fill(bootstrap: str, topic: str, values: list[bytes], series: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=1 << 20, linger_ms=0)
    await producer.start()
    try:
        for partition in range(PARTITIONS):
            mine = [value for i, value in enumerate(values) if (i % series) % PARTITIONS == partition]
            batch = producer.create_batch()
            for value in mine:
                if batch.append(key=None, value=value, timestamp=int(time.time() * 1000)) is None:
                    await producer.send_batch(batch, topic, partition=partition)
                    batch = producer.create_batch()
                    batch.append(key=None, value=value, timestamp=int(time.time() * 1000))
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


async def make_topics(bootstrap: str, names: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
    await admin.close()


async def drain(bootstrap: str, topic: str, count: int, decode: bool) -> float:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, max_poll_records=10_000)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        seen, loads = 0, orjson.loads
        began = time.perf_counter()
        while seen < count:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                seen += len(records)
                if decode:
                    for record in records:
                        loads(record.value)
        return count / (time.perf_counter() - began)
    finally:
        await consumer.stop()


SETTINGS = """
application = "{name}"
data_folder = "{folder}/{name}"
prefix = "{name}"
[kafka]
bootstrap = "{bootstrap}"
[worker]
metrics_port = 0
[[streams]]
name = "bench"
topic = "{topic}"
partitions = {partitions}
profile = "{profile}"
"""


def worker(bootstrap: str, folder: Path, topic: str, count: int, profile: str) -> float:
    name = f"{topic}-{profile}"
    file = folder / f"{name}.toml"
    file.write_text(
        SETTINGS.format(
            name=name, folder=folder, bootstrap=bootstrap, topic=topic, partitions=PARTITIONS, profile=profile
        )
    )
    command = [sys.executable, "-m", "oddtide", "--config", str(file)]
    subprocess.run([*command, "topics", "create"], check=True, stdout=subprocess.DEVNULL)
    log = (folder / f"{name}.log").open("wb")
    process = subprocess.Popen([*command, "worker", "--roles", "ingest"], stdout=log, stderr=log)
    try:
        return asyncio.run(_ledger_rate(bootstrap, f"{topic}.ledger", count, process))
    finally:
        process.terminate()
        process.wait(30)


async def _ledger_rate(bootstrap: str, ledger: str, count: int, process: subprocess.Popen[bytes]) -> float:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level="read_committed", fetch_max_wait_ms=200
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(ledger, p) for p in range(PARTITIONS)])
        await consumer.seek_to_beginning()
        batches: list[tuple[int, int]] = []
        while sum(readings for _, readings in batches) < count:
            if process.poll() is not None:
                raise SystemExit(f"the worker ended with {process.returncode}")
            for records in (await consumer.getmany(timeout_ms=500)).values():
                batches += [(record.timestamp, json.loads(record.value)["readings"]) for record in records]
        batches.sort()
        return (count - batches[0][1]) / max((batches[-1][0] - batches[0][0]) / 1000, 0.001)
    finally:
        await consumer.stop()


def measure(arguments: argparse.Namespace, report: Callable[[str], None]) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {row: [] for row in ROWS}
    values = events(arguments.events, arguments.series)
    report(f"{arguments.events:,} events of about {len(values[0])} bytes, {arguments.series:,} series")
    with tempfile.TemporaryDirectory(prefix="oddtide-bench-") as name:
        folder = Path(name)
        broker = EmbeddedBroker(folder / "kafka", port=0, heap_mib=1024)
        bootstrap = broker.start(report)
        try:
            for turn in range(arguments.rounds):
                topics = {profile: f"bench{turn}-{profile}" for profile in ("light", "deep")}
                asyncio.run(make_topics(bootstrap, list(topics.values())))
                for topic in topics.values():
                    asyncio.run(fill(bootstrap, topic, values, arguments.series))
                gc.collect()
                rates["drain"].append(asyncio.run(drain(bootstrap, topics["light"], len(values), False)))
                rates["worker_light"].append(worker(bootstrap, folder, topics["light"], len(values), "light"))
                rates["drain_orjson"].append(asyncio.run(drain(bootstrap, topics["light"], len(values), True)))
                rates["worker_deep"].append(worker(bootstrap, folder, topics["deep"], len(values), "deep"))
                report(" ".join(f"{row}={values_[-1]:,.0f}/s" for row, values_ in rates.items()))
        finally:
            broker.stop()
    return rates


def table(rates: dict[str, list[float]]) -> str:
    base = statistics.median(rates["drain_orjson"])
    lines = ["| row | readings/s (median) | least .. most | ratio to drain + orjson |", "|---|---|---|---|"]
    for row in ROWS:
        middle = statistics.median(rates[row])
        lines.append(
            f"| {row} | {middle:,.0f} | {min(rates[row]):,.0f} .. {max(rates[row]):,.0f} | {middle / base:.2f} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    rates = measure(arguments, lambda line: print(line, file=sys.stderr))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(table(rates))


if __name__ == "__main__":
    main()
