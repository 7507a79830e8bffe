"""How a worker ends: in bounded time, with the exit code that it deserves."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable

import pytest
import structlog

from oddtide.domain.errors import BrokenPromiseError
from oddtide.streams.ending import LastResort, closed_within, waited_for


async def test_what_closes_in_time_is_closed_also_badly() -> None:
    async def broken() -> None:
        raise OSError("no more connection")

    async def cancelled() -> None:
        raise asyncio.CancelledError  # as aiokafka's stop does where a task of its own has not begun

    assert await closed_within(60.0, asyncio.sleep(0))
    assert await closed_within(60.0, broken())
    assert await closed_within(60.0, cancelled())


async def test_what_does_not_close_is_left_to_itself_also_where_it_ignores_that() -> None:
    enough = asyncio.Event()
    asked = asyncio.Event()
    dead = weakref.proxy(asyncio.Event())  # such things lie about in a process, and raise whatever they are asked

    async def stubborn_stop() -> None:
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                asked.set()

    try:
        assert not await closed_within(0.01, stubborn_stop())
        await asyncio.wait_for(asked.wait(), 60)
        assert "stubborn_stop test_ending.py:" in waited_for()
    finally:
        enough.set()  # or the loop would wait for it for ever
    await asyncio.sleep(0)
    assert "stubborn_stop" not in waited_for()
    assert type(dead) is weakref.ProxyType


@pytest.mark.parametrize(
    ("owing", "reason", "code", "said"),
    [
        (False, None, 0, "all partitions were let go in order"),
        (True, None, 1, "uncommitted work is done again"),
        (False, BrokenPromiseError("no way on."), 7, "is ended"),
        (True, ValueError("odd"), 1, "is ended"),
    ],
)
def test_an_end_that_takes_too_long(owing: bool, reason: BaseException | None, code: int, said: str) -> None:
    codes, ended = list[int](), threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    with structlog.testing.capture_logs() as logs:
        LastResort(0.0, lambda: owing, end).begin(reason)
        assert ended.wait(60)
    assert codes == [code]
    assert said in logs[0]["event"]
    assert (logs[0].get("reason") or None) == (str(reason) if reason else None)


@pytest.mark.parametrize("begun", [lambda last_resort: last_resort.begin(), lambda _: None])
def test_an_end_in_time_needs_no_last_resort(begun: Callable[[LastResort], None]) -> None:
    codes: list[int] = []
    last_resort = LastResort(3600.0, lambda: True, codes.append)
    begun(last_resort)
    last_resort.over()
    assert codes == []
    assert "last_resort" not in [thread.name for thread in threading.enumerate()]
