"""Training a PyOD detector on a table of readings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddtide.adapters.pyod.artifact import Artifact, decide, libraries, pack, standardised
from oddtide.adapters.pyod.catalogue import construct, quiet
from oddtide.domain.errors import UsageError
from oddtide.domain.readings import FloatArray

__all__ = ["train"]

BoolArray: TypeAlias = NDArray[np.bool_]

#: Fewer rows say nothing about what is ordinary.
_LEAST_ROWS = 40
#: One row in so many is held out for p-values, and at most so many rows.
_HELD_OUT_EVERY = 4
_HELD_OUT_MOST = 1_000


def train(
    algorithm: str, parameters: Mapping[str, object], values: object, features: tuple[str, ...]
) -> tuple[bytes, dict[str, str], dict[str, float]]:
    """Fit ``algorithm`` (``IForest`` or ``pyod:IForest``) to ``values`` (n, d), NaN where a feature is missing.

    Every fourth row (at most 1,000, evenly spread) is held out: it is not fitted to, and its score tells how ordinary
    rows that the model has not seen score (split conformal prediction, Papadopoulos et al. 2002). Measured by the rows
    fitted to, a detector that fits closely (KPCA, LOF) would find every new row strange.

    Returns the artifact's bytes, library versions and metrics: ``rows`` (fitted to), ``held_out``, ``missing`` (share
    of values), ``contamination`` (PyOD's parameter), quantiles of the held-out scores. Missing values become the
    feature's median, features are brought to mean 0 and variance 1. The same rows and parameters give the same model
    where PyOD takes a ``random_state``.

    Raises ``UsageError`` for rows that it cannot be fitted to, and what :func:`~.catalogue.construct` raises.
    """
    name = algorithm.removeprefix("pyod:")
    table = _table(values, features)
    model = construct(f"pyod:{name}", parameters)
    medians = np.nanmedian(table, axis=0)
    known = np.where(np.isnan(table), medians, table)
    centre, deviation = known.mean(axis=0), known.std(axis=0)
    scale = np.where(deviation > 1e-9 * np.abs(centre), deviation, np.maximum(1e-6 * np.abs(centre), 1e-9))
    ready = standardised(table, medians, centre, scale)
    apart = _held_out(len(ready))
    try:
        with quiet():
            model.fit(ready[~apart])
        scores = np.sort(decide(name, model, ready[apart]))
    except Exception as error:  # whatever PyOD raises: these rows do not suit it
        remedy = "Try other parameters, other rows or another algorithm."
        problem = f"pyod:{name} cannot be fitted to {len(table)} rows of {len(features)} features: {error}."
        raise UsageError(problem, remedy=remedy) from None
    if not np.isfinite(scores).all():
        remedy = "Remove constant features or choose another algorithm."
        raise UsageError(f"pyod:{name} gave scores that are not finite.", remedy=remedy)
    fitted, versions = int((~apart).sum()), libraries()
    artifact = Artifact(name, fitted, features, model, scores, medians, centre, scale, versions)
    metrics = {
        "rows": float(fitted),
        "held_out": float(len(scores)),
        "missing": float(np.isnan(table).mean()),
        "contamination": float(getattr(model, "contamination", 0.0)),
        **{f"score_q{q:g}": float(np.quantile(scores, q / 100)) for q in (50, 90, 99, 100)},
    }
    return pack(artifact), versions, metrics


def _held_out(rows: int) -> BoolArray:
    """(rows,) mask of the rows that are not fitted to."""
    apart = np.zeros(rows, dtype=np.bool_)
    count = min(rows // _HELD_OUT_EVERY, _HELD_OUT_MOST)
    apart[np.arange(count) * rows // count] = True
    return apart


def _table(values: object, features: tuple[str, ...]) -> FloatArray:
    table: FloatArray = np.array(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(features):
        problem = f"The training values have shape {table.shape}, not (rows, {len(features)})."
        raise UsageError(problem, remedy=f"Give one column for each of {', '.join(features)}.")
    if len(table) < _LEAST_ROWS:
        raise UsageError(f"{len(table)} rows are too few to train on.", remedy=f"Give at least {_LEAST_ROWS}.")
    empty = [name for name, column in zip(features, table.T, strict=True) if np.isnan(column).all()]
    if empty:
        remedy = "Take a window in which each feature occurs."
        raise UsageError(f"The feature {empty[0]!r} is missing in every training row.", remedy=remedy)
    return np.clip(table, -1e100, 1e100)
