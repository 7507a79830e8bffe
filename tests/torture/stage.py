"""The stage of one scenario: an application of its own on a real Kafka, and its worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from oddtide.config.composition import Composition
from oddtide.config.settings import load
from oddtide.streams.topics import TopicCatalogue
from tests.torture.faults import Fault, FlightRecorder, environment

__all__ = ["PARTITIONS", "SESSION_S", "Stage", "Worker"]

PARTITIONS = 4
#: Long enough that a busy machine of two cores does not lose members by accident.
SESSION_S = 6.0
ROOT = Path(__file__).parents[2]
_DEATH_S = 90.0
_LAST_LINES = 40


@dataclass
class Worker:
    """One worker process and its flight recorder."""

    number: int
    process: subprocess.Popen[bytes]
    recorder: FlightRecorder
    log: Path

    @property
    def alive(self) -> bool:
        """Whether the process runs (a stopped one counts)."""
        return self.process.poll() is None

    @property
    def last_words(self) -> str:
        """Its exit code and the end of its log: the folder is gone when somebody reads the report."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        said = "".join(f"\n    {line}" for line in lines[-_LAST_LINES:])
        return f"exit code {self.process.poll()}, the end of its log:{said or ' nothing'}"

    @property
    def up(self) -> bool:
        """Whether it has said that it is up: from then on SIGTERM is heard."""
        return b" is up:" in self.log.read_bytes()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; one to a process that ended by itself is lost."""
        if self.alive:
            self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end; returns the exit code. One that does not end is killed: -9."""
        try:
            return self.process.wait(_DEATH_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Stage:
    """Settings, topics and workers of one application. ``stream`` and ``worker`` are TOML that goes into those tables,
    ``settings`` further tables. Workers that are ``apart`` have a data folder each, as on machines of their own."""

    def __init__(
        self, kafka: str, name: str, folder: Path, *, stream: str = "", worker: str = "", settings: str = "",
        apart: bool = False,
    ) -> None:  # fmt: skip
        self.kafka, self.name, self.folder = kafka, name, folder
        self.workers: list[Worker] = []
        self._tether = os.pipe()  # workers end when this process does, however it ends
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "oddtide.toml"
        self._settings, self._worker, self._apart = settings, worker, apart
        self.write(stream)

    def write(self, stream: str) -> None:
        """Write the settings file (anew)."""
        self.file.write_text(
            f'application = "{self.name}"\nprefix = "{self.name}"\ndata_folder = "data"\n'
            f'[kafka]\nbootstrap = "{self.kafka}"\nresult_partitions = 2\n'
            f"[worker]\nmetrics = false\nsession_timeout_s = {SESSION_S}\nmax_batch = 500\n{self._worker}\n"
            f"{self._settings.replace('FOLDER', str(self.folder))}\n"
            f'[[streams]]\nname = "readings"\npartitions = {PARTITIONS}\npublish = "all"\n{stream}\n'
        )

    @cached_property
    def composition(self) -> Composition:
        """The parts as the workers have them."""
        return Composition(load(self.file).settings)

    @property
    def catalogue(self) -> TopicCatalogue:
        """The application's topics."""
        return self.composition.catalogue()

    @property
    def topic(self) -> str:
        """The readings topic."""
        return f"{self.name}.readings"

    def create_topics(self, readings: Mapping[str, str]) -> None:
        """Make every topic, the readings topic with settings of its own."""
        specs = self.catalogue.all()
        with self.composition.admin() as admin:
            admin.ensure(replace(s, config={**s.config, **readings}) if s.name == self.topic else s for s in specs)

    def start(self, faults: Iterable[Fault] = ()) -> Worker:
        """Start a worker of the role ingest, with faults."""
        number = len(self.workers) + 1
        recorder, log = self.folder / f"worker-{number}.flight", self.folder / f"worker-{number}.log"
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment(faults, recorder)}
        if self._apart:
            variables["ODDTIDE_DATA_FOLDER"] = str(self.folder / f"machine-{number}")
        command = [sys.executable, "-m", "tests.torture.worker", "--config", str(self.file), "worker"]
        flight = FlightRecorder(recorder)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--roles", "ingest", "--tether", str(self._tether[0])],
                cwd=ROOT, env=variables, pass_fds=self._tether[:1], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output,
            )  # fmt: skip
        worker = Worker(number, process, flight, log)
        self.workers.append(worker)
        return worker

    def cli(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Run ``oddtide`` with these settings; returns the exit code and what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "oddtide", *arguments, "--config", str(self.file)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False, timeout=_DEATH_S,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    @property
    def snapshots(self) -> Path:
        """Where snapshots lie, of workers that are not apart."""
        return self.folder / "data" / "snapshots"

    def logged(self, text: str) -> int:
        """How often the workers have logged ``text``."""
        return sum(worker.log.read_bytes().count(text.encode()) for worker in self.workers)

    @property
    def living(self) -> list[Worker]:
        """The workers that run."""
        return [worker for worker in self.workers if worker.alive]

    def close(self) -> None:
        """Leave nothing running."""
        for worker in self.living:
            with suppress(ProcessLookupError):
                worker.process.kill()
            worker.process.wait()
        for descriptor in self._tether:
            os.close(descriptor)
