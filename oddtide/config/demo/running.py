"""The demo from start to end. Whatever way it ends, nothing is left running that was not asked to stay."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from oddtide.config.demo.account import Account, Summary
from oddtide.config.demo.feeding import Fed, Feeder, Series
from oddtide.config.demo.setting import Setting
from oddtide.config.demo.stopping import Stopping
from oddtide.config.demo.watching import Settled, Watch, dealt_with, ends
from oddtide.config.demo.worker import DemoWorker
from oddtide.domain.detection.events import AnomalyDetected
from oddtide.domain.errors import OddtideError
from oddtide.domain.quality.events import ReadingRejected

if TYPE_CHECKING:
    from oddtide.config.composition import Composition

__all__ = ["Show", "run_demo"]

_TICK_S = 0.2
_DRAIN_S = 30.0
_FEEDER_END_S = 15.0


class Show(Protocol):
    """The screen."""

    def note(self, text: str) -> None:
        """What is going on."""
        ...

    def detection(self, found: AnomalyDetected) -> None:
        """A detection, as it comes."""
        ...

    def rejection(self, refused: ReadingRejected) -> None:
        """A rejected reading."""
        ...


def run_demo(
    folder: Path, show: Show, *, exit_after: float | None = None, keep: bool = False, shuttle_rows: int = 20_000
) -> Summary:
    """Run until Ctrl-C, SIGTERM, or ``exit_after`` seconds after everything is up (but not before the data sets are
    pushed); then wait for the backlog (at most 30 s) and say what it came to. With ``keep`` Kafka and the worker go on
    in the background.

    Raises the error that ended it early: no Kafka, a worker that died, a folder in use; ``KeyboardInterrupt`` where it
    is asked to stop before everything is up.
    """
    setting, started = Setting(folder), time.monotonic()
    with Stopping() as stopping, setting.locked(), ExitStack() as background:
        background.callback(stopping.deaf)
        composition = _start_kafka(setting, show, background, keep=keep)
        worker = background.enter_context(DemoWorker(setting, show.note, keep=keep))
        number = setting.next_run()
        account = Account(number, Series.of_run(number), started)
        account.done = dealt_with(composition, _ledgers(composition))
        account.backlog = account.lag(ends(composition, _inputs(composition)))
        starts = ends(composition, [*_results(composition), *_ledgers(composition)])
        session = _Session(account, show, worker, stopping)
        with Watch(composition, starts, session.inbox), _feeding(composition, session, shuttle_rows):
            session.run(exit_after)
        lag = account.lag(ends(composition, _inputs(composition)))
        summary = account.summary(lag=lag, folder=str(setting.folder))
        if keep:
            background.pop_all()
        return summary


def _start_kafka(setting: Setting, show: Show, background: ExitStack, *, keep: bool) -> Composition:
    from oddtide.adapters.embedded.broker import EmbeddedBroker
    from oddtide.config.composition import Composition

    broker = EmbeddedBroker(setting.folder / "kafka", port=0)
    background.callback(broker.stop)
    bootstrap = broker.start(show.note, detach=keep)
    composition = Composition(setting.write(int(bootstrap.rpartition(":")[2])))
    with composition.admin() as admin:
        created = admin.ensure(composition.catalogue().all())
    show.note(f"Kafka is up on {bootstrap}; {len(created)} topics made." if created else f"Kafka is up on {bootstrap}.")
    return composition


def _inputs(composition: Composition) -> list[str]:
    return [plan.topic for plan in composition.plans()]


def _ledgers(composition: Composition) -> list[str]:
    return [composition.catalogue().ledger_of(topic) for topic in _inputs(composition)]


def _results(composition: Composition) -> list[str]:
    catalogue = composition.catalogue()
    return [catalogue.name("detections"), catalogue.name("deadletters")]


class _Session:
    """The main thread's part: takes what the others put into the inbox, until it is time to end."""

    def __init__(self, account: Account, show: Show, worker: DemoWorker, stopping: Stopping) -> None:
        self.account = account
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.fed = threading.Event()
        self._show = show
        self._worker = worker
        self._stopping = stopping

    def run(self, exit_after: float | None) -> None:
        """Until told to stop or ``exit_after`` is over, then until the backlog is dealt with."""
        self._stopping.gentle()
        since: float | None = None
        while not self._stopping.asked.is_set():
            self._tick()
            if since is None and self._worker.is_ready:
                since = time.monotonic()
            if exit_after is not None and self._is_over(since, exit_after):
                break
        self._show.note("Ending: waiting for the last readings.")
        self.fed.set()
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline and self.account.behind:
            self._tick()

    def _is_over(self, since: float | None, exit_after: float) -> bool:
        return since is not None and self.account.fed is not None and time.monotonic() - since >= exit_after

    def _tick(self) -> None:
        self._worker.check()
        try:
            item = self.inbox.get(timeout=_TICK_S)
            while True:
                self._take(item)
                item = self.inbox.get_nowait()
        except queue.Empty:
            return

    def _take(self, item: object) -> None:
        now = time.monotonic()
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, Settled):
            self.account.take_batch(item.batch, item.written)
        elif isinstance(item, AnomalyDetected):
            self.account.take_detection(item, now)
            if self.account.is_ours(item):
                self._show.detection(item)
        elif isinstance(item, ReadingRejected):
            self._show.rejection(item)
        elif isinstance(item, Fed):
            self.account.take_fed(item)
            self._show.note(
                f"Pushed {item.water:,} readings of WaterFlow and {item.shuttle:,} of Shuttle; "
                "from now on this machine's metrics, every second. Ctrl-C ends."
            )


@contextmanager
def _feeding(composition: Composition, session: _Session, shuttle_rows: int) -> Iterator[None]:
    account = session.account
    topics = {plan.name: plan.topic for plan in composition.plans()}

    def count(records: int) -> None:
        account.pushed += records

    feeder = Feeder(topics, account.series, composition.clock, count, shuttle_rows=shuttle_rows)

    def feed() -> None:
        try:
            with composition.writer() as writer:
                session.inbox.put(feeder.data_sets(writer, session.fed))
                feeder.live(writer, session.fed)
        except OddtideError as error:
            session.inbox.put(error)

    thread = threading.Thread(target=feed, name="feeder", daemon=True)
    thread.start()
    try:
        yield
    finally:
        session.fed.set()
        thread.join(_FEEDER_END_S)
