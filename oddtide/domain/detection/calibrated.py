"""What detectors share whose state lies in columns and whose p-values come from their series' own past scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.calibration import Calibration
from oddtide.domain.detection.order import Order
from oddtide.domain.detection.ports import Rows, Scores
from oddtide.domain.readings import IntArray
from oddtide.domain.slots import InColumns, SlotColumns, SlotState

__all__ = ["Calibrated", "silenced"]


def silenced(scores: Scores, silent: NDArray[np.bool_], warm_up: int) -> Scores:
    """``scores`` with nothing said where ``silent`` (n,): the detector counts as warming up there, and a verdict is the
    other detectors' business."""
    told = ~silent
    return replace(
        scores,
        score=np.where(told, scores.score, 0.0),
        p_value=np.where(told, scores.p_value, 1.0),
        contributions=np.where(told[:, None], scores.contributions, 0.0),
        seen=np.where(told, scores.seen, np.minimum(scores.seen, warm_up - 1)),
    )


class Calibrated(ABC):
    """Everything of a detector but its settings, its warm-up and the work on rows itself. ``_order`` is there for one
    that asks whether a series' readings hang together in time, ``_spikes`` for one that grades single readings too."""

    _columns: SlotColumns
    _calibration: Calibration
    _order: Order | None = None
    _spikes: Calibration | None = None
    _version: str

    @abstractmethod
    def _run(self, rows: Rows, *, learn: bool) -> Scores:
        """Row by row: score, then learn where ``learn``."""

    @property
    def version(self) -> str:
        """Algorithm, parameters and features."""
        return self._version

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``."""
        for part in self._parts():
            part.grow(slots)

    def score(self, rows: Rows) -> Scores:
        """Score each row by what is known now."""
        return self._run(rows, learn=False)

    def learn(self, rows: Rows) -> None:
        """Learn the rows in order: each is scored first, since calibration learns from scores."""
        self._run(rows, learn=True)

    def advance(self, rows: Rows) -> Scores:
        """Row by row: score, then learn."""
        return self._run(rows, learn=True)

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots``."""
        for part in self._parts():
            part.forget(slots)

    @property
    def bytes_per_slot(self) -> int:
        """What the module says, for these parameters."""
        return sum(part.bytes_per_slot for part in self._parts())

    def extract(self, slots: IntArray) -> SlotState:
        """Copies of the rows of ``slots``."""
        return {name: rows for part in self._parts() for name, rows in part.extract(slots).items()}

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the rows of ``slots``. Raises ``StateMismatchError`` for a state of other features or parameters."""
        self._columns.check(slots, state)
        for extra in self._extras():
            extra.check_state(slots, state)
        for part in self._parts():
            part.insert(slots, state)

    def _parts(self) -> list[SlotColumns | InColumns]:
        return [self._calibration, self._columns, *self._extras()]

    def _extras(self) -> list[InColumns]:
        return [part for part in (self._order, self._spikes) if part is not None]
