"""From kill -9 to going on, beyond the session timeout, with few series and many: what starting from snapshots gives.

``python -m benchmarks.recovery --help``. For each number of series: an embedded Kafka, two workers that share four
partitions, every series seen ``--readings`` times, then a steady feed. Once a snapshot of every partition is named in
the ledger, the owner of partition 0 is killed. Going on means: each partition of the dead one has a ledger record of
the other worker. The session timeout, which has to pass first, is taken off; it can be overshot by a heartbeat's
interval or so, which is left in the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.kit import events, note
from benchmarks.restart import PARTITIONS, SETTINGS, Watched, Workers, background, feed, turn
from oddtide.adapters.embedded.broker import EmbeddedBroker

_PATIENCE_S = 900.0
_CHUNK = 50_000


async def preload(bootstrap: str, topic: str, series: int, readings: int) -> None:
    """Every series, ``readings`` times, named as the steady feed names them."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, max_batch_size=1 << 20)
    await producer.start()
    try:
        for first in range(0, series * readings, _CHUNK):
            count = min(_CHUNK, series * readings - first)
            for number, (_, value) in enumerate(events(count, series, first), start=first):
                named = value.replace(b"sensor-%07d" % (number % series), b"s%d" % (number % series), 1)
                await producer.send(topic, named, partition=number % series % PARTITIONS)
            await producer.flush()
    finally:
        await producer.stop()


async def snapshots_of(bootstrap: str, ledger: str, least: int) -> dict[int, int]:
    """The offset of the newest snapshot named for each partition, once all reach ``least``."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level="read_committed")
    await consumer.start()
    found: dict[int, int] = {}
    deadline = time.monotonic() + _PATIENCE_S
    try:
        consumer.assign([TopicPartition(ledger, partition) for partition in range(PARTITIONS)])
        await consumer.seek_to_beginning()
        while len(found) < PARTITIONS or min(found.values()) < least:
            if time.monotonic() > deadline:
                raise SystemExit(f"no snapshots at {least}: {found}")
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                pointer = json.loads(records[-1].value).get("snapshot")
                if pointer:
                    found[tp.partition] = pointer["offset"]
    finally:
        await consumer.stop()
    return found


async def measure(arguments: argparse.Namespace, bootstrap: str, folder: Path, series: int) -> list[float]:
    name = f"recovery{series}"
    file, log = folder / f"{name}.toml", arguments.log or folder / f"{name}.log"
    settings = SETTINGS.replace('"restart"', f'"{name}"').format(
        folder=folder / name, bootstrap=bootstrap, partitions=PARTITIONS, session_timeout=arguments.session_timeout
    )
    file.write_text(settings.replace("[worker]", f"[worker]\nmemory_mib = {arguments.memory_mib}"))
    create = [sys.executable, "-m", "oddtide", "--config", str(file), "topics", "create"]
    await asyncio.to_thread(subprocess.run, create, check=True, stdout=subprocess.DEVNULL)
    await preload(bootstrap, name, series, arguments.readings)
    note(f"{series} series: loaded")
    workers, watched, times = Workers(file, log), Watched(), list[float]()
    try:
        async with background(watched.follow(bootstrap, f"{name}.ledger")):
            for number in range(arguments.rounds):
                while workers.running() < 2:
                    workers.start()
                await snapshots_of(bootstrap, f"{name}.ledger", series * arguments.readings // PARTITIONS)
                async with background(feed(bootstrap, name, series, arguments.rate)):
                    await asyncio.sleep(arguments.calm)
                    took = await turn(watched, 2, signal.SIGKILL) - arguments.session_timeout
                times.append(took)
                note(f"{series} series, round {number + 1}: {took:.2f} s; {begun(log)}")
    finally:
        workers.stop()
    return times


def begun(log: Path) -> str:
    """How the partitions taken last began, as the log says."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))
    lines = [line for line in plain.splitlines() if "holds partition" in line][-2:]
    return "; ".join(" ".join(re.findall(r"(?:begun_from|to_fold_silently)=\S+", line)) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--readings", type=int, default=2, help="readings of each series before the kill")
    parser.add_argument("--rate", type=int, default=2_000, help="readings a second meanwhile")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--session-timeout", type=float, default=6.0)
    parser.add_argument("--calm", type=float, default=5.0, help="seconds of steady feed before each kill")
    parser.add_argument("--memory-mib", type=int, default=0, help="memory budget of a worker; 0: none")
    parser.add_argument("--log", type=Path, help="where the workers' log goes")
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="oddtide-recovery-") as name:
        broker = EmbeddedBroker(Path(name) / "kafka", port=0)
        bootstrap = broker.start(note)
        try:
            for series in arguments.series:
                found[series] = asyncio.run(measure(arguments, bootstrap, Path(name), series))
        finally:
            broker.stop()
    print(f"{platform.machine()}, {os.cpu_count()} cores, beyond a session timeout of {arguments.session_timeout:g} s")
    print("| series | median s | least .. most |\n|---|---|---|")
    for series, times in found.items():
        print(f"| {series:,} | {statistics.median(times):.2f} | {min(times):.2f} .. {max(times):.2f} |")


if __name__ == "__main__":
    main()
