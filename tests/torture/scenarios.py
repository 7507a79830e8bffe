"""The kinds of harm. Each says in its docstring what it does; all are judged by the same checks."""

from __future__ import annotations

import asyncio
import signal

from tests.torture.disks import small_disk
from tests.torture.faults import Fault
from tests.torture.pushing import Load
from tests.torture.reading import has_holes, set_topic
from tests.torture.running import Run, Scenario
from tests.torture.stage import PARTITIONS, SESSION_S

__all__ = ["scenarios"]

_DEEP = 'profile = "deep"\nprofile_every = 50\n'
_COMPACTED = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}
_EWMA = 'detectors = [{{ kind = "ewma", parameters = {{ alpha = {alpha:.2f} }} }}]'
_TRANSACTION_POINTS = ("begun", "written", "committed")
_SNAPSHOT_POINTS = ("snap_begun", "snap_unsynced", "snap_renamed", "snap_stored", "snap_sweeping")
_SNAPSHOTS = "[snapshots]\nevery_s = 0.3\nshare = 1.0\nkeep = 2"
_SHARED = f"{_SNAPSHOTS}\nurl = 'file://FOLDER/shared'\n[artifacts]\nkey = 'the same on all machines, as it must be'"
_RECOVERY_POINTS = ("fenced", "ledger_read", "silent_fold", "restored")


async def random_kills(run: Run) -> None:
    """-9 on one of two workers at random moments, its successor starts at once."""
    for _ in range(2):
        run.start()
    for _ in range(run.rounds):
        victim = run.random.choice(run.stage.living)
        if run.random.random() < 0.7:  # else perhaps while it starts
            await run.up(victim)
        await run.pause(0.0, 4.0)
        await run.kill(victim)
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


async def kills_in_snapshots(run: Run) -> None:
    """-9 in every step of a snapshot and of beginning with one, one worker after the other, while another one works."""
    run.start()
    for _ in range(run.rounds):
        for point in _SNAPSHOT_POINTS:
            await run.struck(run.start([Fault(point, run.random.randint(1, 3))]))
        await run.struck(run.start([Fault("snap_read", 1)]))
        await run.goes_on()


async def disk_full(run: Run) -> None:
    """The disk that snapshots go to fills up, really where this user may mount a small one, else as the worker is made
    to believe. The stream goes on without; killed now, owners begin from the older ones. Then there is room again."""
    with small_disk(run.stage.snapshots) as fill:
        for _ in range(run.rounds):
            pretended = [] if fill else [Fault("snap_unsynced", 2 * PARTITIONS, "disk_full", times=20)]
            worker = run.start(pretended)
            await run.snapshots_go_on()
            if fill:
                fill()
            await run.logs("snapshot not stored")
            await run.goes_on()
            await run.kill(worker)
            worker = run.start()
            await run.goes_on()
            if fill:
                fill(False)
            await run.snapshots_go_on()
            await run.kill(worker)
    run.start()


async def rotten(run: Run) -> None:
    """Between two owners the newest snapshot of every partition is damaged; then all of them are, and some deleted."""
    for number in range(2 * run.rounds):
        worker = run.start()
        await run.snapshots_go_on()
        await run.snapshots_go_on()
        await run.kill(worker)
        for folder in run.stage.snapshots.glob("*/*"):
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            for i, file in enumerate(files if number % 2 else files[-1:]):
                content = bytearray(file.read_bytes())
                content[run.random.randrange(len(content))] ^= 1 << run.random.randrange(8)
                file.write_bytes(content)
                if i % 3 == 2:
                    file.unlink()
    run.start()
    await run.goes_on()


async def kafka_killed(run: Run) -> None:
    """-9 on Kafka itself, started again on the same folder: under living workers, then together with one of them; and
    SIGTERM for a worker while there is no Kafka: it must end in order all the same."""
    for _ in range(run.rounds):
        while len(run.stage.living) < 2:
            run.start()
        await run.goes_on()
        for worker in run.stage.living:
            await run.up(worker)  # one that starts while there is no Kafka ends, and says so
        await run.kill_kafka()
        await run.start_kafka()
        await run.goes_on()
        await run.kill_kafka()
        await run.kill(run.random.choice(run.stage.living))
        await run.start_kafka()
        await run.up(run.start())
        await run.goes_on()
        await run.kill_kafka()
        leaving = run.random.choice(run.stage.living)
        seconds = await run.terminate(leaving)
        run.report.notes.append(f"stopped without Kafka in {seconds:.1f} s")
        await run.start_kafka()
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


async def controls(run: Run) -> None:
    """Another version of the pipeline is published, a new normal accepted, planned work declared; owners die
    around the commits and in the silent folds that follow. Each takes effect at one offset, and stays."""
    await run.up(run.start())
    for number in range(1, run.rounds + 1):
        await run.goes_on()
        run.stage.write(_EWMA.format(alpha=0.02 + 0.01 * number))
        await run.cli("pipelines", "publish", "--yes")
        await run.struck(run.start([Fault("written", run.random.randint(1, 3))]))
        series = run.random.randrange(20)
        verdict = f"{run.stage.name}/readings/{run.stage.topic}/{series % PARTITIONS}/{number}/0@any"
        await run.cli("feedback", "accept", verdict, "--series", f"sensor-{series:04d}")
        await run.cli(
            "planned-work", "add", "--series", f"sensor-??{series % 10}?", "--from", "2023-01-01", "--to", "2033-01-01",
            "--reason", "torture",
        )  # fmt: skip
        await run.goes_on()
        (witness,) = run.stage.living
        await run.kill(witness)
        await run.struck(run.start([Fault("silent_fold", 1)]))
        await run.up(run.start())


#: Every scenario, with as many rounds as a quick run has. Those that are not quick are covered in part by others.
_ALL = (
    Scenario("random", random_kills, 4),
    Scenario("transactions", kills_in_transactions, 1, must_abort=True),
    Scenario("recovery", kills_in_recovery, 1),
    Scenario("both", both_at_once, 1, must_abort=True),
    Scenario("frozen", frozen, 1, must_abort=True),
    Scenario("terminate", stops_in_order, 2, quick=False),
    Scenario("scaling", scaling, 1),
    Scenario("rough", kills_in_transactions, 1, Load(transactional=True, bad_every=7), stream=_DEEP, must_abort=True),
    Scenario("compacted", compacted, 1, topic=_COMPACTED, must_abort=True, quick=False),
    Scenario("controls", controls, 1, must_abort=True),
    Scenario("snapshots", kills_in_snapshots, 1, settings=_SNAPSHOTS, must_use=True, quick=False),
    Scenario(
        "asleep",
        kills_in_snapshots,
        1,
        Load(series=1_200),
        settings=_SNAPSHOTS,
        worker="memory_mib = 0.1",
        must_use=True,
    ),
    Scenario("disk-full", disk_full, 1, settings=_SNAPSHOTS, must_use=True),
    Scenario("rotten", rotten, 1, settings=_SNAPSHOTS, must_use=True, quick=False),
    Scenario("apart", random_kills, 3, settings=_SHARED, apart=True, must_use=True, quick=False),
    Scenario("kafka", kafka_killed, 1, own_kafka=True),
)


def scenarios() -> dict[str, Scenario]:
    """Every scenario by its name."""
    return {scenario.name: scenario for scenario in _ALL}
