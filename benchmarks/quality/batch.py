"""Batch detectors as ADBench measures them: fitted, without labels, to the table that is then scored."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.quality.cases import Case
from benchmarks.quality.folding import Folded
from oddtide.config.facade.plans import parse_detector
from oddtide.config.facade.training import train_on
from oddtide.domain.errors import ConfigurationError, UsageError

__all__ = ["MOST_TRAINED_ON", "score_table"]

#: Rows that a model is trained on at most, evenly spread: a detector that compares all with all would not end.
MOST_TRAINED_ON = 10_000


def score_table(detector: str, case: Case) -> Folded:
    """Train on (at most 10,000 rows of) the table and score all of it, as a stream does: trained, adopted, scored.

    Of the rows trained on, a quarter (at most 1,000) is held out for p-values, as always. Raises
    ``ConfigurationError`` for what is no batch detector, or cannot be fitted.
    """
    spec = parse_detector(detector)
    family, _, algorithm = spec.kind.partition(":")
    if family != "pyod":
        raise ConfigurationError(f"{detector} isn't trained in batch.", remedy="Name one of PyOD's, e.g. pyod:auto.")
    started = time.process_time()
    some = case.values[:: -(-len(case) // MOST_TRAINED_ON)]
    try:
        model = train_on([some], case.features, algorithm, spec.parameters)
    except UsageError as error:
        raise ConfigurationError(str(error), remedy="Measure another detector.") from None
    columns = dict(zip(case.features, case.values.T, strict=True))
    found = model.detect(columns, p_value=1.0, all=True)
    seconds = time.process_time() - started
    scores, p_values = (
        np.concatenate([getattr(part.scores, name) for part in found.parts]) for name in ("score", "p_value")
    )
    sure = np.ones(len(case), dtype=np.bool_)
    return Folded(scores, p_values, p_values, sure, np.full(len(case), np.nan), seconds)
