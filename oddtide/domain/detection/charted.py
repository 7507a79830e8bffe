"""What detectors share that judge each value by itself, by a distribution and a band of their own, over columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from oddtide.domain.detection.ports import Rows, Scores
from oddtide.domain.detection.slots import check_rows, columns
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import InColumns

__all__ = ["Charted", "Told"]


class Told(NamedTuple):
    """Room for what a kernel says of ``n`` rows: ``out`` (n, 2) score and p-value, ``seen`` (n,), ``contributions``
    (n, d), ``band`` (3, n, d) expected value, lower and upper bound. ``n`` is 0 where nobody wants to know."""

    out: FloatArray
    seen: IntArray
    contributions: FloatArray
    band: FloatArray


class Charted(InColumns, ABC):
    """Everything of a detector but its settings, its state and the kernel that folds rows."""

    _features: tuple[str, ...]
    _version: str
    _warm_up: int

    @abstractmethod
    def _fold(self, rows: Rows, slots: IntArray, values: FloatArray, told: Told, *, learn: bool) -> None:
        """Row by row: score into ``told`` where it has room, then learn where ``learn``. ``slots`` and ``values`` are
        those of ``rows``, contiguous."""

    @property
    def warm_up(self) -> int:
        """Readings of a series to learn before its scores are valid."""
        return self._warm_up

    @property
    def version(self) -> str:
        """Algorithm, parameters and features."""
        return self._version

    def score(self, rows: Rows) -> Scores:
        """Score each row by what is known now."""
        return self._run(rows, learn=False, scored=len(rows))

    def learn(self, rows: Rows) -> None:
        """Learn the rows in order."""
        self._run(rows, learn=True, scored=0)

    def advance(self, rows: Rows) -> Scores:
        """Row by row: score, then learn."""
        return self._run(rows, learn=True, scored=len(rows))

    def _run(self, rows: Rows, *, learn: bool, scored: int) -> Scores:
        d = len(self._features)
        check_rows(rows, len(self._columns), d)
        told = Told(
            np.empty((scored, 2)), np.empty(scored, dtype=np.int64), np.empty((scored, d)), np.empty((3, scored, d))
        )
        slots, values = columns(rows)
        self._fold(rows, slots, values, told, learn=learn)
        return Scores(
            score=told.out[:, 0].copy(),
            p_value=told.out[:, 1].copy(),
            contributions=told.contributions,
            seen=told.seen,
            expected=told.band[0],
            lower=told.band[1],
            upper=told.band[2],
        )
