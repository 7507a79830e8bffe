"""One scenario from its stage to its findings."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from oddtide.adapters.embedded import EmbeddedBroker
from tests.torture.checking import Findings, check
from tests.torture.faults import Fault
from tests.torture.pushing import Load, Pusher
from tests.torture.reading import LedgerFollower, log_ends
from tests.torture.stage import PARTITIONS, Stage, Worker
from tests.torture.undisturbed import warm_up

__all__ = ["Place", "Report", "Run", "Scenario", "play"]

#: A worker must reach its fault, a group its end, a partition its next commit, within this: patience for a machine
#: that does four things at once, not a promise of speed.
PATIENCE_S = 180.0


@dataclass
class Report:
    """What was done and what was seen."""

    scenario: str
    seed: int
    seconds: float = 0.0
    kills: int = 0
    injected: int = 0
    in_transaction: int = 0
    in_snapshot: int = 0
    in_recovery: int = 0
    stops: int = 0
    broker_kills: int = 0
    terminations: int = 0
    snapshots_used: int = 0
    notes: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    @property
    def problems(self) -> list[str]:
        """Every broken promise, in words; empty where all hold."""
        return self.complaints + self.findings.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "problems": self.problems, "hash_equal": not self.findings.differing}


@dataclass
class Run:
    """What a scenario works with."""

    stage: Stage
    pusher: Pusher
    ledger: LedgerFollower
    random: Random
    report: Report
    rounds: int
    broker: EmbeddedBroker | None = None
    harmed: set[int] = field(default_factory=set)

    async def pause(self, least: float, most: float) -> None:
        """Wait a random while (seconds)."""
        await asyncio.sleep(self.random.uniform(least, most))

    def start(self, faults: Iterable[Fault] = ()) -> Worker:
        """One more worker."""
        return self.stage.start(faults)

    async def kill(self, worker: Worker) -> None:
        """-9, at whatever it is doing."""
        worker.signal(signal.SIGKILL)
        await asyncio.to_thread(worker.ended)
        self._died(worker)

    async def up(self, worker: Worker) -> None:
        """Wait until a worker is up."""
        if not await self._comes(lambda: worker.up or not worker.alive) or not worker.alive:
            self.report.complaints.append(f"worker {worker.number} never came up: {worker.last_words}")

    async def struck(self, worker: Worker) -> bool:
        """Wait until a worker's fault has killed it; says whether it has."""
        if not await self._comes(lambda: not worker.alive):
            self.report.complaints.append(f"worker {worker.number} never came to its fault")
            return False
        code = worker.ended()
        if code != -signal.SIGKILL:
            return False  # it deserted; the end of the scenario tells
        self.report.injected += 1
        self._died(worker)
        return True

    async def frozen(self, worker: Worker) -> bool:
        """Wait until a worker's fault has stopped it; says whether it has."""
        if not await self._comes(lambda: bool(worker.recorder.strikes) or not worker.alive) or not worker.alive:
            self.report.complaints.append(f"worker {worker.number} never stopped")
            return False
        self.report.stops += 1
        return True

    @staticmethod
    async def _comes(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.05)
        return condition()

    def _died(self, worker: Worker) -> None:
        report = self.report
        self.harmed.add(worker.number)
        report.kills += 1
        under_way = worker.recorder.under_way()
        report.in_transaction += "transaction" in under_way
        report.in_snapshot += "snapshot" in under_way
        report.in_recovery += "recovery" in under_way

    async def terminate(self, worker: Worker) -> float:
        """SIGTERM, once it is up; it must end in order. Returns how long that took (seconds)."""
        await self.up(worker)
        began = time.monotonic()
        self.harmed.add(worker.number)
        worker.signal(signal.SIGTERM)
        code = await asyncio.to_thread(worker.ended)
        self.report.terminations += 1
        if code != 0:
            self.report.complaints.append(f"worker {worker.number} did not end in order: {worker.last_words}")
        return time.monotonic() - began

    async def cli(self, *arguments: str) -> None:
        """The shipped command line, with the settings as they are now."""
        code, said = await asyncio.to_thread(self.stage.cli, arguments)
        if code:
            self.report.complaints.append(f"oddtide {' '.join(arguments)} ended with {code}: {said[-500:]}")

    def look_for_deserters(self) -> None:
        """Complain of workers that ended though nobody harmed them."""
        for worker in self.stage.workers:
            if not worker.alive and worker.number not in self.harmed:
                self.report.complaints.append(f"worker {worker.number} ended by itself: {worker.last_words}")

    async def snapshots_go_on(self) -> None:
        """Wait until every partition has a newer snapshot than now."""
        left = await self.ledger.snapshots_after(dict(self.ledger.position), PATIENCE_S)
        if left:
            self.report.complaints.append(f"no snapshot for {PATIENCE_S:g} s in partitions {left}")

    async def logs(self, text: str) -> None:
        """Wait until some worker logs ``text`` once more."""
        before = self.stage.logged(text)
        if not await self._comes(lambda: self.stage.logged(text) > before):
            self.report.complaints.append(f"nobody said {text!r} for {PATIENCE_S:g} s")

    async def kill_kafka(self) -> None:
        """-9 on the broker."""
        broker = self.broker
        assert broker is not None
        status = broker.status()
        assert status is not None
        os.kill(status.pid, signal.SIGKILL)
        self.report.broker_kills += 1
        if not await self._comes(lambda: broker.status() is None):
            self.report.complaints.append("Kafka outlived -9")

    async def start_kafka(self) -> None:
        """Start the broker again, on what it left."""
        assert self.broker is not None
        await asyncio.to_thread(self.broker.start)

    async def goes_on(self) -> None:
        """Wait until every partition is committed to again."""
        left = await self.ledger.moved_on(time.monotonic(), range(PARTITIONS), PATIENCE_S)
        if left:
            self.report.complaints.append(f"no commit for {PATIENCE_S:g} s in partitions {left}")


@dataclass(frozen=True)
class Scenario:
    """A kind of harm: ``harm`` does it, ``rounds`` times, while readings come. ``own_kafka``: it harms the broker.
    ``quick``: fit for CI. ``must_abort``: a kill must have struck an open transaction. ``must_use``: an owner must have
    begun from a snapshot."""

    name: str
    harm: Callable[[Run], Awaitable[None]]
    rounds: int = 1
    load: Load = field(default_factory=Load)
    stream: str = ""
    settings: str = ""
    topic: Mapping[str, str] = field(default_factory=dict)
    own_kafka: bool = False
    quick: bool = True
    must_abort: bool = False
    must_use: bool = False
    worker: str = ""
    apart: bool = False


@dataclass(frozen=True)
class Place:
    """Where a scenario is played: a Kafka, which it may kill where given the ``broker``; a name, a folder, a seed."""

    kafka: str
    name: str
    folder: Path
    seed: int = 1
    broker: EmbeddedBroker | None = None


async def play(scenario: Scenario, place: Place, *, times: int = 1) -> Report:
    """Set the stage, push, harm (``times`` as many rounds), let everything be processed, stop in order, and check."""
    report = Report(scenario.name, place.seed)
    began = time.monotonic()
    stage = Stage(
        place.kafka, place.name, place.folder, stream=scenario.stream, worker=scenario.worker,
        settings=scenario.settings, apart=scenario.apart,
    )  # fmt: skip
    try:
        await asyncio.to_thread(stage.create_topics, scenario.topic)
        await asyncio.to_thread(warm_up, stage, scenario.load)
        await _act(scenario, place, stage, report, times)
    finally:
        stage.close()
    report.findings = await check(stage)
    if scenario.must_abort and not report.findings.aborted:
        report.complaints.append("no kill struck an open transaction: nothing was aborted")
    report.snapshots_used = stage.logged("begun_from=snapshot")
    if scenario.must_use and not report.snapshots_used:
        report.complaints.append("no owner began from a snapshot")
    report.seconds = time.monotonic() - began
    return report


async def _act(scenario: Scenario, place: Place, stage: Stage, report: Report, times: int) -> None:
    pusher = Pusher(place.kafka, stage.topic, replace(scenario.load, seed=place.seed))
    async with LedgerFollower(place.kafka, stage.catalogue.ledger_of(stage.topic), PARTITIONS) as ledger:
        random = Random(place.seed)
        run = Run(stage, pusher, ledger, random, report, scenario.rounds * times, place.broker)
        pushing = asyncio.create_task(pusher.run())
        try:
            await scenario.harm(run)
            pusher.stop()
            await pushing
            await _finish(run)
        finally:
            pushing.cancel()


async def _finish(run: Run) -> None:
    run.look_for_deserters()
    if not run.stage.living:
        run.start()
    ends = await log_ends(run.stage.kafka, run.stage.topic, PARTITIONS)
    left = await run.ledger.reached(ends, PATIENCE_S)
    if left:
        behind = {p: f"{run.ledger.position[p]} of {ends[p]}" for p in left}
        run.report.complaints.append(f"stalled: after {PATIENCE_S:g} s the ledger is at {behind}")
    for worker in run.stage.living:
        await run.terminate(worker)
