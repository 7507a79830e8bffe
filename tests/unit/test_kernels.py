"""Compiling: the private option that a bare kernel rests on is still there."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from oddtide.domain.statistics.kernels import bare_kernel


@bare_kernel
def _first(row: NDArray[np.float64]) -> float:
    return float(row[0])


@bare_kernel
def _total(rows: NDArray[np.float64], turns: int) -> float:
    total = 0.0
    for turn in range(turns):
        total += _first(rows[turn % len(rows)])
    return total


def test_a_bare_kernel_counts_no_references() -> None:
    # numba's stubs know neither of the two
    fresh = numba.njit(_nrt=False)(_total.py_func)  # type: ignore[attr-defined, call-overload]  # numba's own
    assert fresh(np.array([[1.0], [2.0]]), 3) == 4.0
    (machine_code,) = fresh.inspect_asm().values()
    assert "NRT_incref" not in machine_code.split("cpython", 1)[0]
