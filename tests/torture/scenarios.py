"""The kinds of harm. Each says in its docstring what it does; all are judged by the same checks."""

from __future__ import annotations

import asyncio
import signal

from tests.torture.faults import Fault
from tests.torture.pushing import Load
from tests.torture.reading import has_holes, set_topic
from tests.torture.running import Run, Scenario
from tests.torture.stage import PARTITIONS, SESSION_S

__all__ = ["scenarios"]

_DEEP = 'profile = "deep"\nprofile_every = 50\n'
_TRANSACTION_POINTS = ("begun", "written", "committed")
_RECOVERY_POINTS = ("fenced", "ledger_read", "silent_fold", "restored")


async def random_kills(run: Run) -> None:
    """-9 on one of two workers at random moments, its successor starts at once."""
    for _ in range(2):
        run.start()
    for _ in range(run.rounds):
        await run.pause(0.5, 5.0)
        await run.kill(run.random.choice(run.stage.living))
        run.start()


async def kills_in_transactions(run: Run) -> None:
    """-9 around the commit, one worker after the other; while one dies another one works."""
    run.start()
    for _ in range(run.rounds):
        for point in _TRANSACTION_POINTS:
            await run.struck(run.start([Fault(point, run.random.randint(1, 6))]))
        await run.goes_on()


async def kills_in_recovery(run: Run) -> None:
    """-9 in every step of taking partitions over, with no other worker there: each try finds what the last one left."""
    run.start()
    await run.goes_on()
    await run.kill(run.stage.living[0])
    for _ in range(run.rounds):
        for point in _RECOVERY_POINTS:
            await run.struck(run.start([Fault(point, run.random.randint(1, 2))]))
    run.start()


async def both_at_once(run: Run) -> None:
    """Every worker dies between write and commit, or all at once at a random moment."""
    for _ in range(run.rounds):
        pair = [run.start([Fault("written", run.random.randint(2, 8))]) for _ in range(2)]
        await asyncio.gather(*(run.struck(worker) for worker in pair))
        pair = [run.start(), run.start()]
        await run.goes_on()
        await asyncio.gather(*(run.kill(worker) for worker in pair))


async def frozen(run: Run) -> None:
    """A worker stops (SIGSTOP) between write and commit for longer than its session; another one takes its partitions.
    Woken up it can publish nothing; then it must do all the work alone, or have ended itself."""
    run.start()
    for _ in range(run.rounds):
        await run.goes_on()
        zombie = run.start([Fault("written", run.random.randint(1, 4), "stop")])
        if not await run.frozen(zombie):
            return
        await asyncio.sleep(SESSION_S + 2.0)
        await run.goes_on()
        zombie.signal(signal.SIGCONT)
        await run.pause(1.0, 2.0)
        await run.terminate(run.stage.living[0])
        if not zombie.alive:  # it may: what it cannot do any more is publish
            run.harmed.add(zombie.number)
            run.report.notes.append(f"the woken worker ended: {zombie.last_words}")
            run.start()


async def stops_in_order(run: Run) -> None:
    """SIGTERM, over and over, the successor beside it."""
    run.start()
    for _ in range(run.rounds):
        await run.goes_on()
        leaving = run.stage.living[0]
        await run.up(run.start())
        seconds = await run.terminate(leaving)
        run.report.notes.append(f"stopped in {seconds:.1f} s")


async def scaling(run: Run) -> None:
    """One worker, then four, then two, under load."""
    run.start()
    await run.goes_on()
    for worker in [run.start() for _ in range(3)]:
        await run.up(worker)
    await run.goes_on()
    for worker in run.stage.living[:2]:
        await run.terminate(worker)
    await run.goes_on()


async def kafka_killed(run: Run) -> None:
    """-9 on Kafka itself, started again on the same folder: under living workers, then together with one of them."""
    for _ in range(2):
        run.start()
    for _ in range(run.rounds):
        await run.goes_on()
        run.kill_kafka()
        run.start_kafka()
        await run.goes_on()
        run.kill_kafka()
        await run.kill(run.random.choice(run.stage.living))
        run.start_kafka()
        run.start()
    await run.goes_on()


async def compacted(run: Run) -> None:
    """The log is compacted before anybody reads it; then kills around the commit. It is compacted no more meanwhile:
    what is gone can be verified by nobody."""
    kafka, topic = run.stage.kafka, run.stage.topic
    while not await has_holes(kafka, topic, PARTITIONS):  # noqa: ASYNC110 - Kafka's cleaner has no event
        await asyncio.sleep(1.0)
    await set_topic(kafka, topic, {"cleanup.policy": "delete", "retention.ms": "-1"})
    await asyncio.sleep(2.0)
    await kills_in_transactions(run)


#: Every scenario, with as many rounds as a quick run has.
_ALL = (
    Scenario("random", random_kills, 4),
    Scenario("transactions", kills_in_transactions, 1, must_abort=True),
    Scenario("recovery", kills_in_recovery, 1),
    Scenario("both", both_at_once, 1, must_abort=True),
    Scenario("frozen", frozen, 1, must_abort=True),
    Scenario("terminate", stops_in_order, 2),
    Scenario("scaling", scaling, 1),
    Scenario("holes", kills_in_transactions, 1, Load(transactional=True), must_abort=True),
    Scenario("kafka", kafka_killed, 1, own_kafka=True),
    Scenario("bad", kills_in_transactions, 1, Load(bad_every=7), stream=_DEEP, must_abort=True),
    Scenario(
        "compacted", compacted, 1, must_abort=True, quick=False,
        topic={"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"},
    ),
)  # fmt: skip


def scenarios() -> dict[str, Scenario]:
    """Every scenario by its name."""
    return {scenario.name: scenario for scenario in _ALL}
