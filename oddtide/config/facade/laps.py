"""One detector's way over some readings: what it says of each, and what that costs."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oddtide.adapters.files.rows import ROW_EPOCH_NS
from oddtide.config.facade.choosing import Choice
from oddtide.config.facade.plans import make_plan
from oddtide.config.facade.ranking import ranked
from oddtide.config.facade.scorer import Scorer
from oddtide.config.facade.training import TrainedModel, train_on
from oddtide.domain.errors import UsageError
from oddtide.domain.readings import FloatArray, IntArray, Readings
from oddtide.streams.codecs.decoded import Decoded
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import Toolkit

__all__ = ["Lap", "Material", "run_lap"]

BoolArray = NDArray[np.bool_]
#: Down to which p-value a trained detector's verdict is a detection: its p-values end at one in its training rows.
_TRAINED_P_VALUE = 1e-3
_COMPILE_ROWS = 16
_CHUNK = 20_000
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Material:
    """Readings of one file or array; ``truth`` (n,) says which are anomalies, ``series`` (n,) numbers each one's."""

    name: str
    readings: Readings
    features: tuple[str, ...]
    truth: BoolArray | None
    series: IntArray = field(repr=False)
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def timed(self) -> bool:
        """Whether its times are its own, not just its rows counted."""
        return bool((self.readings.times != ROW_EPOCH_NS + self.readings.offsets * _SECOND).any())


@dataclass(frozen=True)
class Lap:
    """What a contender says of ``n`` readings: ``rank`` to sort them by, ``hit`` where it is a detection, ``valid``
    where it had learnt enough. ``seconds`` is processor time, compilation left out; ``trained`` the rows learnt before.
    """

    name: str
    rank: FloatArray
    hit: BoolArray
    valid: BoolArray
    seconds: float
    bytes_per_series: int
    warm_up: int
    p_value: float
    trained: int


def run_lap(
    choice: Choice, material: Material, toolkit: Toolkit, p_value: float | None, cut: int, tell: Callable[[int], None]
) -> Lap:
    """Score and learn everything; what is trained first is trained on the first ``cut`` readings, judged on the rest.

    Raises ``ConfigurationError`` for a detector that cannot be made for these features, ``UsageError`` where there are
    too few readings to train on, or where a trained one is to be combined with others."""
    level = _TRAINED_P_VALUE if choice.trained and p_value is None else p_value
    plan = make_plan(material.features, detector=choice.specs, p_value=level)
    model = _model(choice, material, cut)
    readings = material.readings
    _scorer(plan, toolkit, model).columns(_decoded(readings.take(np.arange(min(len(readings), _COMPILE_ROWS)))))
    scorer = _scorer(plan, toolkit, model)
    n, needed, seconds = len(readings), 0, 0.0
    rank, hit, valid = np.zeros(n), np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for start in range(0, n, _CHUNK):
        part = np.arange(start, min(start + _CHUNK, n))
        columns = _decoded(readings.take(part))
        began = clock.process_time()
        verdicts = scorer.columns(columns).verdicts
        seconds += clock.process_time() - began
        assert verdicts is not None
        rank[part] = ranked(verdicts.scores.p_value, verdicts.scores.score)
        hit[part], valid[part] = verdicts.is_anomaly, verdicts.scores.seen >= verdicts.needed
        needed = max(needed, int(verdicts.needed.max(initial=0)))
        tell(len(part))
    return Lap(
        choice.name, rank, hit, valid, seconds, scorer.bytes_per_series, needed, plan.threshold.p_value,
        model.rows if model is not None else 0,
    )  # fmt: skip


def _model(choice: Choice, material: Material, cut: int) -> TrainedModel | None:
    if not choice.trained:
        return None
    if len(choice.specs) > 1:
        raise UsageError(
            f"{choice.name} combines a detector that is trained first with others.", remedy="Name it on its own."
        )
    spec = choice.specs[0]
    return train_on([material.readings.values[:cut]], material.features, spec.kind[5:], spec.parameters)


def _scorer(plan: StreamPlan, toolkit: Toolkit, model: TrainedModel | None) -> Scorer:
    made = Scorer(plan, toolkit, clock.time_ns)
    if model is not None:
        model.put_in_force(made)
    return made


def _decoded(readings: Readings) -> Decoded:
    first, last = (int(readings.offsets[0]), int(readings.offsets[-1]) + 1) if len(readings) else (0, 0)
    return Decoded(readings, [], len(readings), first, last)
