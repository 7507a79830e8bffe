"""The whole way, through the command line alone: files pushed through a real Kafka and worker give the verdicts that
``oddtide detect`` gives of the same files. What kills change (nothing) is the matter of ``tests/torture``."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oddtide.streams.broker import BrokerAccess
from oddtide.streams.ledger import read_ledgers
from oddtide.streams.pipeline.frames import expand_frame
from tests.integration.agents_kit import eventually
from tests.integration.test_ingest import Platform

NAB = Path(__file__).parents[3] / "shared" / "data" / "nab" / "data"
FILES = (
    "realKnownCause/nyc_taxi.csv.gz",
    "realAWSCloudwatch/ec2_cpu_utilization_24ae8d.csv.gz",
    "realTraffic/speed_7578.csv.gz",
)
COORDINATES = {"id", "topic", "partition", "offset", "row"}
PARTITIONS = 3


class Cli:
    """``oddtide`` as a program, with a settings file of its own."""

    def __init__(self, kafka: str, prefix: str, folder: Path, stream: str = "") -> None:
        self.file = folder / "oddtide.toml"
        self.folder, self.kafka, self.topic = folder, kafka, f"{prefix}.readings"
        self.file.write_text(
            f'application = "{prefix}"\nprefix = "{prefix}"\ndata_folder = "data"\n'
            f'[kafka]\nbootstrap = "{kafka}"\n[worker]\nmetrics_port = 0\nsession_timeout_s = 6\n'
            f'[[streams]]\nname = "readings"\npartitions = {PARTITIONS}\npublish = "all"\n{stream}'
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "oddtide", "--config", str(self.file), *arguments]

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stderr}"
        return done.stdout

    @contextmanager
    def worker(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process of the ingest role; asked to stop at the end, which it must do in order."""
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(self.command("worker", "--roles", "ingest", *arguments), stderr=log)
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.terminate()
                process.wait(60)

    def detected(self, file: Path) -> list[dict[str, Any]]:
        """What ``oddtide detect`` says of a file, with the stream's own settings."""
        lines = self.run("detect", str(file), "--stream", "readings", "--all", "--output", "jsonl").splitlines()
        return [json.loads(line) for line in lines]

    def platform(self) -> Platform:
        return Platform(self.kafka, self.topic.removesuffix(".readings"), self.folder, PARTITIONS)

    async def readings_in_ledger(self) -> int:
        ledgers = await read_ledgers(BrokerAccess(self.kafka), f"{self.topic}.ledger", range(PARTITIONS))
        return sum(ledger.records for ledger in ledgers.values())

    async def settled(self, readings: int) -> None:
        await eventually(self.readings_in_ledger, lambda seen: seen >= readings)

    async def verdicts(self) -> list[dict[str, Any]]:
        frames = await self.platform().records(f"{self.topic.removesuffix('.readings')}.verdicts")
        return [msgspec.to_builtins(verdict) for frame in frames for verdict in expand_frame(frame.value)]


@pytest.fixture
def cli(kafka: str, topic_prefix: str, tmp_path: Path) -> Cli:
    subject = Cli(kafka, topic_prefix, tmp_path)
    subject.run("topics", "create")
    return subject


def comparable(verdict: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in verdict.items() if name not in COORDINATES}


@pytest.mark.timeout(300)
@pytest.mark.skipif(not NAB.exists(), reason="the labelled data beside the checkout (../shared/data) is not here")
async def test_the_worker_says_what_detect_says_of_the_same_files(cli: Cli) -> None:
    files = [NAB / name for name in FILES]
    expected = {file: cli.detected(file) for file in files}
    total = sum(map(len, expected.values()))
    assert total > 9_000
    with cli.worker():
        for file in files:
            await asyncio.to_thread(cli.run, "produce", str(file))
        await cli.settled(total)
    found = await cli.verdicts()
    assert len({verdict["id"] for verdict in found}) == len(found) == total
    for verdicts in expected.values():
        series = verdicts[0]["series"]
        mine = [comparable(verdict) for verdict in found if verdict["series"] == series]
        assert mine == [comparable(verdict) for verdict in verdicts]
    assert any(verdict["is_anomaly"] for verdict in found)
