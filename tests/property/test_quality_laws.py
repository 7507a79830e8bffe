"""Laws of validation and profiling: how readings are cut into batches never matters; each has one outcome."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.domain.profiling import Profiler
from oddtide.domain.quality import Action, Contract, FeatureRule, OrderPolicy, Validator
from oddtide.domain.readings import IntArray, Readings, SeriesColumn

pytestmark = pytest.mark.kernels

NOW = 1_700_000_000 * 10**9
NAN = float("nan")
actions: st.SearchStrategy[Action] = st.sampled_from(("reject", "skip", "report"))
orders: st.SearchStrategy[OrderPolicy] = st.sampled_from(("accept", "skip", "reject"))


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    rules = tuple(
        FeatureRule(name, False, draw(st.sampled_from([None, 0.0])), draw(st.sampled_from([None, 1.0])), draw(actions))
        for name in ("a", "b")
    )
    return Contract(rules, max_age_s=5e-9, max_ahead_s=5e-9, order=draw(orders), duplicates=draw(orders))


@st.composite
def batches(draw: st.DrawFn) -> tuple[Readings, IntArray]:
    rows = draw(st.integers(0, 12))

    def many(each: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(each, min_size=rows, max_size=rows))

    slots = many(st.integers(0, 2))
    values = many(st.tuples(*[st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, NAN])] * 2))
    found = Readings(
        series=SeriesColumn.of(f"s{slot}" for slot in slots),
        times=np.array([NOW + x for x in many(st.integers(-7, 7))], dtype=np.int64),
        values=np.array(values, dtype=np.float64).reshape(rows, 2),
        offsets=np.arange(rows, dtype=np.int64),
        rows=np.zeros(rows, dtype=np.int64),
        arrivals=np.array([NOW] * rows, dtype=np.int64),
    )
    return found, np.array(slots, dtype=np.int64)


@given(contracts(), batches())
@settings(max_examples=300)
def test_each_reading_has_one_outcome_whatever_the_batches(
    contract: Contract, batch: tuple[Readings, IntArray]
) -> None:
    found, slots = batch
    whole = Validator(contract, "s", "t", 0).check(found, slots)
    outcomes = np.flatnonzero(whole.keep).tolist()
    outcomes += [row for row, _, _ in whole.refusals] + [row for row, _ in whole.skips]
    assert sorted(outcomes) == list(range(len(found)))
    single = Validator(contract, "s", "t", 0)
    kept, refusals, skips, violations = [], [], [], []
    for row in range(len(found)):
        pick = np.array([row])
        checked = single.check(found.take(pick), slots[pick])
        reloaded = Validator(contract, "s", "t", 0)
        reloaded.grow(int(slots.max()) + 1)
        seen = np.unique(slots[: row + 1])
        reloaded.insert(seen, single.extract(seen))
        single = reloaded
        kept += checked.keep.tolist()
        refusals += [(row, reason, detail) for _, reason, detail in checked.refusals]
        skips += [(row, reason) for _, reason in checked.skips]
        violations += checked.violations
    assert (whole.keep.tolist(), whole.refusals, whole.skips) == (kept, refusals, skips)
    assert whole.violations == violations
    ids = [violation.id for violation in violations]
    assert len(set(ids)) == len(ids)


@given(st.integers(0, 2_000), st.integers(0, 2**32), st.lists(st.integers(0, 2_000), max_size=5))
@settings(max_examples=40)
def test_profiles_do_not_depend_on_batches(rows: int, seed: int, cuts: list[int]) -> None:
    random = np.random.default_rng(seed)
    slots = random.integers(0, 2, rows)
    values = random.normal(size=(rows, 2))
    values[random.random((rows, 2)) < 0.1] = NAN
    whole, cut = Profiler(["a", "b"]), Profiler(["a", "b"])
    whole.update(slots, values)
    edges = [0, *sorted(min(place, rows) for place in cuts), rows]
    for first, last in itertools.pairwise(edges):
        cut.update(slots[first:last], values[first:last])
    for slot in (0, 1):
        assert cut.profile(slot) == whole.profile(slot)
        assert cut.readings(slot) == whole.readings(slot) == int((slots == slot).sum())
