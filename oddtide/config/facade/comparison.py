"""Several detectors over the same readings, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.config.facade.choosing import Choice, choose
from oddtide.config.facade.contender import Contender
from oddtide.config.facade.contenders import Comparison
from oddtide.config.facade.detecting import default_toolkit, detect_anomalies
from oddtide.config.facade.detections import Detections
from oddtide.config.facade.laps import Lap, Material, run_lap
from oddtide.config.facade.measuring import measure
from oddtide.config.facade.plans import DetectorLike
from oddtide.config.facade.trials import Trial
from oddtide.domain.errors import OddtideError, UsageError
from oddtide.domain.readings import LabelsColumn, Readings, SeriesColumn

__all__ = ["DEFAULT_CONTENDERS", "Comparison", "Contender", "compare_algorithms"]

#: What is compared unless somebody says what.
DEFAULT_CONTENDERS: tuple[str, ...] = ("auto", "ewma", "spot", "range", "discord", "half_space_trees")
_QUIET_S = 900.0
_FALSE = frozenset({"", "0", "0.0", "false", "no", "none", "nan"})
#: Told now and then: how many readings were scored since the last time.
Tell = Callable[[int], None]


def compare_algorithms(
    data: Any,
    labels: Any = None,
    detectors: Sequence[DetectorLike] | None = None,
    *,
    time: str = "",
    series: str = "",
    value: str = "",
    features: Sequence[str] = (),
    p_value: float | None = None,
    train: float = 0.3,
    quiet_s: float = _QUIET_S,
    tell: Tell = lambda readings: None,
) -> Comparison:
    """How ``detectors`` do on the same readings, side by side: quality, alarms, agreement, cost.

    ``data`` is what :func:`detect_anomalies` takes, or a list of files, each scored from nothing. ``labels`` is a
    column of it by name or an array, one entry a row, true or not 0 for an anomaly; without it there are alarms,
    agreement and cost to compare. ``detectors`` are names with parameters; ``"spot+range"`` is several combined,
    ``"river:*"`` a family, ``"all"`` everything that learns as it goes. Of a family or of all, what cannot be used on
    this data is left out, and the ``notes`` say so.

    Every detector scores each reading before it learns it, but the batch detectors (``pyod:``): they are trained on the
    first share ``train`` of each file's readings, and then all are measured on the rest. Warm-up never counts.
    Detections are made at ``p_value`` (default: as shipped, 1e-6, for batch detectors 1e-3). Detections of a series at
    most ``quiet_s`` apart are one alarm, as in a stream's alerts. ``tell`` is called with numbers of readings as they
    are scored.

    Raises ``UsageError`` where there is nothing to compare, ``ConfigurationError`` for a detector that there is not.
    """
    choices = choose(DEFAULT_CONTENDERS if detectors is None else detectors)
    if not 0.0 < train < 1.0:
        raise UsageError(f"train is {train!r}.", remedy="Give a share between 0 and 1, for example 0.3.")
    columns = {"time": time, "series": series, "value": value, "features": features}
    materials = [_gather(each, labels, columns) for each in _sources(data, labels)]
    toolkit, notes = default_toolkit(), [note for each in materials for note in each.notes]
    lost: dict[str, str] = {}
    found: list[list[Lap]] = []
    cuts = [int(len(each.readings) * train) if any(choice.trained for choice in choices) else 0 for each in materials]
    for material, cut in zip(materials, cuts, strict=True):
        laps = []
        for choice in choices:
            if choice.name not in lost:
                try:
                    laps.append(run_lap(choice, material, toolkit, p_value, cut, tell))
                except OddtideError as error:
                    _leave_out(choice, error, lost)
        found.append(laps)
    trials = [
        Trial.of(material, [lap for lap in laps if lap.name not in lost], cut)
        for material, laps, cut in zip(materials, found, cuts, strict=True)
    ]
    if not trials[0].laps:
        raise UsageError("No detector is left to compare.", remedy=" ".join(lost.values()))
    notes += [f"{name} is left out: {problem}" for name, problem in lost.items()]
    name = materials[0].name if len(materials) == 1 else f"{len(materials)} files"
    return measure(trials, quiet_s, name, [*notes, *_cautions(trials)])


def _leave_out(choice: Choice, error: OddtideError, lost: dict[str, str]) -> None:
    """One that was asked for by name must be there; one out of a family need not."""
    if not choice.optional:
        raise error
    lost[choice.name] = str(error)


def _cautions(trials: Sequence[Trial]) -> list[str]:
    """What a person should know before reading the figures."""
    notes = []
    for trial in trials:
        name, common, material = trial.material.name, trial.common, trial.material
        silent = [lap.name for lap in trial.laps if not (lap.valid & common).any()]
        if silent:
            notes.append(f"{name}: {', '.join(silent)} never had enough readings to begin: silent there")
        if 0 < common.sum() < len(common) / 2:
            late = min((lap for lap in trial.laps if lap.name not in silent), key=lambda lap: int(lap.valid.sum()))
            notes.append(f"{name}: {common.sum():,} of {len(common):,} readings are compared; {late.name} begins last")
        if material.truth is not None and material.truth.any() and not material.truth[common].any():
            notes.append(f"{name}: every labelled anomaly lies in the warm-up, or where something was trained")
    return notes


def _sources(data: Any, labels: Any) -> list[Any]:
    """One source, or several files."""
    if not isinstance(data, list | tuple) or not data or not all(isinstance(each, str | Path) for each in data):
        return [data]
    if labels is not None and not isinstance(labels, str) and len(data) > 1:
        raise UsageError("The labels of several files are given as an array.", remedy="Name a column of the files.")
    return list(data)


def _gather(data: Any, labels: Any, columns: dict[str, Any]) -> Material:
    column = labels if isinstance(labels, str) else ""
    found = _read(data, column, columns)
    name = str(data) if isinstance(data, str | Path) else "data"
    parts = [part.readings for part in found.parts]
    if not parts:
        raise UsageError(
            f"There is no reading to compare on in {name}.", remedy=f"Look at what was rejected: {found.tally}."
        )
    readings = Readings(
        series=SeriesColumn.joined([part.series for part in parts]),
        times=np.concatenate([part.times for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        arrivals=np.concatenate([part.arrivals for part in parts]),
        labels=LabelsColumn.joined([part.labels or LabelsColumn.none(len(part)) for part in parts]),
    )
    numbers: dict[str, int] = {}
    series = np.array([numbers.setdefault(key, len(numbers)) for key in readings.series], dtype=np.int64)
    refused = sum(found.tally.rejected.values()) + sum(found.tally.skipped.values())
    notes = [*(f"{name}: {note}" for note in found.notes), *([f"{name}: {found.tally}"] if refused else [])]
    truth = _truth(labels, readings, column)
    return Material(name, readings, found.parts[0].origin.features, truth, series, tuple(numbers), tuple(notes))


def _read(data: Any, column: str, columns: dict[str, Any]) -> Detections:
    """Every reading that a pipeline takes; of the detector nothing is wanted."""
    try:
        return detect_anomalies(data, detector="ewma", labels=(column,) if column else (), all=True, **columns)
    except UsageError as error:
        if not column or not isinstance(data, str | Path):
            raise
        plain = detect_anomalies(data, detector="ewma", all=True, **columns)  # readings that bring their labels along
        if not any(column in (each or {}) for part in plain.parts for each in part.readings.labels):
            raise error from None
        return plain


def _truth(labels: Any, readings: Readings, column: str) -> NDArray[np.bool_] | None:
    if labels is None:
        return None
    if column:
        marks = [str((each or {}).get(column, "")).strip().lower() not in _FALSE for each in readings.labels]
        return np.asarray(marks, dtype=np.bool_)
    given = np.asarray(labels)
    if given.ndim != 1 or len(given) <= int(readings.offsets.max()):
        raise UsageError(
            f"There are {len(given)} labels for {int(readings.offsets.max()) + 1} rows.", remedy="Give one a row."
        )
    return np.asarray(given[readings.offsets] != 0, dtype=np.bool_)
