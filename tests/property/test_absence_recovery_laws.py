"""Killed at any step, also while nothing arrives: every absence is published once, and a rebuild finds the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.domain.detection.absence import AbsencePolicy
from oddtide.domain.detection.events import AbsenceDetected, SeriesReturned
from oddtide.domain.errors import StateMismatchError
from oddtide.streams.codecs.record_block import RecordBlock
from oddtide.streams.controls import ControlSource
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.replay.folding import HistoryFold
from tests.property.recovery_world import PLAN, T0, NoArtifacts, World, log_of, undisturbed
from tests.property.test_recovery_laws import step

WATCHED = replace(PLAN, absence=AbsencePolicy(0.012))
STEPS = st.one_of(
    st.tuples(st.just("feed"), st.integers(1, 25)),
    st.tuples(st.just("quiet"), st.integers(1, 40)),
    st.tuples(st.sampled_from(["snapshot", "take again", "part"]), st.just(0)),
    st.tuples(st.just("kill"), st.sampled_from(["now", "before commit", "after commit"])),
    st.tuples(st.just("quiet kill"), st.sampled_from(["before commit", "after commit"])),
    st.tuples(st.just("lose"), st.integers(0, 3)),
)


async def quiet(world: World, ms: int) -> None:
    """Nothing arrives for a while, and the owner looks twice."""
    assert world.owner is not None
    await world.owner.settle(10)
    await world.owner.tick()
    world.clock = max(world.clock, (T0 + world.owner.processor.position) * 10**6) + ms * 10**6
    await world.owner.tick()
    await world.owner.settle(10)


async def live(world: World, steps: Sequence[tuple[str, Any]]) -> None:
    await world.take()
    for what, how in steps:
        if what == "quiet":
            await quiet(world, int(how))
        elif what == "quiet kill":
            world.kill = str(how)
            await quiet(world, 20)
            await world.die()
            await world.take(2)
        else:
            await step(world, what, how)
    await world.drain()
    await quiet(world, 50)
    assert world.owner is not None
    world.owner.close()


def silences(outcomes: Sequence[Outcome]) -> list[str]:
    events = [published.event for outcome in outcomes for published in outcome.events]
    return [event.id for event in events if isinstance(event, AbsenceDetected | SeriesReturned)]


@settings(max_examples=30, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_each_absence_is_published_once_whoever_dies(steps: list[tuple[str, Any]]) -> None:
    world = World(log_of(90), plan=WATCHED)
    asyncio.run(live(world, steps))
    assert [error for error in [*world.ends, *world.breaks] if isinstance(error, StateMismatchError)] == []
    batches = world.batches
    again = HistoryFold(undisturbed([], WATCHED), ControlSource(world.controls.pipelines, NoArtifacts()))
    again.expect(control for batch in batches for control in batch.controls)
    outcomes = [folded.outcome for folded in again.fold(RecordBlock.of(world.log))]
    again.finish()
    outcomes.append(again.processor.mark())
    assert silences(world.committed) == silences(outcomes)
    assert (batches[-1].silence, batches[-1].absences > 0) == (again.processor.silence, True)


def test_who_has_been_found_absent_is_left_in_peace() -> None:
    async def idle() -> World:
        world = World(log_of(30), plan=WATCHED)
        await world.take()
        await world.drain()
        for _ in range(5):
            await quiet(world, 50)
        return world

    world = asyncio.run(idle())
    marks = [batch for batch in world.batches if batch.from_offset == batch.to_offset]
    assert [mark.absences for mark in marks] == [3]
    assert [control.kind for control in marks[0].controls] == ["time_advanced"]
