from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from oddtide.domain.quality import Action, Checked, Contract, FeatureRule, OrderPolicy, Validator
from oddtide.domain.quality.ids import violation_id
from oddtide.domain.readings import Readings, SeriesColumn

pytestmark = pytest.mark.kernels

SECOND = 10**9
NOW = 1_700_000_000 * SECOND
NAN = float("nan")


def readings(times: Sequence[int], values: Sequence[Sequence[float]] | None = None, arrival: int = NOW) -> Readings:
    rows = len(times)
    return Readings(
        series=SeriesColumn.repeated("s", rows),
        times=np.array(times, dtype=np.int64),
        values=np.ones((rows, 1)) if values is None else np.array(values, dtype=np.float64),
        offsets=np.arange(rows, dtype=np.int64) + 100,
        rows=np.zeros(rows, dtype=np.int64),
        arrivals=np.full(rows, arrival, dtype=np.int64),
    )


def validator(contract: Contract) -> Validator:
    return Validator(contract, "stream", "topic", 3)


def check(contract: Contract, found: Readings, slots: Sequence[int] | None = None) -> Checked:
    where = np.zeros(len(found), dtype=np.int64) if slots is None else np.array(slots, dtype=np.int64)
    return validator(contract).check(found, where)


def test_clean_readings_are_kept() -> None:
    checked = check(Contract(), readings([NOW, NOW + SECOND]))
    assert checked.keep.all()
    assert (checked.refusals, checked.skips, checked.violations) == ([], [], [])


def test_no_readings() -> None:
    assert check(Contract(), readings([])).keep.tolist() == []


def test_times_in_1970_and_2200_are_refused_against_the_records_timestamp() -> None:
    year_2200 = 7_258_118_400 * SECOND
    checked = check(Contract(), readings([0, NOW, year_2200]))
    assert checked.keep.tolist() == [False, True, False]
    assert [(row, reason) for row, reason, _ in checked.refusals] == [(0, "time_too_old"), (2, "time_too_new")]
    assert [(v.rule, v.action, v.offset) for v in checked.violations] == [
        ("time_too_old", "reject", 100), ("time_too_new", "reject", 102),
    ]  # fmt: skip


def test_the_ends_of_sane_time_are_in() -> None:
    contract = Contract(max_age_s=10, max_ahead_s=5)
    times = [NOW - 10 * SECOND, NOW + 5 * SECOND, NOW - 10 * SECOND - 1, NOW + 5 * SECOND + 1]
    assert check(contract, readings(times)).keep.tolist() == [True, True, False, False]


def test_a_record_without_timestamp_is_not_judged() -> None:
    assert check(Contract(), readings([0, 2**62], arrival=-(10**6))).keep.all()


@pytest.mark.parametrize("arrival", [0, 2**63 - 1])
@pytest.mark.parametrize("span", [0.0, 1e9, 1e300, float("inf")])
def test_sane_time_does_not_overflow(arrival: int, span: float) -> None:
    found = readings([-(2**62), 2**62], arrival=arrival)
    checked = check(Contract(max_age_s=span, max_ahead_s=span), found)
    allowed = min(int(span * SECOND) if span < 1e10 else 2**62, 2**62)
    expected = [arrival - allowed <= time <= arrival + allowed for time in found.times.tolist()]
    assert checked.keep.tolist() == expected


def test_late_and_duplicate_readings_are_accepted_by_default() -> None:
    checked = check(Contract(), readings([NOW, NOW - 1, NOW]))
    assert checked.keep.all()
    assert checked.violations == []


@pytest.mark.parametrize("policy", ["skip", "reject"])
def test_late_readings_by_policy(policy: OrderPolicy) -> None:
    checked = check(Contract(order=policy), readings([NOW, NOW - 1, NOW, NOW + 1]))
    assert checked.keep.tolist() == [True, False, True, True]
    skipped, refused = checked.skips, [(row, reason) for row, reason, _ in checked.refusals]
    assert (skipped, refused) == ([(1, "late")], []) if policy == "skip" else ([], [(1, "late")])
    assert [(v.rule, v.action) for v in checked.violations] == [("late", policy)]


@pytest.mark.parametrize("policy", ["skip", "reject"])
def test_duplicate_readings_by_policy(policy: OrderPolicy) -> None:
    checked = check(Contract(duplicates=policy), readings([NOW, NOW - 1, NOW, NOW + 1]))
    assert checked.keep.tolist() == [True, True, False, True]
    assert [(v.rule, v.action) for v in checked.violations] == [("duplicate", policy)]


def test_order_is_per_slot() -> None:
    checked = check(Contract(order="skip"), readings([NOW, NOW - 1, NOW - 1, NOW - 2]), slots=[5, 0, 5, 0])
    assert checked.keep.tolist() == [True, True, False, False]


def test_what_is_not_kept_does_not_move_the_newest_time() -> None:
    contract = Contract((FeatureRule("value", maximum=10, on_range="skip"),), order="skip", duplicates="reject")
    times = [NOW, NOW + 10**15, NOW + 5, NOW + 5, NOW + 2]
    checked = check(contract, readings(times, [[1], [1], [99], [1], [1]]))
    assert checked.keep.tolist() == [True, False, False, True, False]
    assert [reason for _, reason, _ in checked.refusals] == ["time_too_new"]
    assert checked.skips == [(2, "out_of_range"), (4, "late")]


@pytest.mark.parametrize(("action", "kept"), [("reject", False), ("skip", False), ("report", True)])
def test_ranges_by_action(action: Action, kept: bool) -> None:
    contract = Contract((FeatureRule("value", minimum=0, maximum=10, on_range=action),))
    checked = check(contract, readings([NOW] * 4, [[-0.5], [0], [10], [10.5]]))
    assert checked.keep.tolist() == [kept, True, True, kept]
    assert len(checked.refusals) == (2 if action == "reject" else 0)
    assert len(checked.skips) == (2 if action == "skip" else 0)
    low, high = checked.violations
    assert (low.rule, low.action, low.feature, low.value, low.offset) == ("out_of_range", action, "value", -0.5, 100)
    assert "below 0" in low.detail
    assert "above 10" in high.detail
    assert (high.stream, high.topic, high.partition, high.series) == ("stream", "topic", 3, "s")


def test_a_missing_feature_is_in_range() -> None:
    contract = Contract((FeatureRule("a", minimum=0), FeatureRule("b", required=False, minimum=0)))
    assert check(contract, readings([NOW], [[1, NAN]])).keep.all()


def test_a_row_that_breaks_several_rules_has_one_outcome_and_each_range_is_reported() -> None:
    contract = Contract((
        FeatureRule("a", maximum=1, on_range="report"),
        FeatureRule("b", maximum=1, on_range="skip"),
        FeatureRule("c", maximum=1, on_range="reject"),
    ))  # fmt: skip
    checked = check(contract, readings([NOW] * 3, [[9, 9, 9], [9, 9, 0], [9, 0, 0]]))
    assert checked.keep.tolist() == [False, False, True]
    assert [row for row, _, _ in checked.refusals] == [0]
    assert checked.skips == [(1, "out_of_range")]
    assert [(v.offset, v.feature) for v in checked.violations] == [
        (100, "a"), (100, "b"), (100, "c"), (101, "a"), (101, "b"), (102, "a"),
    ]  # fmt: skip
    assert len({v.id for v in checked.violations}) == 6


def test_an_earlier_rule_hides_the_ranges() -> None:
    contract = Contract((FeatureRule("value", maximum=1),), order="skip")
    checked = check(contract, readings([NOW, NOW - 1], [[1], [9]]))
    assert checked.skips == [(1, "late")]
    assert [v.rule for v in checked.violations] == ["late"]


def test_newest_forget_and_extracted_state() -> None:
    one = validator(Contract(order="skip"))
    assert one.newest(0) is None
    one.check(readings([NOW, NOW + 1]), np.array([0, 2]))
    assert (one.newest(0), one.newest(1), one.newest(2)) == (NOW, None, NOW + 1)
    other = validator(Contract(order="skip"))
    every = np.arange(3)
    state = one.extract(every)
    other.grow(3)
    other.insert(every, state)
    np.asarray(state["newest"])[:] = 0
    assert (other.newest(0), other.newest(2)) == (NOW, NOW + 1)
    other.forget(np.array([2]))
    assert (other.newest(2), one.newest(2)) == (None, NOW + 1)
    assert other.check(readings([NOW - 1] * 2), np.array([2, 0])).keep.tolist() == [True, False]


def test_violation_ids_are_pinned() -> None:
    assert violation_id("stream", "topic", 3, 100, 0, "late", "") == "cff67fd3e08ab3cd4a0f3d150b1b0b84"
    parts = [("s", "t", 1, 2, 3, "r", "f"), ("s", "t", 1, 2, 3, "r", ""), ("s", "t", 1, 23, 3, "r", "f"),
             ("s\x1f", "t", 1, 2, 3, "r", "f"), ("s", "\x1ft", 1, 2, 3, "r", "f")]  # fmt: skip
    assert len({violation_id(*each) for each in parts}) == len(parts)
