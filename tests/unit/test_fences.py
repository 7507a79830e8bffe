"""When being fenced again and again is for good."""

from __future__ import annotations

from faust.types import TP

from oddtide.domain.errors import BrokenPromiseError
from oddtide.streams.agents.fences import MOST, Fences

ONE, OTHER = TP("t", 0), TP("t", 1)


def test_fenced_without_getting_anywhere_is_for_good() -> None:
    fences = Fences()
    assert [fences.fenced(ONE, 10) for _ in range(MOST - 1)] == [None] * (MOST - 1)
    assert fences.fenced(OTHER, 10) is None
    error = fences.fenced(ONE, 10)
    assert isinstance(error, BrokenPromiseError)
    assert "t/0 was fenced 5 times" in str(error)


def test_who_gets_on_in_between_may_be_fenced_for_ever() -> None:
    fences = Fences()
    assert [fences.fenced(ONE, position) for position in range(3 * MOST)] == [None] * 3 * MOST
