"""What every detector says of the same readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddtide.config.facade.laps import Lap, Material
from oddtide.domain.readings import IntArray

__all__ = ["Trial", "spans_of_series"]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """Every contender's lap over the same readings. ``common`` (n,) are those that all of them scored in earnest, but
    for a contender that never does."""

    material: Material
    laps: tuple[Lap, ...]
    common: BoolArray

    @classmethod
    def of(cls, material: Material, laps: Sequence[Lap], cut: int) -> Trial:
        """Readings before ``cut`` are not compared: somebody was trained on them."""
        common = np.ones(len(material.readings), dtype=np.bool_)
        common[:cut] = False
        for lap in laps:
            if (lap.valid & common).any():
                common = common & lap.valid
        return cls(material, tuple(laps), common)


def spans_of_series(truth: BoolArray, series: IntArray) -> list[IntArray]:
    """The rows of each stretch of anomalies, series by series."""
    order = np.argsort(series, kind="stable")
    marked, owner = truth[order], series[order]
    goes_on = np.zeros(len(order) + 1, dtype=np.bool_)  # whether a row and the one before it are of one stretch
    goes_on[1:-1] = marked[1:] & marked[:-1] & (owner[1:] == owner[:-1])
    firsts, lasts = np.flatnonzero(marked & ~goes_on[:-1]), np.flatnonzero(marked & ~goes_on[1:])
    return [order[first : last + 1] for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]
