from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddtide.domain.errors import StateMismatchError, UsageError
from oddtide.domain.slots import Recency, SlotColumns, bytes_of

BLANKS = {"times": np.array(-1), "cells": np.array([0.0, 2.0]), "marks": np.zeros(3, dtype=np.int16)}


def columns(slots: int) -> SlotColumns:
    subject = SlotColumns("the test", BLANKS)
    subject.grow(slots)
    return subject


def written(subject: SlotColumns, slots: list[int]) -> None:
    for name in BLANKS:
        subject[name][slots] = 7


@given(st.lists(st.integers(1, 70), max_size=6), st.sets(st.integers(0, 69)))
def test_what_was_never_written_or_was_forgotten_is_blank(rooms: list[int], forgotten: set[int]) -> None:
    subject = columns(0)
    for room in rooms:
        before = len(subject)
        subject.grow(room)
        written(subject, list(range(before, len(subject))))
    gone = sorted(slot for slot in forgotten if slot < len(subject))
    subject.forget(np.array(gone, dtype=np.int64))
    assert len(subject) == max(rooms, default=0)
    for name, blank in BLANKS.items():
        for slot in range(len(subject[name])):
            expected = blank if slot in gone or slot >= len(subject) else np.full_like(blank, 7)
            np.testing.assert_array_equal(subject[name][slot], expected)
            assert subject[name].dtype == blank.dtype


def test_rows_move_between_slots() -> None:
    one, other = columns(3), columns(9)
    written(one, [2])
    other.insert(np.array([8, 1]), one.extract(np.array([2, 0])))
    assert other["times"].tolist() == [-1] * 8 + [7]
    assert one.bytes_per_slot == 8 + 16 + 6


def test_the_rows_of_many_slots_are_copies_too() -> None:
    """They lie in memory of their own."""
    subject = columns(200_000)
    subject["cells"][:, 0] = np.arange(200_000)
    slots = np.arange(199_999, -1, -1)
    state = subject.extract(slots)
    assert {name: np.shape(rows) for name, rows in state.items()} == {
        "times": (200_000,), "cells": (200_000, 2), "marks": (200_000, 3)
    }  # fmt: skip
    subject["cells"][:] = 9.0
    assert np.asarray(state["cells"])[:, 0].tolist() == slots.tolist()
    assert np.asarray(state["cells"])[:, 1].tolist() == [2.0] * 200_000


@pytest.mark.parametrize(
    "spoil",
    [{"times": np.zeros(1)}, {"cells": np.zeros((1, 3))}, {"marks": np.zeros((2, 3), np.int16)}, {"marks": [b""]}],
)
def test_a_state_that_does_not_fit_changes_nothing(spoil: dict[str, Any]) -> None:
    subject = columns(2)
    state = {**columns(1).extract(np.array([0])), **spoil}
    written(subject, [0, 1])
    with pytest.raises(StateMismatchError, match="the test"):
        subject.insert(np.array([0]), state)
    assert subject["times"].tolist() == [7, 7]


@pytest.mark.parametrize("slots", [[2], [-1], [0, 5]])
def test_slots_without_room_are_refused(slots: list[int]) -> None:
    subject, where = columns(2), np.array(slots)
    for call in (subject.extract, subject.forget):
        with pytest.raises(UsageError, match="room for 2"):
            call(where)
    with pytest.raises(UsageError, match="room for 2"):
        subject.insert(where, columns(6).extract(np.arange(len(slots))))


def test_bytes_are_as_many_as_the_slots() -> None:
    assert bytes_of("it", "raw", 2, {"raw": [b"a", b""]}) == [b"a", b""]
    for found in ([b"a"], [b"a", "b"], b"ab", None):
        with pytest.raises(StateMismatchError, match="not 2 bytes"):
            bytes_of("it", "raw", 2, {"raw": found})


@given(st.lists(st.sets(st.integers(0, 19), min_size=1), max_size=8), st.integers(1, 25))
def test_those_idle_longest_are_found(steps: list[set[int]], count: int) -> None:
    recency, last = Recency(), dict.fromkeys(range(20), 0)
    for step, touched in enumerate(steps, start=1):
        recency.touch(np.array(sorted(touched)), 20)
        last.update(dict.fromkeys(touched, step))
    slots = np.arange(0, 20, 2)
    idle = recency.idle_longest(slots, count).tolist()
    assert idle == sorted(set(idle))
    assert len(idle) == min(count, 10)
    stays = [last[slot] for slot in slots.tolist() if slot not in idle]
    assert not stays or max(last[slot] for slot in idle) <= min(stays)


def test_recency_outlives_its_counter() -> None:
    recency = Recency()
    recency.touch(np.array([0]), 3)
    recency._step = 2**32 - 1
    recency.touch(np.array([1]), 3)
    assert recency.idle_longest(np.arange(3), 2).tolist() == [0, 2]
