"""The Numenta Anomaly Benchmark's standard score (Lavin, Ahmad: "Evaluating real-time anomaly detection algorithms",
ICMLA 2015), with an honest threshold. Own writing.

One threshold holds for all files. Of each labelled window only the first alert counts, the more the earlier it comes; a
window without one costs 1; an alert outside costs up to 0.11, little just after a window. The first 15 % of a file (at
most 750 rows) are not scored. 0 is what silence gets, 100 is an alert on the first row of every window and no other.

NAB publishes the score under the best threshold for the very files scored. Here the threshold for each file is the one
that is best on the files of the *other folds*; the best one is given beside it for reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.cases import Spans
from oddtide.domain.readings import FloatArray, IntArray

__all__ = ["FOLDS", "Alerts", "alerts_of", "best_score", "cross_validated"]

FOLDS = 5
_MISSED, _FALSE_ALARM = 1.0, 0.11
_PROBATION_SHARE, _PROBATION_ROWS = 0.15, 750
_FAR = 3.0


@dataclass(frozen=True)
class Alerts:
    """A file in NAB's eyes: a threshold of ``scores[i]`` (falling) or less gains ``gains[i]``. ``windows`` are all that
    are labelled, ``open`` those that do not end within the probation."""

    scores: FloatArray
    gains: FloatArray
    windows: int
    open: int


def alerts_of(scores: FloatArray, windows: Spans) -> Alerts:
    """What each alert in a file would be worth."""
    rows = len(scores)
    probation = min(int(_PROBATION_SHARE * rows), _PROBATION_ROWS)
    live = np.arange(rows) >= probation
    outside, costs = live.copy(), np.full(rows, -1.0)
    parts: list[tuple[FloatArray, FloatArray]] = []
    for number, (first, last) in enumerate(windows):
        outside[first : last + 1] = False
        end = windows[number + 1][0] if number + 1 < len(windows) else rows
        if last > first:
            after = np.arange(last + 1, end)
            costs[after] = _sigmoid((after - last) / (last - first))
        inside = np.arange(max(first, probation), last + 1)
        if len(inside):
            parts.append(_first_alert(scores[inside], _reward(inside, first, last)))
    parts.append((scores[outside], _FALSE_ALARM * costs[outside]))
    every = np.concatenate([part[0] for part in parts])
    gains = np.concatenate([part[1] for part in parts])
    order = np.argsort(-every, kind="stable")
    return Alerts(every[order], gains[order], len(windows), sum(last >= probation for _, last in windows))


def _sigmoid(distance: FloatArray) -> FloatArray:
    near = 2.0 / (1.0 + np.exp(5.0 * np.minimum(distance, _FAR))) - 1.0
    return np.where(distance > _FAR, -1.0, near)


def _reward(rows: IntArray, first: int, last: int) -> FloatArray:
    """1 on the first row of a window, towards 0 on its last."""
    position = -(last - rows + 1) / (last - first + 1.0)
    return _sigmoid(position) / float(_sigmoid(np.array(-1.0)))


def _first_alert(scores: FloatArray, rewards: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rows of a window by falling score, and what each adds: the first alert in time counts, which is the one of most
    reward, since reward falls with time."""
    order = np.argsort(-scores, kind="stable")
    best = np.maximum.accumulate(rewards[order])
    return scores[order], np.diff(best, prepend=-_MISSED)


def _swept(files: Sequence[Alerts]) -> tuple[FloatArray, FloatArray]:
    """Every threshold that makes a difference, falling, and the raw score under each; the first raises no alert."""
    scores = np.concatenate([file.scores for file in files])
    order = np.argsort(-scores, kind="stable")
    scores, gains = scores[order], np.concatenate([file.gains for file in files])[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    silence = -_MISSED * sum(file.open for file in files)
    return np.append(np.inf, scores[last]), np.append(silence, silence + np.cumsum(gains)[last])


def _normalised(files: Sequence[Alerts], raw: float) -> float:
    silence, perfect = -_MISSED * sum(file.open for file in files), float(sum(file.windows for file in files))
    return 100.0 * (raw - silence) / (perfect - silence) if perfect > silence else float("nan")


def _best_threshold(files: Sequence[Alerts]) -> float:
    thresholds, raw = _swept(files)
    return float(thresholds[raw.argmax()])


def _raw(file: Alerts, threshold: float) -> float:
    return -_MISSED * file.open + float(file.gains[file.scores >= threshold].sum())


def best_score(files: Sequence[Alerts]) -> float:
    """The score under the threshold that is best for these very files: optimistic. NaN without a window."""
    return _normalised(files, float(_swept(files)[1].max()))


def cross_validated(files: Sequence[Alerts], folds: int = FOLDS) -> float:
    """The score of all ``files``, each under the threshold that is best for those of the other folds; the file at place
    ``i`` is in fold ``i % folds``. NaN where there are no windows, or fewer files than two."""
    folds = min(folds, len(files))
    if folds < 2:
        return float("nan")
    raw = 0.0
    for fold in range(folds):
        threshold = _best_threshold([file for i, file in enumerate(files) if i % folds != fold])
        raw += sum(_raw(file, threshold) for i, file in enumerate(files) if i % folds == fold)
    return _normalised(files, raw)
