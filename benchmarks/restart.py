"""How long a partition stands still after its worker was killed with -9: from the kill to the next committed batch.

``python -m benchmarks.restart --help``. It starts an embedded Kafka in a temporary folder, feeds one stream steadily,
kills workers and watches the ledger: a ledger record of another process than the killed one means going on. Rows:

- ``supervised``: one of a supervisor's workers is killed, which starts it again; membership is static, so the
  partitions stay its own. What is measured is the restart.
- ``lost``: one of two workers on their own is killed and nobody starts it again: the other takes over after the session
  timeout, which is part of the figure.
- ``stopped``: one of two workers is asked to stop (SIGTERM): it leaves the group, the other takes over at once.
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
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from oddtide.adapters.embedded.broker import EmbeddedBroker

PARTITIONS = 4
SETTINGS = """
application = "restart"
data_folder = "{folder}/data"
prefix = "restart"
[kafka]
bootstrap = "{bootstrap}"
[worker]
metrics_port = 0
session_timeout_s = {session_timeout}
[[streams]]
name = "restart"
topic = "restart"
partitions = {partitions}
detectors = ["ewma"]
"""

#: What ends a worker, by row.
ROWS = {"supervised": signal.SIGKILL, "lost": signal.SIGKILL, "stopped": signal.SIGTERM}

_PAUSE_S = 0.02
_STEADY_S = 3.0
_PATIENCE_S = 60.0


class Watched:
    """The ledger as it is written: when each process's last batch on each partition was seen."""

    def __init__(self) -> None:
        self.last: dict[int, tuple[str, float]] = {}

    async def follow(self, bootstrap: str, ledger: str) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level="read_committed",
            fetch_max_wait_ms=20,
        )  # fmt: skip
        await consumer.start()
        try:
            consumer.assign([TopicPartition(ledger, p) for p in range(PARTITIONS)])
            await consumer.seek_to_beginning()
            while True:
                for tp, records in (await consumer.getmany(timeout_ms=50)).items():
                    worker = json.loads(records[-1].value)["worker"]
                    self.last[tp.partition] = (worker, time.monotonic())
        finally:
            await consumer.stop()

    async def of(self, count: int) -> dict[int, str]:
        """The owner of each partition, once all have one, ``count`` in all, and none changes for a while."""
        owners: dict[int, str] = {}
        while len(owners) < PARTITIONS or len(set(owners.values())) != count:
            await asyncio.sleep(_STEADY_S)
            owners = {partition: worker for partition, (worker, _) in self.last.items()}
        return owners

    async def taken_over(self, victim: str, mine: list[int]) -> list[float]:
        """When each of the partitions ``mine`` went on under another process."""
        went: dict[int, float] = {}
        deadline = time.monotonic() + _PATIENCE_S
        while len(went) < len(mine):
            if time.monotonic() > deadline:
                raise SystemExit("a partition never went on")
            for partition in mine:
                worker, at = self.last[partition]
                if worker != victim:
                    went.setdefault(partition, at)
            await asyncio.sleep(0.005)
        return list(went.values())


async def feed(bootstrap: str, topic: str, series: int, rate: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    await producer.start()
    sent, began = 0, time.monotonic()
    try:
        while True:
            while sent < (time.monotonic() - began) * rate:
                number = sent % series
                value = b'{"series":"s%d","time":%d,"value":%d}' % (number, int(time.time() * 1000), number)
                await producer.send(topic, value, partition=number % PARTITIONS)
                sent += 1
            await asyncio.sleep(_PAUSE_S)
    finally:
        await producer.stop()


class Workers:
    """Worker processes of one settings file."""

    def __init__(self, file: Path, log: Path) -> None:
        self._command = [sys.executable, "-m", "oddtide", "--config", str(file), "worker", "--roles", "ingest"]
        self._log = log
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *more: str) -> None:
        with self._log.open("ab") as log:
            self.processes.append(subprocess.Popen([*self._command, *more], stderr=log, stdout=log))

    def running(self) -> int:
        return sum(process.poll() is None for process in self.processes)

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            process.wait(60)


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def pid_of(worker: str) -> int:
    return int(re.sub(r".*-", "", worker))


async def turn(watched: Watched, count: int, number: int) -> float:
    owners = await watched.of(count)
    victim = owners[0]
    mine = [partition for partition, worker in owners.items() if worker == victim]
    began = time.monotonic()
    os.kill(pid_of(victim), number)
    took = max(await watched.taken_over(victim, mine)) - began
    heir = psutil.Process(pid_of(watched.last[mine[0]][0]))
    note(f"{took:.2f} s; the process that went on has used {sum(heir.cpu_times()[:2]):.2f} s of processor time so far")
    return took


@asynccontextmanager
async def background(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def measure(arguments: argparse.Namespace, bootstrap: str, folder: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    file = folder / "oddtide.toml"
    file.write_text(
        SETTINGS.format(
            folder=folder, bootstrap=bootstrap, partitions=PARTITIONS, session_timeout=arguments.session_timeout
        )
    )
    create = [sys.executable, "-m", "oddtide", "--config", str(file), "topics", "create"]
    await asyncio.to_thread(subprocess.run, create, check=True, stdout=subprocess.DEVNULL)
    watched, workers = Watched(), Workers(file, arguments.log or folder / "log")
    feeding = feed(bootstrap, "restart", arguments.series, arguments.rate)
    async with background(watched.follow(bootstrap, "restart.ledger"), feeding):
        for row, number in ROWS.items():
            if row not in arguments.rows:
                continue
            try:
                for _ in range(arguments.rounds):
                    took = await one(row, number, watched, workers, arguments)
                    note(f"{row} {took:.2f}")
                    found.setdefault(row, []).append(took)
            finally:
                workers.stop()
    return found


async def one(row: str, number: int, watched: Watched, workers: Workers, arguments: argparse.Namespace) -> float:
    if row == "supervised":
        if workers.running():
            await asyncio.sleep(arguments.calm)
        else:
            workers.start("--instances", str(arguments.instances))
        return await turn(watched, arguments.instances, number)
    while workers.running() < 2:
        workers.start()
    return await turn(watched, 2, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=2_000, help="readings a second")
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--session-timeout", type=float, default=6.0)
    parser.add_argument("--calm", type=float, default=61.0, help="between kills: who dies within a minute waits longer")
    parser.add_argument("--log", type=Path, help="where the workers' log goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oddtide-restart-") as name:
        broker = EmbeddedBroker(Path(name) / "kafka", port=0)
        bootstrap = broker.start(lambda text: print(text, file=sys.stderr))
        try:
            found = asyncio.run(measure(arguments, bootstrap, Path(name)))
        finally:
            broker.stop()
    print(f"{platform.machine()}, {os.cpu_count()} cores, session timeout {arguments.session_timeout:g} s")
    print("| row | median s | least .. most |\n|---|---|---|")
    for row, times in found.items():
        print(f"| {row} | {statistics.median(times):.2f} | {min(times):.2f} .. {max(times):.2f} |")


if __name__ == "__main__":
    main()
