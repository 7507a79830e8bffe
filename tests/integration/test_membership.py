"""Members of a group on a real Kafka: static ones that come back, leave, or find their place taken; sticky shares."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from oddtide.domain.errors import FencedError
from oddtide.streams.app import TP, WorkerContext, batch_agent, make_app
from oddtide.streams.transport import BatchApp
from tests.integration.agents_kit import Application, eventually

PARTITIONS = 12


class Member:
    """An app that reads a topic and does nothing with it."""

    def __init__(self, context: WorkerContext, topic: str) -> None:
        self.app: BatchApp = make_app(context, "member")
        self.rebalances = 0
        batch_agent(self.app, [topic], self._handle, "member")
        self.app.on_rebalance_complete.connect(self._rebalanced)

    async def _handle(self, tp: TP, records: Any, acknowledge: Any) -> None:
        acknowledge()

    async def _rebalanced(self, *_: Any, **__: Any) -> None:
        self.rebalances += 1

    async def holds(self) -> set[int]:
        return {tp.partition for tp in self.app.consumer.assignment()}

    async def kill(self) -> None:
        """Stop without a word, as far as its group can tell."""
        self.app.consumer._thread._consumer._coordinator._maybe_leave_group = nothing  # type: ignore[attr-defined]  # as kill -9
        await self.app.stop()


async def nothing() -> None:
    return


@pytest.fixture
async def application(kafka: str, topic_prefix: str, tmp_path: Path) -> Application:
    application = Application(kafka, topic_prefix, tmp_path, partitions=PARTITIONS)
    await application.create()
    return application


async def join(application: Application, stack: AsyncExitStack, instance: str = "") -> Member:
    member = Member(
        application.context(instance_id=instance, session_timeout_s=60.0), application.catalogue.name("alerts")
    )
    await member.app.start()
    stack.push_async_callback(member.app.stop)
    return member


async def settled(*members: Member) -> list[set[int]]:
    """What each holds, once all partitions are held."""

    async def look() -> list[set[int]]:
        return [await member.holds() for member in members]

    return await eventually(look, lambda shares: sum(map(len, shares)) == PARTITIONS and all(shares))


async def test_who_joins_or_leaves_moves_no_more_than_its_own_share(application: Application) -> None:
    """Membership is static and the session lasts a minute: only leaving in order gives partitions up at once."""
    async with AsyncExitStack() as stack:
        first, second = await join(application, stack, "a"), await join(application, stack, "b")
        before = await settled(first, second)
        third = await join(application, stack, "c")
        with_third = await settled(first, second, third)
        assert [len(share) for share in with_third] == [4, 4, 4]
        assert all(now < then for now, then in zip(with_third, before, strict=False)), "both only gave"
        await third.app.stop()
        after = await settled(first, second)
        assert all(now > then for now, then in zip(after, with_third, strict=False)), "both only took"


async def test_a_static_member_that_comes_back_moves_nothing(application: Application) -> None:
    async with AsyncExitStack() as stack:
        first, second = await join(application, stack, "a"), await join(application, stack, "b")
        before = await settled(first, second)
        rebalances = first.rebalances
        await second.kill()
        again = await join(application, stack, "b")
        assert await settled(first, again) == before
        assert first.rebalances == rebalances


async def test_whose_place_is_taken_ends_with_the_reason(application: Application) -> None:
    async with AsyncExitStack() as stack:
        first = await join(application, stack, "same")
        await settled(first)
        second = await join(application, stack, "same")

        async def crash() -> Any:
            return first.app.crash_reason

        reason = await eventually(crash, lambda found: found is not None)
        assert isinstance(reason, FencedError)
        assert "'same-member'" in str(reason)
        await settled(second)
        await asyncio.sleep(1.5)
        assert second.app.crash_reason is None, "it is left alone"


async def test_who_stops_while_its_group_settles_anew_leaves_it_all_the_same(application: Application) -> None:
    """Faust answers such a rebalance by closing the client from another thread: nothing could leave the group then."""
    async with AsyncExitStack() as stack:
        first, second = await join(application, stack, "a"), await join(application, stack, "b")
        await settled(first, second)
        before = first.app.rebalancing_count

        async def seen() -> int:
            return first.app.rebalancing_count

        async def met(*_: Any, **__: Any) -> None:
            await eventually(seen, lambda count: count > before)

        first.app.on_before_shutdown.connect(met)
        coordinator: Any = first.app.consumer._thread._consumer._coordinator  # type: ignore[attr-defined]  # private
        leave, left = coordinator._maybe_leave_group, asyncio.Event()

        async def leaving() -> None:
            await leave()
            left.set()

        coordinator._maybe_leave_group = leaving
        stopping = asyncio.create_task(first.app.stop())
        third = await join(application, stack, "c")
        await stopping
        assert left.is_set()
        await settled(second, third)


async def test_a_member_that_its_group_forgot_joins_again(application: Application) -> None:
    async with AsyncExitStack() as stack:
        member = await join(application, stack, "a")
        await settled(member)
        coordinator: Any = member.app.consumer._thread._consumer._coordinator  # type: ignore[attr-defined]  # private
        loop = member.app.consumer._thread.thread_loop  # type: ignore[attr-defined]  # private
        former = coordinator.member_id
        asyncio.run_coroutine_threadsafe(leave(coordinator), loop)

        async def current() -> str:
            return str(coordinator.member_id)

        await eventually(current, lambda found: found not in ("", former))
        await settled(member)
        assert member.app.crash_reason is None


async def leave(coordinator: Any) -> None:
    """As an administrator removes a member."""
    from aiokafka.protocol.group import LeaveGroupRequest  # type: ignore[attr-defined]  # not needed elsewhere

    await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))
