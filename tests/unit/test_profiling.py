from __future__ import annotations

import math

import numpy as np
import pytest

from oddtide.domain.errors import StateMismatchError, UsageError
from oddtide.domain.profiling import QUANTILES, Profiler
from oddtide.domain.profiling.sketch import ITEMS, RANK_ERROR, quantiles
from oddtide.domain.readings import FloatArray

pytestmark = pytest.mark.kernels

NAN = float("nan")


def profiled(values: FloatArray, slot: int = 0, **options: bool) -> Profiler:
    profiler = Profiler(["v"], **options)
    profiler.update(np.full(len(values), slot), values.reshape(-1, 1))
    return profiler


def rank_error(values: FloatArray, found: FloatArray, wanted: FloatArray) -> float:
    """The furthest that a quantile's rank is from the one asked for, as a share of the readings."""
    ordered = np.sort(values)
    low = np.searchsorted(ordered, found, side="left") / len(values)
    high = np.searchsorted(ordered, found, side="right") / len(values)
    return float(np.maximum(0, np.maximum(low - wanted, wanted - high)).max())


def test_counts_extremes_and_moments() -> None:
    profiler = Profiler(["a", "b"])
    profiler.update(np.array([0, 1, 0, 0]), np.array([[1, NAN], [9, 9], [2, 5], [6, NAN]], dtype=np.float64))
    a, b = profiler.profile(0)["a"], profiler.profile(0)["b"]
    assert (profiler.readings(0), profiler.readings(1), profiler.readings(7)) == (3, 1, 0)
    assert (a.count, a.missing, a.minimum, a.maximum) == (3, 0, 1, 6)
    assert a.mean == pytest.approx(3)
    assert a.variance == pytest.approx(7)
    assert (b.count, b.missing, b.mean, b.variance) == (1, 2, 5, None)
    assert a.quantiles["0.5"] == 2
    assert list(a.quantiles) == [str(q) for q in QUANTILES]


def test_a_slot_never_seen_and_one_of_missing_values_alone() -> None:
    profiler = profiled(np.array([NAN, NAN]))
    empty, missing = profiler.profile(3)["v"], profiler.profile(0)["v"]
    assert (empty.count, empty.missing, empty.mean, empty.quantiles) == (0, 0, None, {})
    assert (missing.count, missing.missing, missing.minimum) == (0, 2, None)


def test_moments_keep_their_digits_far_from_zero() -> None:
    values = 1e9 + np.array([4.0, 7.0, 13.0, 16.0])
    assert profiled(values).profile(0)["v"].variance == pytest.approx(30)


def test_numbers_whose_squares_overflow_have_no_variance() -> None:
    profile = profiled(np.array([1e308, -1e308, 1e308])).profile(0)["v"]
    assert profile.variance is None
    assert (profile.minimum, profile.maximum) == (-1e308, 1e308)


def test_without_quantiles() -> None:
    profile = profiled(np.arange(10.0), quantiles=False).profile(0)["v"]
    assert (profile.quantiles, profile.mean) == ({}, 4.5)


def test_quantiles_are_exact_until_a_cell_is_full() -> None:
    values = np.random.default_rng(1).permutation(float(ITEMS) * np.arange(ITEMS))
    found = profiled(values).profile(0)["v"].quantiles
    ordered = np.sort(values)
    assert found == {str(q): ordered[math.ceil(q * ITEMS) - 1] for q in QUANTILES}


@pytest.mark.parametrize("rows", [359, 2_000, 50_000])
@pytest.mark.parametrize("order", ["random", "ascending", "descending", "saw", "zoom", "heavy"])
def test_the_rank_error_keeps_its_bound(order: str, rows: int) -> None:
    n = np.arange(rows, dtype=np.float64)
    random = np.random.default_rng(rows)
    values = {
        "random": random.normal(size=rows), "ascending": n, "descending": -n, "saw": n % 97,
        "zoom": n * (-1) ** (n % 2), "heavy": np.exp(random.normal(size=rows) * 20),
    }[order]  # fmt: skip
    profiler = profiled(values)
    state = profiler.extract(np.array([0]))
    sizes, items = np.asarray(state["sizes"]), np.asarray(state["items"])
    wanted = np.linspace(0.01, 0.99, 99)
    found = quantiles(items[0, 0], sizes[0, 0], wanted)
    assert rank_error(values, found, wanted) <= RANK_ERROR
    weights = sizes[0, 0, :-1] << np.arange(sizes.shape[2] - 1)
    assert weights.sum() == rows


def test_memory_is_bounded() -> None:
    profiler = Profiler(["v"])
    for _ in range(3):
        profiler.update(np.zeros(20_000, dtype=np.int64), np.random.default_rng(0).normal(size=(20_000, 1)))
    state = profiler.extract(np.array([0]))
    assert sum(np.asarray(each).nbytes for each in state.values()) == profiler.bytes_per_slot < 3_400


def test_the_slot_does_not_matter() -> None:
    values = np.random.default_rng(2).normal(size=5_000)
    assert profiled(values, slot=0).profile(0) == profiled(values, slot=9).profile(9)


def test_merging_is_as_if_one_had_seen_both() -> None:
    random = np.random.default_rng(3)
    left, right = random.normal(size=9_000), random.normal(5, 3, size=20_000)
    merged = profiled(left)
    merged.merge(0, profiled(right, slot=4), 4)
    both = np.concatenate([left, right])
    profile = merged.profile(0)["v"]
    assert (profile.count, merged.readings(0)) == (29_000, 29_000)
    assert (profile.minimum, profile.maximum) == (both.min(), both.max())
    assert profile.mean == pytest.approx(both.mean())
    assert profile.variance == pytest.approx(both.var(ddof=1))
    found = np.array(list(profile.quantiles.values()))
    assert rank_error(both, found, np.array(QUANTILES)) <= RANK_ERROR


def test_merging_with_nothing() -> None:
    full, empty = profiled(np.arange(5.0)), Profiler(["v"])
    before = full.profile(0)
    full.merge(0, empty, 0)
    full.merge(0, profiled(np.array([NAN])), 0)
    assert full.profile(0)["v"].mean == before["v"].mean
    assert full.profile(0)["v"].missing == 1
    empty.merge(2, full, 0)
    assert empty.profile(2)["v"].quantiles == before["v"].quantiles
    bare, other = profiled(np.arange(5.0), quantiles=False), profiled(np.arange(3.0), quantiles=False)
    bare.merge(0, other, 0)
    assert bare.profile(0)["v"].count == 8


def test_merging_other_features_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be merged"):
        Profiler(["a"]).merge(0, Profiler(["b"]), 0)
    with pytest.raises(UsageError, match="cannot be merged"):
        Profiler(["a"]).merge(0, Profiler(["a"], quantiles=False), 0)


def test_forget() -> None:
    profiler = profiled(np.arange(1_000.0), slot=1)
    profiler.forget(np.array([1]))
    profiler.update(np.ones(3, dtype=np.int64), np.array([[1.0], [2.0], [3.0]]))
    assert profiler.profile(1) == profiled(np.array([1.0, 2.0, 3.0])).profile(0)


def test_extracted_state_gives_the_same_future_and_shares_nothing() -> None:
    values = np.random.default_rng(4).normal(size=3_000)
    whole = profiled(values)
    half = profiled(values[:1_500])
    state = half.extract(np.array([0]))
    other = Profiler(["v"])
    other.grow(4)
    other.insert(np.array([3]), state)
    half.update(np.zeros(1, dtype=np.int64), np.array([[1e9]]))
    for array in state.values():
        np.asarray(array)[:] = 0
    other.update(np.full(1_500, 3), values[1_500:].reshape(-1, 1))
    assert other.profile(3) == whole.profile(0)


@pytest.mark.parametrize("other", [Profiler(["a", "b"]), Profiler(["a"], quantiles=False)])
def test_a_state_of_other_features_is_refused(other: Profiler) -> None:
    slot, profiler = np.array([0]), Profiler(["a"])
    for each in (other, profiler):
        each.grow(1)
    for state in (other.extract(slot), {}):
        with pytest.raises(StateMismatchError, match="profiles of a"):
            profiler.insert(slot, state)


def test_rows_that_do_not_fit_are_refused() -> None:
    profiler = Profiler(["a", "b"])
    profiler.update(np.zeros(0, dtype=np.int64), np.zeros((0, 2)))
    with pytest.raises(UsageError, match="shape"):
        profiler.update(np.zeros(1, dtype=np.int64), np.zeros((1, 1)))
    with pytest.raises(UsageError, match="negative"):
        profiler.update(np.array([-1]), np.zeros((1, 2)))
