"""What detectors share whose state lies in columns and whose p-values come from their series' own past scores."""

from __future__ import annotations

from abc import ABC, abstractmethod

from oddtide.domain.detection.calibration import Calibration
from oddtide.domain.detection.ports import Rows, Scores
from oddtide.domain.readings import IntArray
from oddtide.domain.slots import SlotColumns, SlotState

__all__ = ["Calibrated"]


class Calibrated(ABC):
    """Everything of a detector but its settings, its warm-up and the work on rows itself."""

    _columns: SlotColumns
    _calibration: Calibration
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
        self._columns.grow(slots)
        self._calibration.grow(slots)

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
        self._columns.forget(slots)
        self._calibration.forget(slots)

    @property
    def bytes_per_slot(self) -> int:
        """What the module says, for these parameters."""
        return self._columns.bytes_per_slot + self._calibration.bytes_per_slot

    def extract(self, slots: IntArray) -> SlotState:
        """Copies of the rows of ``slots``."""
        return {**self._columns.extract(slots), **self._calibration.extract(slots)}

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the rows of ``slots``. Raises ``StateMismatchError`` for a state of other features or parameters."""
        self._columns.check(slots, state)
        self._calibration.insert(slots, state)
        self._columns.insert(slots, state)
