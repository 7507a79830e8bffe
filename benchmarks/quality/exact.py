"""``python -m benchmarks.quality.exact``: what an alarm budget is worth where p-values are exact.

Three million normal readings of 20 series, some moved by so many standard deviations, alone or in runs of 30 of one
series; two-sided p-values from the normal distribution itself. LORD++ as shipped, and Benjamini and Hochberg's method.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product

import numpy as np

from benchmarks.kit import table
from benchmarks.quality.discoveries import NOMINAL, RULES, BoolArray, count_found
from oddtide.domain.detection.alarm_budget import AlarmBudget, BudgetRule
from oddtide.domain.statistics import gaussian_p

_SERIES, _READINGS = 20, 3_000_000
_WINDOWS = "BH, windows of 10,000"


def main(readings: int = _READINGS) -> int:
    """Print the table."""
    random, lines = np.random.default_rng(1), list[Sequence[str]]()
    for rate, run, sigmas in product((1e-2, 1e-3, 1e-4), (1, 30), (4.0, 5.0, 6.0)):
        truth = np.zeros(readings, dtype=np.bool_)
        for first in np.flatnonzero(random.random(readings) < rate / run):
            truth[first : first + run * _SERIES : _SERIES] = True
        moved = random.normal(size=readings) + sigmas * truth
        p_values = np.fromiter(map(gaussian_p, moved.tolist()), dtype=np.float64, count=readings)
        every = np.ones(readings, dtype=np.bool_)
        levels = AlarmBudget(BudgetRule(NOMINAL)).admit(p_values, p_values, every)
        cells = [_cell(hits, truth) for hits in (p_values <= levels, RULES[_WINDOWS](p_values, every))]
        lines.append([f"1 in {1 / rate:,.0f}, {'alone' if run == 1 else 'in runs'}", f"{sigmas:g} sigma", *cells])
    print(table(["anomalies", "", "LORD++ as shipped", _WINDOWS], lines))
    return 0


def _cell(hits: BoolArray, truth: BoolArray) -> str:
    found = count_found(hits, truth, np.zeros_like(truth))
    return f"{found.false:.3f} / {found.power:.3f}"


if __name__ == "__main__":
    sys.exit(main())
