"""The records of range novelty: a series' outermost readings on either side, and the compiled loops over them.

What it is for is told in ``range_novelty``. The lower side is the upper one of the values with their sign turned.
"""

from __future__ import annotations

import math

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["FARTHEST", "FLOOR", "KEPT", "run_records"]

#: Outermost readings kept per side and block.
KEPT = 9
#: The smallest width of a range, as a share of its level.
FLOOR = 1e-6
#: The largest score.
FARTHEST = 1e6
_REACH = 4.0
_HUGE = 1e150
_TINY = 1e-150


@inlined
def _edge(top: FloatArray, counts: FloatArray, side: int) -> float:
    """The outermost reading on a side. ``top`` is (blocks, sides, KEPT), ``counts`` the readings of each block."""
    edge = -math.inf
    for block in range(2):
        if counts[block] > 0.0:
            edge = max(edge, top[block, side, 0])
    return edge


@inlined
def _measure(top: FloatArray, counts: FloatArray, side: int, tail: FloatArray) -> None:
    """Into ``tail``: how many outermost readings (k), the next one below them, their mean excess over it."""
    k = min(KEPT - 1, int(counts[0] + counts[1]) - 1)
    first = second = 0
    mean = lowest = 0.0
    for place in range(k + 1):
        a = top[0, side, first] if first < min(int(counts[0]), KEPT) else -math.inf
        b = top[1, side, second] if second < min(int(counts[1]), KEPT) else -math.inf
        lowest = max(a, b)
        if a >= b:
            first += 1
        else:
            second += 1
        if place < k:
            mean += lowest / k
    tail[0], tail[1] = k, lowest
    tail[2] = max(mean - lowest, FLOOR * abs(lowest), _TINY)


@inlined
def _p_value(tail: FloatArray, n: float, y: float) -> float:
    """The p-value, one side watched, of ``y`` beyond the range of ``n`` readings."""
    k = tail[0]
    beyond = k / (n + 1.0) * math.exp(-k * math.log1p((y - tail[1]) / (k * tail[2])))
    p_value: float = max(min(1.0 / (n + 1.0), beyond), (n + 1.0) ** -_REACH)
    return p_value


@inlined
def _limit(tail: FloatArray, n: float, edge: float, level: float) -> float:
    """Where the p-value reaches ``level``: at the range's edge, or beyond it."""
    if level * (n + 1.0) >= 1.0:
        return edge
    k = tail[0]
    limit: float = tail[1] + k * tail[2] * math.expm1(math.log(k / ((n + 1.0) * level)) / k)
    return max(edge, limit)


@inlined
def _share_out(score: float, driver: int, contributions: FloatArray) -> None:
    """From surprises to shares of the score; all to the driver where nothing is surprising."""
    total = 0.0
    for j in range(len(contributions)):
        total += contributions[j]
    for j in range(len(contributions)):
        if total > 0.0:
            contributions[j] = score * (contributions[j] / total)
        else:
            contributions[j] = score if j == driver else 0.0


@inlined
def _score_row(
    tops: FloatArray,
    cells: FloatArray,
    x: FloatArray,
    options: tuple[int, int, float],
    tail: FloatArray,
    out: FloatArray,
    contributions: FloatArray,
    band: FloatArray,
) -> None:
    """One row: (score, p-value) into ``out``; ``band`` is (3, d): middle, lower, upper."""
    warm_up, _memory, level = options
    judged, driver = 0, -1
    out[0], out[1] = 0.0, 1.0
    for j in range(len(x)):
        top, counts = tops[j], cells[j]
        contributions[j] = 0.0
        band[:, j] = math.nan
        if counts[2] < warm_up:
            continue
        n = counts[0] + counts[1]
        value = min(max(float(x[j]), -_HUGE), _HUGE) if not math.isnan(x[j]) else math.nan
        high, low = _edge(top, counts, 0), -_edge(top, counts, 1)
        width = max(high - low, FLOOR * max(abs(high), abs(low)), _TINY)
        band[0, j] = 0.5 * low + 0.5 * high
        p, far = 1.0, 0.0
        for side in range(2):
            sign = 1.0 - 2.0 * side
            edge = high if side == 0 else -low
            _measure(top, counts, side, tail)
            band[2 - side, j] = sign * _limit(tail, n, edge, 0.5 * level)
            if sign * value > edge:
                p, far = min(2.0 * _p_value(tail, n, sign * value), 1.0), sign * value - edge
        if math.isnan(value):
            continue
        judged += 1
        contributions[j] = -math.log(p)
        if driver < 0 or p < out[1]:
            out[0], out[1], driver = min(far / width, FARTHEST), p, j
    if judged > 0:
        out[1] = min(1.0, judged * out[1])
        _share_out(out[0], driver, contributions)


@inlined
def _learn(top: FloatArray, counts: FloatArray, x: float, memory: int) -> None:
    """Keep ``x`` where it is among the outermost. Block 0 is filled; a full one takes the place of block 1."""
    value = min(max(x, -_HUGE), _HUGE)
    if memory > 0 and counts[0] >= memory:
        for side in range(2):
            for i in range(KEPT):
                top[1, side, i] = top[0, side, i]
        counts[1] = counts[0]
        counts[0] = 0.0
    kept = min(int(counts[0]), KEPT)
    for side in range(2):
        y = value if side == 0 else -value
        place = kept
        while place > 0 and top[0, side, place - 1] < y:
            if place < KEPT:
                top[0, side, place] = top[0, side, place - 1]
            place -= 1
        if place < KEPT:
            top[0, side, place] = y
    counts[0] += 1.0
    counts[2] += 1.0


@bare_kernel
def run_records(
    tops: FloatArray,
    cells: FloatArray,
    seen: IntArray,
    slots: IntArray,
    values: FloatArray,
    learning: bool,
    options: tuple[int, int, float],
    tail: FloatArray,
    out: FloatArray,
    seen_before: IntArray,
    contributions: FloatArray,
    band: FloatArray,
) -> None:
    """Rows in order: scored where ``out`` has room, learnt where ``learning``. ``options``: (warm-up, memory,
    1 - band); ``tail`` (3,) is to work in."""
    scoring = len(out) > 0
    for i in range(len(slots)):
        slot = slots[i]
        if scoring:
            seen_before[i] = seen[slot]
            _score_row(tops[slot], cells[slot], values[i], options, tail, out[i], contributions[i], band[:, i])
        if learning:
            for j in range(values.shape[1]):
                if not math.isnan(values[i, j]):
                    _learn(tops[slot, j], cells[slot, j], float(values[i, j]), options[1])
            seen[slot] += 1
