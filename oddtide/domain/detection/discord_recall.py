"""What ``discord`` compares a reading with: the nearest earlier pattern, in plain numpy, where somebody asks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.ports import Pattern
from oddtide.domain.readings import FloatArray

__all__ = ["nearest_pattern"]


def nearest_pattern(
    feature: str,
    past: NDArray[np.float32],
    filled: FloatArray,
    sums: FloatArray,
    count: int,
    value: float,
    shingle: int,
) -> Pattern | None:
    """The pattern nearest to the newest one at the scale where that is furthest from all; None where too little is
    known. ``past`` (scales, history) of which ``filled`` (scales,) are in use, ``sums`` (scales,) of the blocks under
    way, ``count`` values so far; all of it, and ``value``, relative to the anchor; so is what comes back."""
    found: Pattern | None = None
    for scale in range(len(past)):
        values, late = past[scale, : int(filled[scale])].astype(np.float64), (count + 1) % (1 << scale)
        if not late:
            values = np.append(values, (sums[scale] + value) / (1 << scale))
        if len(values) < 2 * shingle:
            continue
        now = values[-shingle:]
        earlier = np.lib.stride_tricks.sliding_window_view(values[: len(values) - shingle + 1], shingle)[:-1]
        if not len(earlier):
            continue
        moved = (earlier - earlier.mean(axis=1, keepdims=True)) - (now - now.mean())
        distances = np.sqrt((moved * moved).mean(axis=1))
        best = len(distances) - 1 - int(distances[::-1].argmin())
        if found is None or distances[best] > found.distance:
            ago = (len(values) - shingle - best) << scale
            found = Pattern(
                feature, tuple(now.tolist()), tuple(earlier[best].tolist()), ago, 1 << scale, float(distances[best])
            )
    return found
