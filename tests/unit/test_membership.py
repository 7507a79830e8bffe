"""A member of a group that is about to leave it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from oddtide.domain.errors import FencedError
from oddtide.streams.membership import watch


def group(joined: list[Any]) -> Any:
    """As much of aiokafka's coordinator as a watch looks at."""

    async def join(subscription: Any) -> bool:
        joined.append(subscription)
        return True

    return SimpleNamespace(
        _closing=asyncio.get_running_loop().create_future(), _do_rejoin_group=join, _group_instance_id=None,
        reset_generation=lambda: None, generation=1, member_id="m",
    )  # fmt: skip


async def test_who_is_about_to_leave_does_not_join_again() -> None:
    joined, fenced = list[Any](), list[FencedError]()
    coordinator = group(joined)
    watch(SimpleNamespace(_coordinator=coordinator), lambda: None, fenced.append)
    assert await coordinator._do_rejoin_group("once")
    coordinator._closing.set_result(None)
    assert not await coordinator._do_rejoin_group("while it closes")
    assert (joined, fenced) == (["once"], [])
