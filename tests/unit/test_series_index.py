"""The series index: names to slots and back, against a dict; and the columns of names it speaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from oddtide.domain.errors import UsageError
from oddtide.domain.readings import IntArray, SeriesColumn
from oddtide.streams.pipeline import series_table
from oddtide.streams.pipeline.series import SeriesIndex, name_hashes

pytestmark = pytest.mark.kernels

NAMES = st.sampled_from([f"pump-{i}" for i in range(40)]) | st.text(min_size=1, max_size=20)


def slots(*numbers: int) -> IntArray:
    return np.array(numbers, dtype=np.int64)


class Model(RuleBasedStateMachine):
    """Whatever is put, looked up and released, the index says what a dict would."""

    def __init__(self) -> None:
        super().__init__()
        self.index = SeriesIndex()
        self.known: dict[str, int] = {}

    @rule(names=st.lists(NAMES, max_size=40))
    def put(self, names: list[str]) -> None:
        found = self.index.slots_of(SeriesColumn.of(names)).tolist()
        for name, slot in zip(names, found, strict=True):
            if name not in self.known:
                taken = set(self.known.values())
                assert slot == next(number for number in range(len(taken) + 1) if number not in taken)
                self.known[name] = slot
            assert slot == self.known[name]

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        gone = data.draw(st.sets(st.sampled_from(sorted(self.known)))) if self.known else set()
        self.index.release(slots(*(self.known.pop(name) for name in sorted(gone))))

    @rule(names=st.lists(NAMES, max_size=5))
    def find(self, names: list[str]) -> None:
        found = self.index.find(SeriesColumn.of(names)).tolist()
        assert found == [self.known.get(name, -1) for name in names]

    @invariant()
    def names_are_kept(self) -> None:
        held = self.index.used()
        assert held.tolist() == sorted(self.known.values())
        assert len(self.index) == len(self.known) <= self.index.capacity
        assert dict(zip(self.index.names(held), held.tolist(), strict=True)) == self.known


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)


def test_it_grows_and_shrinks_and_columns_given_out_stay() -> None:
    index = SeriesIndex()
    names = [f"sensor-{i:04d}" for i in range(3_000)]
    assert index.put(SeriesColumn.of(names)).tolist() == list(range(3_000))
    given_out = index.names(slots(7, 2_999))
    index.release(np.arange(0, 3_000, 2))
    before = index.nbytes
    index.release(np.arange(1, 2_500, 2))  # more dead bytes than living: they are left behind
    assert index.nbytes < before
    assert list(given_out) == ["sensor-0007", "sensor-2999"]
    assert index.find(SeriesColumn.of(names)).tolist() == [i if i % 2 and i > 2_500 else -1 for i in range(3_000)]
    assert index.slots_of(SeriesColumn.of(["new", "newer"])).tolist() == [0, 1]
    assert (index.name(0), index.name(2_999), index.capacity) == ("new", "sensor-2999", 3_000)


def test_names_that_differ_in_a_digit_lie_apart() -> None:
    index = SeriesIndex()
    index.put(SeriesColumn.of(f"{kind}-{i}" for kind in ("a", "plant-7/line-3/pump") for i in range(2_000)))
    table = index._table
    places = np.flatnonzero(table)
    homes = (table[places] >> np.uint64(32)).astype(np.int64) & (len(table) - 1)
    steps = (places - homes) & (len(table) - 1)
    load = len(places) / len(table)
    assert steps.mean() < 1.5 * (1 / (1 - load) - 1) / 2  # Knuth's figure for hashes at random, and half again


def test_bytes_a_series() -> None:
    index = SeriesIndex()
    index.put(SeriesColumn.of(f"sensor-{i:06d}" for i in range(5_000)))
    assert index.nbytes / 5_000 < 13 + 45


def test_what_does_not_fit_is_refused() -> None:
    index = SeriesIndex()
    index.put(SeriesColumn.of(["a", "b"]))
    with pytest.raises(UsageError, match="1 of 2 series are known already"):
        index.put(SeriesColumn.of(["a", "c"]))
    for bad in (-1, 3, 10**6):
        with pytest.raises(UsageError, match=f"Slot {bad} stands for no series"):
            index.name(bad)
    with pytest.raises(UsageError, match="given twice"):
        index.release(slots(1, 1))
    index.release(slots(1))
    with pytest.raises(UsageError, match="Slot 1 stands for no series"):
        index.release(slots(1))
    huge = SeriesColumn.repeated("x", 1)
    huge.size[0] = series_table.LONGEST + 1
    with pytest.raises(UsageError, match="16777216 bytes"):
        index.slots_of(huge)


@given(st.lists(st.text(max_size=5), max_size=8), st.data())
def test_a_column_is_a_sequence_of_its_names(names: list[str], data: st.DataObject) -> None:
    column = SeriesColumn.of(names)
    assert (len(column), list(column)) == (len(names), names)
    assert [column[i] for i in range(len(names))] == names
    picks = data.draw(st.lists(st.integers(0, len(names) - 1), max_size=8)) if names else []
    taken = column.take(slots(*picks))
    assert list(taken) == [names[i] for i in picks]
    packed = taken.packed()
    assert (list(packed), packed.data.tobytes()) == (list(taken), "".join(taken).encode())
    assert list(column[1:3]) == names[1:3]
    assert list(SeriesColumn.joined([taken, column, packed])) == [*taken, *names, *packed]
    assert list(SeriesColumn.joined([])) == []


def test_a_column_shows_its_first_names() -> None:
    assert repr(SeriesColumn.of("abcdef")) == "SeriesColumn(6: 'a', 'b', 'c', 'd', 'e', …)"
    assert list(SeriesColumn.repeated("x", 3)) == ["x"] * 3


def test_names_that_meet_under_one_seed_lie_apart_under_another() -> None:
    """Whoever knows the seed can choose names that all meet; so nobody does."""
    many = SeriesColumn.of(f"{i:x}" * 3 for i in range(300_000))
    hashes = name_hashes(many) & np.uint64(0xFFFF)
    meeting = many.take(np.flatnonzero(hashes == np.bincount(hashes.astype(np.int64)).argmax()))
    assert len(meeting) > 10
    spread = [len(np.unique(name_hashes(meeting, np.uint64(seed)) & np.uint64(0xFFFF))) for seed in (1, 2**63, 12345)]
    assert min(spread) > len(meeting) - 3
    assert SeriesIndex()._seed != SeriesIndex()._seed


@given(st.lists(NAMES, min_size=1, max_size=20, unique=True), st.integers(0, 2**64 - 1))
def test_no_slot_depends_on_the_seed(names: list[str], seed: int) -> None:
    one, other = SeriesIndex(), SeriesIndex(seed)
    for part in (names[::2], names):
        assert one.slots_of(SeriesColumn.of(part)).tolist() == other.slots_of(SeriesColumn.of(part)).tolist()
    gone = one.find(SeriesColumn.of(names[::3]))
    for index in (one, other):
        index.release(gone)
    again = SeriesColumn.of(reversed(names))
    assert one.slots_of(again).tolist() == other.slots_of(again).tolist()


def test_many_names_are_packed_in_parts() -> None:
    names = [f"{'x' * (i % 7)}{i}" for i in range(25_000)]
    column = SeriesColumn.of(names).take(np.arange(24_999, -1, -1))
    packed = column.packed()
    assert list(packed) == names[::-1]
    assert len(packed.data) == sum(map(len, names))
    assert len(column.take(np.arange(0)).packed()) == 0
