"""Work over processes, and how far it is."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

from oddtide.config.going import Going
from oddtide.config.spreading import Tell, cores, spread
from oddtide.domain.errors import NotFoundError, OddtideError


def double(task: int, tell: Tell) -> tuple[int, int]:
    for _ in range(task):
        tell(1)
    return 2 * task, os.getpid()


def stumble(task: int, tell: Tell) -> int:
    if task == 2:
        raise NotFoundError("There is no 2.", remedy="Take another.")
    if task == 3:
        raise ValueError("three")
    if task == 4:
        os._exit(9)
    return task


@pytest.mark.parametrize("processes", [1, 2])
def test_every_task_is_done_and_what_is_told_arrives(processes: int) -> None:
    told: list[Any] = []
    found = spread(double, [1, 2, 3], processes=processes, tell=told.append)
    assert [result for result, _ in found] == [2, 4, 6]
    assert sum(told) == 6
    assert (os.getpid() in {pid for _, pid in found}) == (processes == 1)
    assert cores() >= 1


def test_an_error_of_one_ends_all() -> None:
    with pytest.raises(NotFoundError, match="Take another") as raised:
        spread(stumble, [1, 2], processes=2, tell=print)
    assert raised.value.remedy == "Take another."
    with pytest.raises(OddtideError, match="ValueError: three"):
        spread(stumble, [1, 3], processes=2, tell=print)
    with pytest.raises(OddtideError, match="code 9"):
        spread(stumble, [1, 4], processes=2, tell=print)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_some_lines_elsewhere() -> None:
    now = [0.0]
    for stream, expected in ((Terminal(), "\rx: 100 of 400 records, 50 a second, 6 s left        \n"),
                             (io.StringIO(), "")):  # fmt: skip
        now[0] = 0.0
        going = Going("x", 400, clock=lambda: now[0], stream=stream)
        going(50)
        now[0] = 2.0
        going(50)
        going(0)
        going.end()
        assert stream.getvalue() == expected
    stream = io.StringIO()
    now[0] = 0.0
    going = Going("x", 1_000_000, clock=lambda: now[0], stream=stream)
    for seconds in (11.0, 12.0, 22.0):
        now[0] = seconds
        going(1_000)
    going.end()
    first, second = stream.getvalue().splitlines()
    assert first.endswith("1,000 of 1,000,000 records, 91 a second, 3 h 3 min left")
    assert second.endswith("136 a second, 2 h 1 min left")
    quick = io.StringIO()
    now[0] = 0.0
    Going("x", 100_000, clock=lambda: now[0], stream=quick)
    now[0] = 20.0
    Going("x", 100_000, clock=lambda: now[0], stream=quick)(0)
    assert quick.getvalue() == ""
