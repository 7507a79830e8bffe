"""Several detectors on one stream: one p-value that holds, and whose word counted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from oddtide.domain.detection import Scores
from oddtide.domain.detection.ensemble import Combined, Ensemble, alone
from oddtide.domain.readings import FloatArray

pytestmark = pytest.mark.kernels
PAST = 400


def scores(score: float, p: float, seen: int, *, expected: float | None = None) -> Scores:
    column = None if expected is None else np.array([[expected]])
    return Scores(
        np.array([score]), np.array([p]), np.array([[score]]), np.array([seen]), column, column, column
    )  # fmt: skip


def combine(parts: list[Scores], needed: list[int], kinds: list[str] | None = None) -> Combined:
    """By an ensemble without a past."""
    ensemble = Ensemble(kinds or ["ewma"] * len(parts))
    ensemble.grow(1)
    return ensemble.combine(np.zeros(1, dtype=np.int64), parts, needed, np.ones(1, dtype=np.bool_))


def test_one_detector_is_taken_at_its_word() -> None:
    only = scores(4.0, 0.02, 50)
    combined = alone(only, 30)
    assert combined.scores is only
    assert (combined.driver[0], combined.needed[0]) == (0, 30)


def beyond(p: float, seen: int) -> float:
    """What counts of the surprise of a member that judges values."""
    return max(min(-math.log10(p), 10.0) - 0.5 * math.log10(seen + 1), 0.0)


def test_the_most_surprised_drives_and_the_mean_counts_nearly_twice() -> None:
    combined = combine([scores(4.0, 0.02, 50, expected=1.0), scores(0.9, 0.001, 400), scores(0, 1.0, 3)], [30, 300, 9])
    assert combined.driver.tolist() == [1]
    assert combined.needed.tolist() == [300]
    roots = math.sqrt(beyond(0.02, 50)) + math.sqrt(beyond(0.001, 400))
    assert -math.log10(combined.scores.p_value[0]) == pytest.approx(1.8 * (roots / 2.0) ** 2)
    assert combined.scores.score[0] == 0.9
    assert combined.scores.expected is not None
    assert combined.scores.expected[0, 0] == 1.0


def test_a_mere_record_counts_by_half_of_its_surprise() -> None:
    record = combine([scores(0.1, 1e-4, 9_999), scores(0.1, 1e-4, 9_999)], [30, 30])
    assert record.scores.p_value[0] == pytest.approx(10.0 ** (-1.8 * 2.0))


@pytest.mark.parametrize(("relevance", "surprise"), [(1.0, 0.5 + 6.0), (0.5, (0.5 + 0.5 * 6.0) / 0.75), (0.0, 1.0)])
def test_shapes_weigh_as_much_as_values_as_far_as_they_are_relevant(relevance: float, surprise: float) -> None:
    """Two members that judge values, of which one says nothing, and one that judges shapes."""
    shapes = replace(scores(0.7, 1e-6, 500), relevance=np.array([relevance]))
    parts = [scores(0.0, 1.0, 99), scores(3.0, 1e-3, 99), shapes]
    combined = combine(parts, [30, 30, 200], ["range", "ewma", "discord"])
    assert -math.log10(combined.scores.p_value[0]) == pytest.approx(0.9 * surprise)
    assert combined.driver[0] == (2 if relevance else 1)


def test_a_burst_of_edges_is_heard_though_no_value_is_strange() -> None:
    combined = combine([scores(0.0, 1.0, 99), scores(400.0, 1e-8, 999)], [30, 500], ["ewma", "midas"])
    assert -math.log10(combined.scores.p_value[0]) == pytest.approx(0.9 * 8.0)
    assert combined.driver[0] == 1


def test_agreement_counts_for_more_than_one_loud_voice() -> None:
    loud = combine([scores(9.0, 1e-300, 99), scores(0.0, 1.0, 99)], [30, 30])
    both = combine([scores(5.0, 1e-6, 99), scores(5.0, 1e-6, 99)], [30, 30])
    assert both.scores.p_value[0] < loud.scores.p_value[0] == pytest.approx(10.0 ** (-1.8 * 9.0 / 4.0))


def test_while_none_is_mature_the_first_speaks() -> None:
    combined = combine([scores(0, 1.0, 2), scores(0, 1.0, 2)], [30, 5])
    assert (combined.driver[0], combined.needed[0], combined.scores.p_value[0]) == (0, 30, 1.0)
    assert combined.scores.expected is None


def parts_of(p_values: FloatArray) -> list[Scores]:
    """(k, n) p-values as what k mature detectors say of n rows."""
    n = p_values.shape[1]
    return [Scores(-np.log(p), p, -np.log(p)[:, None], np.full(n, 99)) for p in p_values]


def judged(ensemble: Ensemble, p_values: FloatArray, taught: bool = True) -> FloatArray:
    n = p_values.shape[1]
    slots = np.zeros(n, dtype=np.int64)
    return ensemble.combine(slots, parts_of(p_values), [5] * len(p_values), np.full(n, taught)).scores.p_value


def with_past(members: int) -> Ensemble:
    ensemble = Ensemble(["ewma"] * members)
    ensemble.grow(1)
    judged(ensemble, np.random.default_rng(7).uniform(size=(members, PAST)))
    return ensemble


def test_p_values_are_not_far_below_what_the_series_past_allows() -> None:
    """Members that were often very surprised are not believed when they are so once more."""
    calm, excited = with_past(2), with_past(2)
    judged(excited, np.full((2, PAST), 1e-5))
    once_more = np.full((2, 1), 1e-5)
    assert judged(calm, once_more, taught=False)[0] < 1e-4
    assert judged(excited, once_more, taught=False)[0] > 0.01


def test_members_that_always_agree_are_no_evidence_twice() -> None:
    draws = np.random.default_rng(11).uniform(size=20_000)
    ensemble = Ensemble(["ewma"] * 3)
    ensemble.grow(1)
    p_values = judged(ensemble, np.stack([draws, draws, draws]))[1_000:]
    assert (p_values <= 0.01).mean() < 0.03  # 0.01 ** 0.8: a quarter more surprise than the past grades
    assert (p_values <= 0.1).mean() < 0.17


def test_a_member_that_says_nothing_costs_nothing() -> None:
    """The one that never matures leaves the verdict as it is without it."""
    draws = np.random.default_rng(5).uniform(size=(2, PAST))
    with_it, without = Ensemble(["ewma"] * 3), Ensemble(["ewma"] * 2)
    for ensemble in (with_it, without):
        ensemble.grow(1)
    silent = Scores(np.zeros(PAST), np.ones(PAST), np.zeros((PAST, 1)), np.zeros(PAST, dtype=np.int64))
    slots, taught = np.zeros(PAST, dtype=np.int64), np.ones(PAST, dtype=np.bool_)
    found = with_it.combine(slots, [*parts_of(draws), silent], [5, 5, 5], taught)
    np.testing.assert_array_equal(found.scores.p_value, judged(without, draws))
    assert (found.driver < 2).all()


def test_a_member_alone_is_taken_at_its_word_and_is_no_past_of_several() -> None:
    draws = np.random.default_rng(6).uniform(size=(2, PAST))
    ensemble = with_past(2)
    slots, taught = np.zeros(PAST, dtype=np.int64), np.ones(PAST, dtype=np.bool_)
    young = Scores(np.zeros(PAST), np.ones(PAST), np.zeros((PAST, 1)), np.zeros(PAST, dtype=np.int64))
    found = ensemble.combine(slots, [young, parts_of(draws)[0]], [5, 5], taught)
    np.testing.assert_array_equal(found.scores.p_value, draws[0])
    assert (found.driver == 1).all()
    np.testing.assert_array_equal(judged(ensemble, draws), judged(with_past(2), draws))


def test_cuts_never_matter_and_what_is_not_taught_is_not_learnt() -> None:
    p_values = np.random.default_rng(9).uniform(size=(2, 90))
    whole, cut = with_past(2), with_past(2)
    judged(cut, np.full((2, 40), 1e-9), taught=False)
    pieces = [judged(cut, p_values[:, :31]), judged(cut, p_values[:, 31:])]
    np.testing.assert_array_equal(judged(whole, p_values), np.concatenate(pieces))


def test_state_goes_into_another_slot() -> None:
    p_values = np.random.default_rng(2).uniform(size=(2, 50))
    first, other = with_past(2), Ensemble(["ewma"] * 2)
    other.grow(4)
    other.insert(np.array([3]), first.extract(np.array([0])))
    rows = np.full(50, 3)
    there = other.combine(rows, parts_of(p_values), [5, 5], np.ones(50, dtype=np.bool_)).scores.p_value
    np.testing.assert_array_equal(there, judged(first, p_values))
    other.forget(np.array([3]))
    assert other.extract(np.array([3])).keys() == first.extract(np.array([0])).keys()
    assert other.bytes_per_slot == first.bytes_per_slot > 0
