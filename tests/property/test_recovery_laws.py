"""Killed at any step, cut, or handed over: whoever takes the partition goes on to the same future."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.domain.observability.ledger import check_batch, check_succession
from oddtide.streams.pipeline.running_hash import hash_text
from tests.property.recovery_world import World, log_of, undisturbed

STEPS = st.one_of(
    st.tuples(st.just("feed"), st.integers(1, 40)),
    st.tuples(st.sampled_from(["snapshot", "idle", "part", "take again"]), st.just(0)),
    st.tuples(st.just("kill"), st.sampled_from(["now", "before commit", "after commit", "before put", "after put"])),
    st.tuples(st.just("lose"), st.integers(0, 5)),
)
#: Whether pieces handed over are folded one by one, or some or all of them as one batch.
ENOUGH = st.sampled_from([1, 8, 2_048])
HOLES = st.lists(st.integers(0, 149), max_size=6)


async def step(world: World, what: str, how: int | str) -> None:
    if what == "feed":
        await world.feed(int(how))
        await asyncio.sleep(0)
    elif what == "snapshot":
        await world.snapshot()
    elif what == "idle":
        assert world.owner is not None
        await world.owner.tick()
    elif what == "part":
        assert world.owner is not None
        await world.owner.part(10)
        await world.die()
        await world.take(2)
    elif what == "take again":
        await world.take(2)
    elif what == "lose":
        for reference in sorted(world.store.blobs)[: int(how)]:
            world.store.delete(reference)
    else:
        await kill(world, str(how))
        await world.take(1)


async def kill(world: World, how: str) -> None:
    if how.endswith("commit"):
        world.kill = how
        await world.feed(20)
    elif how.endswith("put"):
        world.store.kill = how.split(maxsplit=1)[0]
        await world.snapshot()
    await world.die()


async def live(world: World, steps: Sequence[tuple[str, int | str]]) -> None:
    await world.take()
    for what, how in steps:
        await step(world, what, how)
    await world.drain()
    assert world.owner is not None
    world.owner.close()


@settings(max_examples=40)
@given(st.lists(STEPS, max_size=14), HOLES, ENOUGH)
def test_killed_at_any_step_the_future_is_the_same(
    steps: list[tuple[str, int | str]], holes: list[int], enough: int
) -> None:
    world = World(log_of(150, holes), enough=enough)
    asyncio.run(live(world, steps))
    alone = undisturbed(world.log)
    batches = world.batches
    assert batches[-1].hash == hash_text(alone.hash)
    assert batches[-1].to_offset == alone.position
    for previous, batch in zip([None, *batches[:-1]], batches, strict=True):
        assert (check_batch(batch), check_succession(previous, batch)) == ([], [])
    ids = [verdict.id for outcome in world.committed for verdict in outcome.verdicts]
    expected = undisturbed([]).fold(world.log)
    assert ids == [verdict.id for verdict in expected.verdicts]
    assert not [batch for batch in batches if batch.epoch or batch.lost]


@settings(max_examples=40)
@given(st.lists(STEPS, max_size=10), st.lists(st.integers(0, 149), min_size=1, max_size=3), ENOUGH)
def test_where_the_log_is_cut_it_goes_on_and_the_ledger_adds_up(
    steps: list[tuple[str, int | str]], cuts: list[int], enough: int
) -> None:
    world = World(log_of(150), enough=enough)

    async def cut_now_and_then() -> None:
        await world.take()
        for cut in sorted(cuts):
            for what, how in steps:
                await step(world, what, how)
            world.earliest = max(world.earliest, cut)
            await world.take(4)
        await world.drain()
        assert world.owner is not None
        world.owner.close()

    asyncio.run(cut_now_and_then())
    batches = world.batches
    assert batches[-1].to_offset == 150
    for previous, batch in zip([None, *batches[:-1]], batches, strict=True):
        assert (check_batch(batch), check_succession(previous, batch)) == ([], [])
    offsets = [verdict.offset for outcome in world.committed for verdict in outcome.verdicts]
    assert offsets == sorted(set(offsets))
    lost = sum(batch.lost for batch in batches)
    assert sum(batch.records for batch in batches) == 150 - lost - batches[0].from_offset
    openings = [batch for batch in batches if batch.opened]
    assert [batch.epoch for batch in openings] == list(range(1, len(openings) + 1))
    if not openings and batches[0].from_offset == 0:
        assert batches[-1].hash == hash_text(undisturbed(world.log).hash)
