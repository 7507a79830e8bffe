"""Detecting anomalies in data at hand, all at once or as it comes."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from oddtide.adapters.files.columns import TableOptions
from oddtide.adapters.files.rows import RefusedRow
from oddtide.config.facade.detections import Detections, pick
from oddtide.config.facade.inputs import Batch, Input, open_input
from oddtide.config.facade.plans import DetectorLike, make_plan, needs_no_training
from oddtide.config.facade.scorer import Scored, Scorer
from oddtide.domain.detection.auto import AUTO
from oddtide.domain.detection.events import Verdict
from oddtide.domain.errors import UsageError
from oddtide.streams.pipeline.plan import Profile, StreamPlan
from oddtide.streams.ports import Toolkit

__all__ = ["column_options", "default_toolkit", "detect_anomalies", "process_streaming", "run", "score_batch"]

_LOG = logging.getLogger("oddtide")
_MICRO_BATCH = 1


def detect_anomalies(
    data: Any,
    *,
    detector: DetectorLike | Sequence[DetectorLike] = AUTO,
    threshold: float | None = None,
    p_value: float | None = None,
    false_share: float = 0.0,
    time: str = "",
    series: str = "",
    value: str = "",
    features: Sequence[str] = (),
    labels: Sequence[str] = (),
    name: str = "",
    all: bool = False,
    profile: Profile = "light",
) -> Detections:
    """The anomalies in ``data``: a path, an array, a list, columns by name, or an iterable of readings.

    ``detector``   ``auto`` (what suits the number of features), ``ewma``, ``half_space_trees``, ``loda``,
                   ``mahalanobis``, ``neighbours``, ``discord``, ``random_cut_forest``, ``seasonal``, ``counts``,
                   ``midas``, ``spot``, ``range``, ``river:<Class>``, parameters after a colon
                   (``"ewma:alpha=0.1"``); or several, whose surprises are then averaged (an ensemble)
    ``threshold``  an own score (``own_score`` of a verdict, on the scale of the detector that drove it) from which a
                   reading is an anomaly; alone it replaces the p-value rule
    ``p_value``    or a p-value down to which it is one (default 1e-6: one ordinary reading in a million)
    ``false_share`` or the share of the anomalies that may be false, 0.1 say: the p-value needed then follows what is
                   found, and ``p_value`` (default 0.01) is the most it comes to
    ``time``, ``series``, ``value``, ``features``, ``labels``  names of columns, where the usual ones do not fit
    ``name``       the series' name where no column holds one
    ``all``        keep every verdict, not only the anomalies
    ``profile``    ``light``, or ``deep``, which also watches for drift

    Guaranteed: one verdict, one entry in ``rejected`` or one count in ``tally.skipped`` for each reading; a score
    depends on earlier readings only. Raises ``UsageError`` or ``ConfigurationError`` for what cannot be used.
    """
    needs_no_training(detector)
    source = open_input(data, column_options(time, series, value, features, labels, name))
    plan = make_plan(
        source.features, detector=detector, threshold=threshold, p_value=p_value, false_share=false_share,
        profile=profile,
    )  # fmt: skip
    return run(source, plan, default_toolkit(), keep_all=all)


def process_streaming(
    readings: Iterable[Any],
    *,
    detector: DetectorLike | Sequence[DetectorLike] = AUTO,
    threshold: float | None = None,
    p_value: float | None = None,
    false_share: float = 0.0,
    time: str = "",
    series: str = "",
    value: str = "",
    features: Sequence[str] = (),
    labels: Sequence[str] = (),
    name: str = "",
    all: bool = True,
    batch: int = _MICRO_BATCH,
    on_rejected: Callable[[RefusedRow], None] | None = None,
) -> Iterator[Verdict]:
    """Verdicts of readings as they come: numbers, sequences of features, or mappings.

    Lazy: a verdict is there before the next reading is asked for, with ``batch=1``. A larger ``batch`` scores that many
    at a time, which is much faster and gives the same verdicts. ``all=False`` yields anomalies only. What cannot be
    scored goes to ``on_rejected``; by default it is logged as a warning. The other arguments are those of
    :func:`detect_anomalies`.
    """
    needs_no_training(detector)
    if batch < 1:
        raise UsageError(f"batch is {batch}.", remedy="Give at least 1.")
    options = column_options(time, series, value, features, labels, name)

    def verdicts() -> Iterator[Verdict]:
        source = open_input(readings, options, batch=batch)
        plan = make_plan(
            source.features, detector=detector, threshold=threshold, p_value=p_value, false_share=false_share
        )
        scorer = Scorer(plan, default_toolkit(), clock.time_ns)
        for each in source.batches:
            scored = score_batch(scorer, each)
            for refused in scored.refused:
                (on_rejected or _warn)(refused)
            if scored.verdicts is not None:
                yield from scored.verdicts if all else map(scored.verdicts.verdict, scored.verdicts.anomalies.tolist())

    return verdicts()


def column_options(
    time: str, series: str, value: str, features: Sequence[str], labels: Sequence[str], name: str
) -> TableOptions:
    """The named columns. Raises ``UsageError`` where a text stands for a list of names."""
    for argument, given in (("features", features), ("labels", labels)):
        if isinstance(given, str):
            raise UsageError(f"{argument} is {given!r}.", remedy=f"Give a list: {argument}=[{given!r}].")
    return TableOptions(time, series, value, tuple(features), tuple(labels), name)


def default_toolkit() -> Toolkit:
    """Every detector that is installed."""
    from oddtide.config.composition import Composition
    from oddtide.config.settings import Settings

    return Composition(Settings()).toolkit()


def run(
    source: Input,
    plan: StreamPlan,
    toolkit: Toolkit,
    *,
    keep_all: bool,
    before: Callable[[Scorer], None] | None = None,
) -> Detections:
    """Everything in ``source`` through ``plan``."""
    scorer = Scorer(plan, toolkit, clock.time_ns)
    if before is not None:
        before(scorer)
    parts, rejected = [], []
    for batch in source.batches:
        scored = score_batch(scorer, batch)
        rejected += scored.refused
        if scored.verdicts is not None:
            wanted = np.arange(len(scored.verdicts)) if keep_all else scored.verdicts.anomalies
            if len(wanted):
                parts.append(pick(scored.verdicts, wanted))
    return Detections(tuple(parts), tuple(rejected), scorer.tally, tuple(source.notes))


def score_batch(scorer: Scorer, batch: Batch) -> Scored:
    """Rows or columns, whichever it is."""
    return scorer.rows(batch) if isinstance(batch, list) else scorer.columns(batch)


def _warn(row: RefusedRow) -> None:
    _LOG.warning("reading %d rejected: %s: %s", row.line, row.reason, row.detail)
