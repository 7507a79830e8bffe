"""At most the promised share of the alarms is false."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.domain.detection.alarm_budget import METHODS, AlarmBudget, BudgetRule, method_for
from oddtide.domain.detection.alarms import AlarmRules, Alarms
from oddtide.domain.detection.ports import Scores
from oddtide.domain.errors import ConfigurationError, StateMismatchError
from oddtide.domain.readings import FloatArray

SHARE, START = 0.1, 0.05
P = st.sampled_from([1.0, 0.7, 0.4, 0.2, 1e-3, 1e-5, 1e-9, 1e-300]) | st.floats(1e-12, 1.0)
p_lists = st.lists(P, max_size=40)
PAID = ("lord", "saffron", "addis")
methods = st.sampled_from(PAID)


def levels(rule: BudgetRule, p_values: FloatArray | list[float], tested: list[bool] | None = None) -> list[float]:
    p = np.array(p_values, dtype=np.float64)
    mask = np.ones(len(p), dtype=np.bool_) if tested is None else np.array(tested, dtype=np.bool_)
    found: list[float] = AlarmBudget(rule).admit(p, p, mask).tolist()
    return found


def lord_by_the_paper(p: FloatArray) -> list[float]:
    """Ramdas et al. 2017, LORD++: times of rejection tau_j, and a sum over all of them."""
    gamma, taus, found = BudgetRule(SHARE, "lord", 0).spending(len(p)), list[int](), list[float]()
    for t in range(1, len(p) + 1):
        level = START * gamma[t - 1]
        for j, tau in enumerate(taus):
            level += (SHARE - START if j == 0 else SHARE) * gamma[t - tau - 1]
        found.append(level)
        if p[t - 1] <= level:
            taus.append(t)
    return found


def saffron_by_the_paper(p: FloatArray, candidate: float = 0.5) -> list[float]:
    """Ramdas et al. 2018: C_j+ counts the candidates since the j-th rejection."""
    gamma, taus, found = BudgetRule(SHARE, "saffron", 0).spending(len(p)), list[int](), list[float]()
    candidates = p <= candidate
    for t in range(1, len(p) + 1):
        level = START * gamma[t - int(candidates[: t - 1].sum()) - 1]
        for j, tau in enumerate(taus):
            since = int(candidates[tau : t - 1].sum())
            level += (SHARE - START if j == 0 else SHARE) * gamma[t - tau - since - 1]
        found.append(min(candidate, (1.0 - candidate) * level))
        if p[t - 1] <= found[-1]:
            taus.append(t)
    return found


def addis_by_the_paper(p: FloatArray, candidate: float = 0.25, kept: float = 0.5) -> list[float]:
    """Tian, Ramdas 2019: S^t counts what is not discarded, kappa_j* that up to the j-th rejection."""
    gamma, kappas, found = BudgetRule(SHARE, "addis", 0).spending(len(p)), list[int](), list[float]()
    candidates, selected = p <= candidate, p <= kept
    for t in range(1, len(p) + 1):
        so_far = 1 + int(selected[: t - 1].sum())
        level = START * gamma[so_far - int(candidates[: t - 1].sum()) - 1]
        for j, kappa in enumerate(kappas):
            since = so_far - int(selected[:kappa].sum()) - int(candidates[kappa : t - 1].sum())
            level += (SHARE - START if j == 0 else SHARE) * gamma[since - 1]
        found.append(min(candidate, (kept - candidate) * level))
        if p[t - 1] <= found[-1]:
            kappas.append(t)
    return found


PAPERS = {"lord": lord_by_the_paper, "saffron": saffron_by_the_paper, "addis": addis_by_the_paper}


def mixture(seed: int, count: int, share: float) -> tuple[FloatArray, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Exactly uniform p-values, and among them some of true anomalies: u**8."""
    random = np.random.default_rng(seed)
    truth = random.random(count) < share
    uniform = random.random(count)
    return np.where(truth, uniform**8, uniform), truth


@pytest.mark.kernels
@pytest.mark.parametrize("method", PAID)
def test_levels_are_those_of_the_papers(method: str) -> None:
    for seed in range(4):
        p, _ = mixture(seed, 300, 0.1)
        expected = PAPERS[method](p)
        assert sum(p <= expected) > 3
        assert levels(BudgetRule(SHARE, method, memory=0), p) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("memory", [1, 20_000])
def test_what_was_paid_in_is_spent_falling_and_never_more(memory: int) -> None:
    gamma = BudgetRule(SHARE, memory=memory).spending(50_000)
    assert (np.diff(gamma) <= 0.0).all()
    assert 0.99 < gamma.sum() < 1.0 + 1e-9


@pytest.mark.kernels
@given(p_lists, methods, st.sampled_from([0, 1, 5, 1_000]))
@settings(max_examples=50)
def test_no_more_is_spent_than_the_share_of_the_alarms(p_values: list[float], method: str, memory: int) -> None:
    """What tests cost, by each rule's own estimate of how many are null, never exceeds the share of the alarms or of
    one, both as far as they are remembered."""
    rule = BudgetRule(SHARE, method, memory)
    above, up_to = {"lord": (0.0, 1.0), "saffron": (0.5, 1.0), "addis": (0.25, 0.5)}[method]
    spent = alarms = 0.0
    for p, level in zip(p_values, levels(rule, p_values), strict=True):
        spent = rule.remembered * spent + (level / (up_to - above) if above < p <= up_to else 0.0)
        alarms = rule.remembered * alarms
        assert spent <= SHARE * max(alarms, 1.0) * (1.0 + 1e-9)
        alarms += p <= level


@pytest.mark.kernels
@given(p_lists, st.integers(0, 40), st.sampled_from(METHODS), st.sampled_from([100, 1_000_000]))
@settings(max_examples=50)
def test_batches_and_snapshots_do_not_matter(p_values: list[float], cut: int, method: str, memory: int) -> None:
    rule, p = BudgetRule(SHARE, method, memory), np.array(p_values)
    every = np.ones(len(p), dtype=np.bool_)
    whole = AlarmBudget(rule).admit(p, p, every)
    first, second = AlarmBudget(rule), AlarmBudget(rule)
    begun = first.admit(p[:cut], p[:cut], every[:cut])
    second.load(first.save())
    assert np.array_equal(np.concatenate([begun, second.admit(p[cut:], p[cut:], every[cut:])]), whole)


@given(p_lists, st.lists(P, min_size=1, max_size=5), st.integers(0, 40), st.sampled_from(METHODS))
@settings(max_examples=50)
def test_what_is_no_test_costs_nothing(p_values: list[float], others: list[float], at: int, method: str) -> None:
    mixed = [*p_values[:at], *others, *p_values[at:]]
    tested = [True] * len(p_values[:at]) + [False] * len(others) + [True] * len(p_values[at:])
    found = levels(BudgetRule(SHARE, method), mixed, tested)
    assert [level for level, test in zip(found, tested, strict=True) if test] == levels(
        BudgetRule(SHARE, method), p_values
    )
    assert all(level == 0.0 for level, test in zip(found, tested, strict=True) if not test)


@given(p_lists, st.data(), st.sampled_from(["lord", "saffron"]))
@settings(max_examples=50)
def test_a_stranger_reading_never_makes_the_rest_stricter(
    p_values: list[float], data: st.DataObject, method: str
) -> None:
    if not p_values:
        return
    rule, at = BudgetRule(SHARE, method, memory=0), data.draw(st.integers(0, len(p_values) - 1))
    before = levels(rule, p_values)
    stranger = [*p_values]
    stranger[at] *= data.draw(st.floats(0.0, 1.0, exclude_min=True))
    after = levels(rule, stranger)
    assert all(new >= old * (1.0 - 1e-9) for new, old in zip(after, before, strict=True))


@pytest.mark.kernels
@given(p_lists)
@settings(max_examples=50)
def test_the_trailing_level_is_benjamini_and_hochbergs_over_what_came_before(p_values: list[float]) -> None:
    memory = 1_000
    level = START / memory
    for i, found in enumerate(levels(BudgetRule(SHARE, "trailing", memory), p_values)):
        if i and p_values[i - 1] <= 0.01:  # worked out anew
            ages = np.arange(i)[::-1]
            weights = (1.0 - 10.0 / memory) ** ages
            bins = np.minimum((-8.0 * np.log10(p_values[:i])).astype(int), 127)
            steps = 10.0 ** (-np.arange(128) / 8.0)
            counts = np.array([weights[bins >= k].sum() for k in range(128)])
            fit = steps[max(weights.sum(), 0.1 * memory) * steps <= SHARE * counts * (1.0 + 1e-12)]
            level = max([START / memory, *fit])
        assert found == pytest.approx(level)


def test_a_stream_gets_the_method_that_suits_its_p_values() -> None:
    assert [method_for(kinds) for kinds in (["ewma"], ["spot"], ["seasonal"], ["ewma", "spot"])] == [
        "lord", "lord", "trailing", "trailing",
    ]  # fmt: skip


def test_where_p_values_have_a_floor_the_trailing_level_finds_what_none_could_pay_for() -> None:
    p, truth = mixture(3, 400_000, 0.002)
    p = np.maximum(np.where(truth, p * 1e-3, p), 1e-5)
    found = {method: p <= levels(BudgetRule(SHARE, method), p) for method in ("lord", "trailing")}
    assert found["lord"].sum() == 0
    assert (found["trailing"] & truth).sum() > 0.5 * truth.sum()
    assert (found["trailing"] & ~truth).sum() < 0.11 * found["trailing"].sum()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_share_holds_where_p_values_do(method: str) -> None:
    false = alarms = found = there = 0
    for seed in range(20):
        p, truth = mixture(seed, 50_000, 0.01)
        hits = p <= levels(BudgetRule(SHARE, method, memory=20_000), p)
        alarms, false = alarms + int(hits.sum()), false + int((hits & ~truth).sum())
        found, there = found + int((hits & truth).sum()), there + int(truth.sum())
    assert 0.05 < false / alarms < 0.105
    assert found / there > 0.3


@pytest.mark.parametrize("method", PAID)
def test_where_nothing_is_wrong_half_a_share_of_an_alarm_comes_in_the_memory(method: str) -> None:
    alarms = 0
    for seed in range(5):
        p = np.random.default_rng(seed).random(1_000_000)
        alarms += int((p <= levels(BudgetRule(SHARE, method, memory=10_000), p)).sum())
    assert 15 <= alarms <= 37  # 25 and a little for what the alarms paid in themselves


def test_a_long_calm_does_not_end_it() -> None:
    calm = np.full(3_000_000, 0.6)
    assert levels(BudgetRule(SHARE, memory=100_000), calm)[-1] == pytest.approx(START / 100_000, rel=0.5)
    assert levels(BudgetRule(SHARE, memory=0), calm)[-1] < 1e-12


def test_readings_in_a_silence_are_tests_or_the_share_would_not_hold() -> None:
    """Silence lets only stranger readings through, so that of those that it lets through most are strange."""
    random, count = np.random.default_rng(1), 400_000
    p, slots = random.random(count), np.arange(count) % 20
    alarms = Alarms(AlarmRules(refractory=200))
    alarms.grow(20)
    graded = Scores(np.ones(count), p, np.ones((count, 1)), np.arange(count))
    alarm_p = alarms.judge(slots, np.zeros((count, 1)), graded)

    def raised(tested: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
        allowed = AlarmBudget(BudgetRule(SHARE, memory=4_000)).admit(p, alarm_p, tested)
        return int((alarm_p <= allowed).sum())

    assert raised(np.ones(count, dtype=np.bool_)) < 12  # of 5 expected
    assert raised(alarm_p < 1.0) > 1_000


def test_a_level_is_never_above_the_most_allowed() -> None:
    p = np.full(100, 1e-12)
    every = np.ones(100, dtype=np.bool_)
    assert AlarmBudget(BudgetRule(SHARE)).admit(p, p, every).max() > 1e-3
    assert AlarmBudget(BudgetRule(SHARE), 1e-3).admit(p, p, every).max() == 1e-3


def test_wrong_rules_and_states_are_refused() -> None:
    for wrong, message in (
        ({"false_share": 0.6}, "false_share"),
        ({"false_share": math.nan}, "false_share"),
        ({"memory": -1}, "memory"),
        ({"method": "bh"}, "'bh'.*lord, saffron, addis, trailing"),
        ({"method": "trailing", "memory": 0}, "memory"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            BudgetRule(**wrong)
    budget = AlarmBudget(BudgetRule(SHARE))
    (before,) = budget.save().values()
    assert isinstance(before, np.ndarray)
    for state in (before[:0], before[1:], np.where(before > 0.0, before, np.nan), before.astype(np.float32)):
        with pytest.raises(StateMismatchError, match="not 9 numbers"):
            budget.load({"alarm_budget": state})
    assert budget.save()["alarm_budget"] == pytest.approx(before)
    assert not BudgetRule().active
