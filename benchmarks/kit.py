"""What the benchmarks share: a broker, the same events in many topics, a worker that is measured from outside."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from oddtide.adapters.embedded.broker import EmbeddedBroker

__all__ = [
    "Bench", "Event", "Reached", "Worker", "events", "follow_ledger", "median", "note", "started_bench", "table",
]  # fmt: skip

#: (key, value) of a Kafka record.
Event = tuple[bytes, bytes]

ROOT = Path(__file__).parents[1]
_START_MS = 1_700_000_000_000
_ONE_IN = 10_000


def note(line: str) -> None:
    """Say how far it is, where it does not mix with the results."""
    print(line, file=sys.stderr, flush=True)


def events(count: int, series: int, first: int = 0) -> list[Event]:
    """Readings of about 110 bytes, round robin over ``series``, one in 10,000 a spike. ``first`` continues a run."""
    random = Random(7 + first)
    made = []
    for i in range(first, first + count):
        value = random.gauss(20.0, 1.5) + (40.0 if random.randrange(_ONE_IN) == 0 else 0.0)
        key = b"sensor-%07d" % (i % series)
        made.append(
            (key, b'{"series":"%b","time":%d,"value":%.6f,"labels":{"site":"north","unit":"bar"}}'
             % (key, _START_MS + 10 * i, value))
        )  # fmt: skip
    return made


@dataclass
class Bench:
    """A running broker and a folder for one run."""

    bootstrap: str
    folder: Path
    broker: EmbeddedBroker
    _number: int = field(default=0)

    def topic(self, partitions: int, values: Sequence[Event] = ()) -> str:
        """A new topic with these records, a series' all in one partition."""
        name = self.empty_topic(partitions)
        if values:
            self.push(name, partitions, values)
        return name

    def push(self, topic: str, partitions: int, values: Sequence[Event]) -> None:
        """Append records; a key's all go to one partition."""
        asyncio.run(_fill(self.bootstrap, topic, partitions, values))

    def empty_topic(self, partitions: int) -> str:
        """A new topic."""
        self._number += 1
        name = f"bench-{self._number}"
        asyncio.run(_create(self.bootstrap, name, partitions))
        return name

    def drop(self, *topics: str) -> None:
        """Delete topics and the ledgers beside them: a million events are 150 MB."""
        asyncio.run(_delete(self.bootstrap, [each for topic in topics for each in (topic, f"{topic}.ledger")]))

    def program(
        self, module: str, *arguments: str, python: str = sys.executable, **environment: str
    ) -> dict[str, float]:
        """Run a rival's program to its end; what its line of JSON says."""
        folder = ROOT / "benchmarks" / "rivals"
        foreign = python != sys.executable
        command = [python, str(folder / f"{module}.py")] if foreign else [python, "-m", f"benchmarks.rivals.{module}"]
        done = subprocess.run(
            [*command, "--bootstrap", self.bootstrap, *arguments], capture_output=True, text=True, check=False,
            cwd=folder if foreign else ROOT, env={**os.environ, **environment}, timeout=600,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            raise SystemExit(f"{module} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        found: dict[str, float] = json.loads(lines[-1])
        return found


async def _create(bootstrap: str, name: str, partitions: int) -> None:
    async with _admin(bootstrap) as admin:
        await admin.create_topics([NewTopic(name, partitions, 1)])


async def _delete(bootstrap: str, names: list[str]) -> None:
    async with _admin(bootstrap) as admin:
        there = set(await admin.list_topics())
        await admin.delete_topics([name for name in names if name in there])


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _fill(bootstrap: str, topic: str, partitions: int, values: Sequence[Event]) -> None:
    """Whole batches per partition, as a busy producer sends them; a key's records all go to one partition."""
    rows: list[list[Event]] = [[] for _ in range(partitions)]
    for event in values:
        rows[int(event[0].rpartition(b"-")[2]) % partitions].append(event)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=1 << 20, linger_ms=0)
    await producer.start()
    try:
        now = int(time.time() * 1000)
        for partition, mine in enumerate(rows):
            batch = producer.create_batch()
            for key, value in mine:
                if batch.append(key=key, value=value, timestamp=now) is None:
                    await producer.send_batch(batch, topic, partition=partition)
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=now)
            if batch.record_count():
                await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


@contextmanager
def started_bench() -> Iterator[Bench]:
    """A broker of its own on a free port, gone at the end with all it held."""
    with tempfile.TemporaryDirectory(prefix="oddtide-bench-") as name:
        broker = EmbeddedBroker(Path(name) / "kafka", port=0, heap_mib=1024)
        try:
            yield Bench(broker.start(note), Path(name), broker)
        finally:
            broker.stop()


_SETTINGS = """
application = "{topic}"
data_folder = "{folder}/{topic}"
prefix = "{topic}"
[kafka]
bootstrap = "{bootstrap}"
[worker]
metrics_port = 0
{worker}
[[streams]]
name = "bench"
topic = "{topic}"
partitions = {partitions}
{stream}
"""


class Worker:
    """The shipped ``oddtide worker`` over one readings topic. ``stream`` and ``worker`` are lines of settings."""

    def __init__(self, bench: Bench, topic: str, partitions: int, *, stream: str = "", worker: str = "") -> None:
        self.bench, self.topic, self.partitions = bench, topic, partitions
        self.file = bench.folder / f"{topic}.toml"
        self.file.write_text(
            _SETTINGS.format(
                topic=topic, folder=bench.folder, bootstrap=bench.bootstrap, partitions=partitions, stream=stream,
                worker=worker,
            )
        )  # fmt: skip
        self.command = [sys.executable, "-m", "oddtide", "--config", str(self.file)]
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Worker:
        made = subprocess.run([*self.command, "topics", "create"], capture_output=True, text=True, check=False)
        if made.returncode:
            raise SystemExit(f"oddtide topics create: {made.stderr}")
        return self

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker process."""
        with (self.bench.folder / f"{self.topic}.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.command, "worker", "--roles", "ingest", *options], stdout=log, stderr=log, cwd=ROOT
            )
        self.processes.append(process)
        return process

    def cpu_seconds(self) -> float:
        """Processor time of all worker processes that run, their children included."""
        total = 0.0
        for process in self._alive():
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def resident_mib(self) -> float:
        """Resident memory of all worker processes together; what forked children share counts in each."""
        return sum(process.memory_info().rss for process in self._alive()) / 2**20

    def _alive(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for each in self.processes:
            if each.poll() is None:
                process = psutil.Process(each.pid)
                found += [process, *process.children(recursive=True)]
        return found

    def check(self) -> None:
        """End the benchmark where a worker has ended."""
        for process in self.processes:
            if process.poll() is not None:
                log = (self.bench.folder / f"{self.topic}.log").read_text(errors="replace")
                raise SystemExit(f"the worker ended with {process.returncode}:\n{log[-3000:]}")

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class Reached:
    """A moment in the ledger: so many readings were committed at ``time`` (seconds since 1970, the broker's), when the
    workers had used ``cpu`` seconds."""

    readings: int
    time: float
    cpu: float


async def follow_ledger(worker: Worker, marks: Sequence[int], timeout_s: float = 600.0) -> list[Reached]:
    """Wait until the ledger accounts for so many readings, one mark after the other. The first is best small (1): then
    start-up does not count."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=worker.bench.bootstrap, enable_auto_commit=False, isolation_level="read_committed",
        fetch_max_wait_ms=100,
    )  # fmt: skip
    await consumer.start()
    try:
        places = [TopicPartition(f"{worker.topic}.ledger", p) for p in range(worker.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        reached: list[Reached] = []
        total, give_up = 0, time.monotonic() + timeout_s
        while len(reached) < len(marks):
            worker.check()
            if time.monotonic() > give_up:
                raise SystemExit(f"after {timeout_s:.0f} s the ledger accounts for {total:,} readings")
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    total += _readings(record.value)
                    last = record.timestamp / 1000
                    while len(reached) < len(marks) and total >= marks[len(reached)]:
                        reached.append(Reached(total, last, worker.cpu_seconds()))
        return reached
    finally:
        await consumer.stop()


def _readings(value: bytes | None) -> int:
    return int(json.loads(value or b"{}").get("readings", 0))


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [list(map(str, header)), ["---"] * len(header), *[list(map(str, row)) for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def each_round(rounds: int, turn: Callable[[int], None]) -> None:
    """Call ``turn`` so often, saying which round it is."""
    for number in range(rounds):
        note(f"round {number + 1} of {rounds}")
        turn(number)
