"""Any of river's streaming anomaly models as a detector: ``river:<Class>``.

One model per series, made when its first reading comes. What is fed: the reading's features by name, missing ones left
out; where the model needs it, scaled by what the series showed so far (``scaling``: ``minmax`` to [0, 1] for
HalfSpaceTrees, ``standard`` for LODA, LocalOutlierFactor and OneClassSVM, ``none`` otherwise). A supervised model
(GaussianScorer, StandardAbsoluteDeviation, PredictiveAnomalyDetection) judges one feature, ``target``, given the
others.

The score is river's (where that may be negative, ``log(1 + exp(score))``); the p-value is calibrated by the series' own
past scores. Contributions: river names none, so the score is shared out by how far each feature lies from its mean so
far in its standard deviations (all to the target of a supervised model): a description, not the model's reasoning.

A reading that a model cannot score (an overflow inside it, say) scores 0 with p-value 1; the series then starts anew,
which its maturity shows. Further parameters: ``warm_up`` (readings learnt before a score counts) and ``calibration``
(past scores that count at most). river draws seeds at random by default; here ``seed`` is 1 unless given.

Cost: river's, 30 to 1,200 microseconds a reading, and up to a megabyte a series (docs/choosing.md has each).
"""

from __future__ import annotations

import copy
import math
import pickle
from functools import cached_property
from importlib import metadata
from typing import Any

import numpy as np

from oddtide.adapters.river.models import Blueprint, blueprint
from oddtide.domain.detection.calibration import Calibration
from oddtide.domain.detection.ports import DetectorSpec, Rows, Scores
from oddtide.domain.detection.settings import version_of
from oddtide.domain.detection.slots import check_rows
from oddtide.domain.errors import StateMismatchError
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import SlotColumns, SlotState, bytes_of, pickled_size

__all__ = ["RiverDetector", "build"]

_REVISION = 2
#: Magnitudes beyond are taken as this: models square them.
_HUGE = 1e100


def build(spec: DetectorSpec, features: tuple[str, ...]) -> RiverDetector:
    """The detector that ``spec`` (``river:<Class>``) asks for. Raises ``ConfigurationError``."""
    return RiverDetector(blueprint(spec, features), features)


class RiverDetector:
    """One river model per slot; see the module for what is guaranteed."""

    def __init__(self, plan: Blueprint, features: tuple[str, ...]) -> None:
        self._plan, self._features = plan, features
        river = metadata.version("river")
        content = [dict(plan.parameters), plan.scaling, plan.target, plan.warm_up, plan.calibration, river]
        self._version = version_of(f"river:{plan.name}", _REVISION, content, features)
        self._calibration = Calibration(plan.calibration)
        self._models: list[Any] = []
        # Moments: per feature count, mean, sum of squared distances (Welford), for the contributions.
        blanks = {"seen": np.zeros((), dtype=np.int64), "moments": np.zeros((len(features), 3))}
        self._columns = SlotColumns(f"river:{plan.name}", blanks)

    @property
    def warm_up(self) -> int:
        """Readings until scores count, and those that calibration needs."""
        return self._plan.warm_up + self._calibration.minimum

    @property
    def version(self) -> str:
        """Model, parameters, features and river's version."""
        return self._version

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``; models are made when they are needed."""
        self._models.extend([None] * (slots - len(self._models)))
        self._columns.grow(slots)
        self._calibration.grow(slots)

    def score(self, rows: Rows) -> Scores:
        """Score each row by what is known now."""
        return self._run(rows, scoring=True, learning=False)

    def learn(self, rows: Rows) -> None:
        """Learn the rows in order; each is scored on the way, since calibration learns from scores."""
        self._run(rows, scoring=False, learning=True)

    def advance(self, rows: Rows) -> Scores:
        """Row by row: score, then learn."""
        return self._run(rows, scoring=True, learning=True)

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots``."""
        for slot in slots.tolist():
            self._models[slot] = None
        self._columns.forget(slots)
        self._calibration.forget(slots)

    @cached_property
    def bytes_per_slot(self) -> int:
        """A guess: what a model takes that has learnt a few readings."""
        return self._columns.bytes_per_slot + self._calibration.bytes_per_slot + pickled_size(self._plan.tried())

    def extract(self, slots: IntArray) -> SlotState:
        """Each slot's model as a pickle (no bytes where there is none yet), the rest as arrays."""
        own = {**self._columns.extract(slots), **self._calibration.extract(slots)}
        models = [self._models[slot] for slot in slots.tolist()]
        return {**own, "models": [b"" if model is None else pickle.dumps(model, protocol=5) for model in models]}

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the state of ``slots``. Unpickles, and raises ``StateMismatchError`` for what is none of its own."""
        self._columns.check(slots, state)
        models = [self._unpickled(raw) for raw in bytes_of("river", "models", len(slots), state)]
        self._calibration.insert(slots, state)
        self._columns.insert(slots, state)
        for slot, model in zip(slots.tolist(), models, strict=True):
            self._models[slot] = model

    def _unpickled(self, raw: bytes) -> Any:
        if not raw:
            return None
        try:
            model = pickle.loads(raw)
        except Exception as error:  # a pickle may raise anything
            problem = f"The saved river model cannot be read: {type(error).__name__}: {error}."
            raise StateMismatchError(problem, remedy="Start from an empty state.") from None
        if type(model) is not self._plan.kind:
            problem = f"The saved river model is a {type(model).__name__}, not a {self._plan.kind.__name__}."
            raise StateMismatchError(problem, remedy="Start from an empty state.")
        return model

    def _run(self, rows: Rows, *, scoring: bool, learning: bool) -> Scores:
        n, d = len(rows), len(self._features)
        check_rows(rows, len(self._models), d)
        score, p_value = np.zeros(n), np.ones(n)
        contributions, seen = np.zeros((n, d)), np.empty(n, dtype=np.int64)
        for i, slot in enumerate(rows.slots.tolist()):
            x = np.clip(rows.values[i], -_HUGE, _HUGE)
            seen[i] = self._columns["seen"][slot]
            raw = self._raw(slot, x, learning)
            if scoring and seen[i] >= self.warm_up and raw is not None and math.isfinite(raw):
                score[i] = self._shown(raw)
                p_value[i] = self._grade(slot, raw, learn=False)
                contributions[i] = score[i] * self._shares(slot, x)
            if learning:
                self._learn(slot, x, raw)
        return Scores(score, p_value, contributions, seen)

    def _given(self, x: FloatArray) -> tuple[dict[str, float], float | None]:
        """What the model is fed: features without the target, and the target; absent ones left out."""
        present = {name: float(x[j]) for j, name in enumerate(self._features) if not math.isnan(x[j])}
        if self._plan.target is None:
            return present, None
        return present, present.pop(self._features[self._plan.target], None)

    def _judgeable(self, features: dict[str, float], target: float | None) -> bool:
        return bool(features) if self._plan.target is None else target is not None

    def _raw(self, slot: int, x: FloatArray, learning: bool) -> float | None:
        """river's score; None while there is nothing to go by, NaN where the model fails. Changes the model only
        where ``learning`` and river's scoring itself does."""
        features, target = self._given(x)
        model = self._models[slot]
        if model is None or self._columns["seen"][slot] < self._plan.warm_up or not self._judgeable(features, target):
            return None
        kept = {} if learning else {name: copy.deepcopy(getattr(model, name)) for name in self._plan.changed_by_scoring}
        try:
            raw = model.score_one(features) if self._plan.target is None else model.score_one(features, target)
            return float(raw)
        except Exception:  # a library's model: whatever it raises on odd values, no partition may stall on it
            return math.nan
        finally:
            for name, value in kept.items():
                setattr(model, name, value)

    def _shown(self, raw: float) -> float:
        """The score as it is reported: never negative."""
        if self._plan.signed and raw < 30.0:
            return math.log1p(math.exp(max(raw, -700.0)))
        return max(raw, 0.0)

    def _grade(self, slot: int, raw: float, *, learn: bool) -> float:
        strangeness = -math.log(max(1.0 - raw, 1e-17)) if self._plan.crowded else raw
        place = np.array([slot], dtype=np.int64)
        return float(self._calibration.grade(place, np.array([strangeness]), learn=learn)[0])

    def _learn(self, slot: int, x: FloatArray, raw: float | None) -> None:
        if raw is not None and not math.isfinite(raw):
            self._start_anew(slot)
        elif raw is not None:
            self._grade(slot, raw, learn=True)
        features, target = self._given(x)
        self._columns["seen"][slot] += 1
        if not self._judgeable(features, target):
            return
        self._count(slot, x)
        if self._models[slot] is None:
            self._models[slot] = self._plan.make()
        try:
            if self._plan.target is None:
                self._models[slot].learn_one(features)
            else:
                self._models[slot].learn_one(features, target)
        except Exception:  # likewise: its series starts anew, which its maturity shows
            self._start_anew(slot)

    def _start_anew(self, slot: int) -> None:
        self.forget(np.array([slot]))

    def _count(self, slot: int, x: FloatArray) -> None:
        known = ~np.isnan(x)
        moments = self._columns["moments"][slot]
        moments[known, 0] += 1.0
        step = x[known] - moments[known, 1]
        moments[known, 1] += step / moments[known, 0]
        moments[known, 2] += step * (x[known] - moments[known, 1])

    def _shares(self, slot: int, x: FloatArray) -> FloatArray:
        """(d,) weights that sum to 1, 0 for what is missing."""
        known = ~np.isnan(x)
        if self._plan.target is not None:
            known = np.arange(len(x)) == self._plan.target
        count, mean, squares = self._columns["moments"][slot].T
        deviation = np.sqrt(squares / np.maximum(count, 1.0))
        floor = np.maximum(1e-9 * np.abs(mean), 1e-300)
        distance = np.where(known, np.minimum(np.abs(x - mean) / np.maximum(deviation, floor), 1e9), 0.0)
        weights = distance if distance.sum() > 0.0 else known.astype(np.float64)
        shares: FloatArray = weights / weights.sum()
        return shares
