"""At most this share of the alarms false: online false-discovery control over a partition's alarms.

A fixed threshold says how many *readings* may raise a false alarm, and leaves open how many of the *alarms* are false:
one in a million is one false alarm in ten where a hundred thousand readings hold a real one, and nine in ten where
things are calm. Here the threshold, the *level*, moves: it is paid for out of a budget, and each alarm pays into it, so
that it is generous where much is found and strict where nothing is.

**Three rules, one machine.** The level of a test is ``c`` times the sum of ``amount * gamma(k)`` over what was paid in,
where ``k`` counts the steps since, and ``gamma`` sums to 1. Paid in are ``share / 2`` at the start, what makes it
``share`` with the first alarm, and ``share`` with each further one. The rules differ in what is a step:

- ``lord``: every test, c = 1 (LORD++: Ramdas, Yang, Wainwright, Jordan, "Online control of the false discovery rate
  with decaying memory", NeurIPS 2017);
- ``saffron``: a test with a p-value above 1/2, c = 1/2: how many there are says how many tests are of no anomaly
  (Ramdas, Zrnic, Wainwright, Jordan, "SAFFRON: an adaptive algorithm for online control of the false discovery rate",
  ICML 2018);
- ``addis``: one with a p-value above 1/4 and up to 1/2, c = 1/4: cautious p-values, which crowd near 1, cost nothing
  (Tian, Ramdas, "ADDIS: an adaptive discarding algorithm for online FDR control with conservative nulls", NeurIPS
  2019).

**What is ours: no sums over the past.** The papers' ``gamma`` ask, at each test, for a sum over all alarms so far. Here
it is a mixture of geometric sequences, over the scales of 64, 256 ... 4**9 tests (none above a third of the memory)
with equal weights: nearly ``1/k`` from a hundred to a few hundred thousand, falling, summing to 1, so all that the
proofs ask of it. What was paid in decays in each scale by one factor a step, so that seven numbers hold the whole past,
and no alarm is left out.

**It forgets.** Over an endless stream the share of all alarms that ever were is nobody's question, and a stream in
which nothing happens for long would end unable to raise one ("alpha-death"). So, as in the first paper's decaying
memory, an alarm counts ``d**age`` after ``age`` tests, ``d = 1 - 1/memory``; so does what was paid in; and what was
forgotten of the first payment is paid in anew. At each moment what was spent on tests so far (counted so) is at most
``share`` times the alarms (counted so), or times 1 where they come to less.

*Guaranteed* where each true null's p-value is, given what came before, no smaller than a uniform one (the p-values hold
what they promise): the expected number of false alarms, recent ones counted more, is at most ``share`` times the
expected number of alarms, or of 1 where there are fewer. So where nothing is wrong at all, when every alarm is false,
there is one in ``2 / share`` memories. *Not guaranteed*: the share in one stretch of time; anything where p-values are
too small; that alarms are incidents. Where one cause raises many alarms, all of them count as true ones and pay for
false ones elsewhere: a refractory period makes one of many. ``addis`` asks more, that among p-values up to 1/2 none
crowd near 0, which ties break (counters, switches).

**Where p-values have a floor**, as those have that are graded by a series' past, a first alarm may be out of reach: its
p-value has to pay by itself. ``trailing`` (ours) asks the tests themselves instead, alarms or not: the level is the
largest at which Benjamini and Hochberg's estimate (1995), over the last tenth of the memory (older tests count less),
says that at most ``share`` of the p-values so small are of nulls; never below ``share / (2 memory)``. 100 p-values
of 1e-5 in 100,000 tests, where one was to be expected, so raise it though none was an alarm. What it finds in steady
state is what Benjamini and Hochberg's method does, known at once. It guarantees less: the share holds in the long run
where things go on as they were, and where anomalies cease it is for a while too generous. State: 132 numbers.

**What is tested**: each reading with a value, by a mature detector, not under planned work, in the wanted direction.
Steps go by its own p-value, the alarm by its alarm p-value, which is never smaller. Readings in the silence of a
refractory period *are* tests: each may yet break it, by being stranger, and leaving out those that do not would leave
out large p-values because they are large.

State: nine numbers a partition. Per test about 30 ns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.settings import check_range
from oddtide.domain.errors import ConfigurationError, StateMismatchError
from oddtide.domain.readings import FloatArray
from oddtide.domain.slots import SlotState
from oddtide.domain.statistics.kernels import bare_kernel

__all__ = ["METHODS", "AlarmBudget", "BudgetRule", "method_for"]

#: By method: the p-values, above the first and up to the second, whose tests are steps.
_STEPS = {"lord": (0.0, 1.0), "saffron": (0.5, 1.0), "addis": (0.25, 0.5), "trailing": (0.0, 1.0)}
METHODS = tuple(_STEPS)
#: ``trailing`` counts p-values in eighths of decades, down to 1e-16; behind the counts stand how many there are, what
#: one counts now, the level, and the tests since it was worked out.
_BINS, _PER_DECADE, _BEHIND = 128, 8, 4
_NOTABLE, _OFTEN, _TOO_LARGE = 16, 1_024, 1e200
_NAME = "alarm_budget"
#: Of what is paid in, equal parts are spent over so many tests.
_SCALES = 4.0 ** np.arange(3, 10)


#: Detectors that have a distribution of their own: their p-values may be as small as the reading is strange.
_WITHOUT_FLOOR = frozenset({"ewma", "spot", "range"})


def method_for(kinds: Iterable[str]) -> str:
    """The method for a stream with detectors of these kinds, where nobody says: ``lord`` for one without a floor under
    its p-values, ``trailing`` for others and for several, whose common p-value is graded by the series' past."""
    one, *others = kinds
    return "lord" if one in _WITHOUT_FLOOR and not others else "trailing"


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """``false_share`` of the alarms may be false (0: no such rule); ``method`` is one of :data:`METHODS`; alarms and
    spending are forgotten over ``memory`` tests (0: never)."""

    false_share: float = 0.0
    method: str = "lord"
    memory: int = 1_000_000

    def __post_init__(self) -> None:
        check_range("false_share", self.false_share, 0.0, 0.5)
        check_range("memory", self.memory, 0, 1_000_000_000_000)
        if self.method not in METHODS:
            raise ConfigurationError(
                f"The method of the alarm budget is {self.method!r}.", remedy=f"It is one of {', '.join(METHODS)}."
            )
        if self.method == "trailing":
            check_range("memory", self.memory, 100, 1_000_000_000_000)

    @property
    def active(self) -> bool:
        """Whether it rules anything."""
        return self.false_share > 0.0

    @property
    def remembered(self) -> float:
        """The part that is remembered from one test to the next."""
        return 1.0 - 1.0 / self.memory if self.memory else 1.0

    @property
    def spent(self) -> FloatArray:
        """By scale, the part of what is paid in that is spent on the first step."""
        fitting = _SCALES[self.memory / 3.0 >= _SCALES] if self.memory else _SCALES
        above, up_to = _STEPS[self.method]
        scales = (fitting if len(fitting) else _SCALES[:1]) * (up_to - above)
        return np.asarray(1.0 / (scales * len(scales)), dtype=np.float64)

    def spending(self, steps: int) -> FloatArray:
        """(steps,) the part of an amount that is spent on the first step after it was paid in, the second ..."""
        spent = self.spent
        return np.asarray((spent * (1.0 - spent * len(spent)) ** np.arange(steps)[:, None]).sum(axis=1))


@bare_kernel
def _admit(
    state: FloatArray,
    p_values: FloatArray,
    alarm_p: FloatArray,
    tested: NDArray[np.bool_],
    settings: tuple[float, float, float, float, float],
    spent: FloatArray,
    kept: FloatArray,
    levels: FloatArray,
) -> None:
    """Rows in order: the level of each test into ``levels``, 0 for what is not tested. ``state``: what was paid in and
    is not spent yet, by scale, then the alarms, then all that was paid in; each as far as it is remembered."""
    share, remembered, above, up_to, most = settings
    scales = len(spent)
    for i in range(len(p_values)):
        levels[i] = 0.0
        if not tested[i]:
            continue
        level = 0.0
        for k in range(scales):
            level += spent[k] * state[k]
        level = min((up_to - above) * level, most)
        levels[i] = level
        alarm = alarm_p[i] <= level
        step = above < p_values[i] <= up_to
        paid = remembered * state[scales + 1]
        alarms = remembered * state[scales] + alarm
        wanted = share if alarm else 0.5 * share * (1.0 - remembered)
        amount = max(min(wanted, share * max(alarms, 1.0) - paid), 0.0)
        for k in range(scales):
            state[k] = state[k] * remembered * (kept[k] if step else 1.0) + amount
        state[scales] = alarms
        state[scales + 1] = paid + amount


@bare_kernel
def _trail(
    state: FloatArray,
    p_values: FloatArray,
    tested: NDArray[np.bool_],
    settings: tuple[float, float, float],
    levels: FloatArray,
) -> None:
    """Rows in order: the level of each test into ``levels``, 0 for what is not tested."""
    share, memory, most = settings
    recent, counted, weight, level, since = 0.1 * memory, _BINS, _BINS + 1, _BINS + 2, _BINS + 3
    for i in range(len(p_values)):
        levels[i] = 0.0
        if not tested[i]:
            continue
        levels[i] = min(state[level], most)
        state[weight] /= 1.0 - 1.0 / recent  # what came before counts that much less
        bin = min(int(-_PER_DECADE * math.log10(p_values[i])), _BINS - 1)
        state[bin] += state[weight]
        state[counted] += state[weight]
        state[since] += 1.0
        if bin < _NOTABLE and state[since] < _OFTEN:
            continue
        state[since], state[level], found = 0.0, 0.5 * share / memory, 0.0
        tests = max(state[counted] / state[weight], recent)
        for k in range(_BINS - 1, -1, -1):
            found += state[k] / state[weight]
            largest = 10.0 ** (-k / _PER_DECADE)
            if tests * largest <= share * found:
                state[level] = max(state[level], largest)
        if state[weight] > _TOO_LARGE:
            for k in range(_BINS + 1):
                state[k] /= state[weight]
            state[weight] = 1.0


class AlarmBudget:
    """The budget of one partition: a fold of its tests. ``most`` is a level that is never exceeded."""

    def __init__(self, rule: BudgetRule, most: float = 1.0) -> None:
        self.rule = rule
        above, up_to = _STEPS[rule.method]
        ceiling = above or up_to  # a candidate is at most as large as what begins to be none
        self._settings = (rule.false_share, rule.remembered, above, up_to, min(most, ceiling))
        self._spent = rule.spent
        self._kept = 1.0 - self._spent * len(self._spent)
        self._state = np.full(len(self._spent) + 2, 0.5 * rule.false_share)
        self._state[-2] = 0.0
        if rule.method == "trailing":
            self._state = np.zeros(_BINS + _BEHIND)
            self._state[_BINS + 1 : _BINS + 3] = 1.0, 0.5 * rule.false_share / rule.memory

    def admit(self, p_values: FloatArray, alarm_p: FloatArray, tested: NDArray[np.bool_]) -> FloatArray:
        """(n,) levels of rows in log order, 0 for what is not ``tested``. A reading is an alarm where its alarm p-value
        is at most its level; the budget is debited and credited on that."""
        levels = np.empty(len(p_values))
        if self.rule.method == "trailing":
            share, most = self._settings[0], self._settings[-1]
            _trail(self._state, p_values, tested, (share, float(self.rule.memory), most), levels)
            return levels
        _admit(self._state, p_values, alarm_p, tested, self._settings, self._spent, self._kept, levels)
        return levels

    def save(self) -> SlotState:
        """The state, to be loaded into a budget under the same rule: the same future to the bit."""
        return {_NAME: self._state.copy()}

    def load(self, state: SlotState) -> None:
        """Take up a saved state. Raises ``StateMismatchError`` for what is none; nothing has changed then."""
        found = np.asarray(state.get(_NAME, []))
        if found.shape != self._state.shape or found.dtype != self._state.dtype or not np.isfinite(found).all():
            raise StateMismatchError(
                f"The state of the alarm budget is {found.tolist()}, not {len(self._state)} numbers.",
                remedy="It was saved under another plan; start from an empty state.",
            )
        self._state[:] = found
