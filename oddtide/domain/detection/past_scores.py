"""The past scores of a series: the state that ``calibration`` keeps of them, and the compiled loops that grade by it.

What it is for, what is promised and what was measured is told in ``calibration``. Three arrays a series: the *body*, an
even sample in ascending order; the *peaks*, the largest score of each recent run beyond a threshold, ascending; and
numbers, with the fitted tail behind them. Scores are kept in single precision and compared as such.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["BODY", "NUMBERS", "PEAKS", "grade_by_past", "grade_by_sample"]

SmallFloats: TypeAlias = NDArray[np.float32]

#: Scores in the body; peaks, with room for one more while the smallest is put out.
BODY, PEAKS = 128, 65
# Scores learnt, and for how many they count; log2 of how many one in the body stands for; how many are in body and
# peaks; the tail's threshold, and readings beyond it; of the run under way its length, readings since it was last
# beyond the threshold, its largest score; how often half of the body was let go; the scale of the fitted tail;
# whether the last score learnt, or held back, was strange.
(_LEARNT, _WORTH, _STRIDE, _FILLED, _KEPT, _THRESHOLD, _BEYOND, _RUN, _GAP, _TOP, _HALVED, _SCALE, _HELD) = range(13)
# Behind them, for each shape: the sum of the peaks' logarithms, its weight.
_FIT = 13
# Shapes of a generalised Pareto tail, heavy above 0, and a normal prior over them.
_SHAPES = (-0.3, -0.2, -0.1, 0.02, 0.1, 0.2, 0.33, 0.5, 0.8)
_LIKELY_SHAPE, _SHAPE_DOUBT = -0.05, 0.2
#: How many numbers that is.
NUMBERS = _FIT + 2 * len(_SHAPES)

#: As many peaks are wanted, or one in so many readings where that is more; below a few the tail is set anew.
_WANTED, _READINGS_PER_PEAK, _FEW = 8, 16.0, 4
#: The tail of a fixed sample goes through so many of it at most.
_MOST_OF_SAMPLE = 512
#: A run ends after so many readings below the threshold, or a quarter of the usual time between those beyond it.
_APART, _LONGEST_RUN = 8.0, 16.0
#: A peak counts for at most the score that would come once in so many times the past; found by so many halvings.
_ONCE_IN, _HALVINGS = 4.0, 40
#: Where more than this share of readings is beyond the threshold, it is set anew.
_LARGEST_TAIL = 0.25
#: The body is believed against the tail where so many of it are at least as large.
_CREDIBLE = 4.0
#: The past counts for at most this share of the series' life, once it is longer than so many scores.
_RECENT, _YOUNG = 0.6, 256.0
_FLOOR = 1e-6
_LARGEST, _TINY = 1e38, 1e-38
_REACH = 4.0

_GOLDEN, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_R30, _R27, _R31, _ONE = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(1)


@inlined
def _mixed(counter: np.uint64) -> np.uint64:
    """SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): random bits of a counter."""
    bits = counter * _GOLDEN
    bits = (bits ^ (bits >> _R30)) * _FIRST
    bits = (bits ^ (bits >> _R27)) * _SECOND
    return np.uint64(bits ^ (bits >> _R31))


@inlined
def _fit(peaks: FloatArray | SmallFloats, k: int, threshold: float, fit: FloatArray) -> float:
    """The posterior over shapes of a tail through the first ``k`` of ``peaks``, ascending; returns its scale, their
    mean excess. With ``theta`` the ratio of shape to scale and ``S`` the sum of ``log(1 + theta excess)``, what the
    likelihood leaves once the shape is integrated out (with odds by its inverse) is ``(theta / S)**k exp(-S)``."""
    shapes, mean, best, total = len(_SHAPES), 0.0, -math.inf, 0.0
    for i in range(k):
        mean += (peaks[i] - threshold) / k
    scale: float = max(mean, _FLOOR * abs(threshold), _TINY)
    for j in range(shapes):
        theta, doubt = _SHAPES[j] / (1.0 - _SHAPES[j]), (_SHAPES[j] - _LIKELY_SHAPE) / _SHAPE_DOUBT
        found, log_weight = max(k, 1) * math.log1p(theta), -0.5 * doubt * doubt
        if mean == scale and 1.0 + theta * ((peaks[k - 1] - threshold) / scale) < 1e-3:
            log_weight = -math.inf  # a tail of this shape would have ended before
        elif mean == scale:
            product, found = 1.0, 0.0
            for i in range(k):
                product *= 1.0 + theta * ((peaks[i] - threshold) / scale)
                if not 1e-100 < product < 1e100:
                    found += math.log(product)
                    product = 1.0
            found += math.log(product)
            log_weight += k * math.log(theta / found) - found
        fit[j], fit[shapes + j] = found, log_weight
        best = max(best, log_weight)
    for j in range(shapes, 2 * shapes):
        fit[j] = math.exp(fit[j] - best)
        total += fit[j]
    for j in range(shapes, 2 * shapes):
        fit[j] /= total
    return scale


@inlined
def _beyond(excess: float, k: int, scale: float, fit: FloatArray) -> float:
    """The share of a tail through ``k`` peaks that lies beyond ``excess``: predictive, over shapes and scales."""
    share = 0.0
    for j in range(len(_SHAPES)):
        factor = 1.0 + _SHAPES[j] / (1.0 - _SHAPES[j]) * (excess / scale)
        if factor > 0.0:
            share += fit[len(_SHAPES) + j] * math.exp(-max(k, 1) * math.log1p(math.log(factor) / fit[j]))
    return share


@inlined
def _tempered(p: float, worth: float) -> float:
    """Where ``p`` is below what so many scores can tell, its surprise beyond that counts by its logarithm."""
    surprise, reach = -math.log10(max(p, 1e-300)), _REACH * math.log10(worth + 1.0)
    return p if surprise <= reach else 10.0 ** -(reach + math.log10(1.0 + surprise - reach))


@inlined
def _smaller(ordered: FloatArray | SmallFloats, n: int, score: float) -> int:
    """How many of the first ``n``, ascending, are smaller."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < score:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _in_body(body: SmallFloats, n: int, score: float, threshold: float, top: float) -> float:
    """The p-value by the body: where several are alike that many count, else it lies between what those on either side
    would have; above them all between the last one and the tail, which begins at ``threshold`` with ``top``."""
    place = _smaller(body, n, score)
    larger, among = n - place, n + 1.0
    if place == 0:
        return 1.0
    last = np.float64(body[place - 1])
    if larger > 0:
        tied = larger > 1 and body[place] == body[place + 1]
        part = (body[place] - score) / (body[place] - last)
        return (larger + 1.0) / among if tied else larger * math.exp(part * math.log1p(1.0 / larger)) / among
    if top * among >= 1.0 or threshold <= last:
        return 1.0 / among
    return math.exp(math.log(top * among) * min((score - last) / (threshold - last), 1.0)) / among


@inlined
def _p_value(body: SmallFloats, own: FloatArray, score: float) -> float:
    n, threshold = int(own[_FILLED]), own[_THRESHOLD]
    top: float = min((own[_BEYOND] + 1.0) / (own[_WORTH] + 1.0), 1.0)
    if score <= threshold:
        return max(_in_body(body, n, score, threshold, top), top)
    p = _tempered(top * _beyond(score - threshold, int(own[_KEPT]), own[_SCALE], own[_FIT:]), own[_WORTH])
    by_body = _in_body(body, n, score, threshold, top)
    return max(p, by_body) if by_body * (n + 1.0) >= _CREDIBLE else p


@inlined
def _insert(ordered: SmallFloats, n: int, score: float) -> None:
    place = n
    while place > 0 and ordered[place - 1] > score:
        ordered[place] = ordered[place - 1]
        place -= 1
    ordered[place] = score


@inlined
def _halve(ordered: SmallFloats, n: int, turn: int) -> int:
    """Let go of one of each two neighbours, the larger and the smaller by turns: ranks stay what they are, nearly."""
    kept = n // 2
    for i in range(kept):
        ordered[i] = ordered[2 * i + (i + turn) % 2]
    if n % 2 == 1 and turn % 2 == 1:
        ordered[kept] = ordered[n - 1]
        kept += 1
    return kept


@inlined
def _set_threshold(body: SmallFloats, peaks: SmallFloats, own: FloatArray) -> None:
    """Begin the tail anew, with the largest of the body."""
    n = int(own[_FILLED])
    own[_THRESHOLD] = body[n - 1 - max(n // 8, min(_WANTED, n // 4))]
    kept = 0
    for i in range(n):
        if body[i] > own[_THRESHOLD]:
            peaks[kept] = body[i]
            kept += 1
    own[_KEPT], own[_RUN] = kept, 0.0
    own[_BEYOND] = kept * own[_WORTH] / n
    own[_SCALE] = _fit(peaks, kept, own[_THRESHOLD], own[_FIT:])


@inlined
def _forget(peaks: SmallFloats, own: FloatArray) -> None:
    """All that is known counts half."""
    own[_WORTH] *= 0.5
    own[_BEYOND] *= 0.5
    own[_KEPT] = _halve(peaks, int(own[_KEPT]), int(own[_HALVED]))
    own[_SCALE] = _fit(peaks, int(own[_KEPT]), own[_THRESHOLD], own[_FIT:])


@inlined
def _sample(body: SmallFloats, peaks: SmallFloats, own: FloatArray, score: float, memory: float) -> bool:
    """Put the score into the body if it is its block's turn, making room; true if that made all forget."""
    stride, learnt = np.uint64(own[_STRIDE]), np.uint64(own[_LEARNT])
    within = (_ONE << stride) - _ONE
    if learnt & within != _mixed(learnt >> stride) & within:
        return False
    forgets = False
    if int(own[_FILLED]) == len(body):
        own[_FILLED] = _halve(body, len(body), int(own[_HALVED]))
        own[_HALVED] += 1.0
        forgets = own[_WORTH] >= min(memory, max(_YOUNG, _RECENT * own[_LEARNT]))
        if forgets:
            _forget(peaks, own)
        else:
            own[_STRIDE] += 1.0
    _insert(body, int(own[_FILLED]), score)
    own[_FILLED] += 1.0
    return forgets


@inlined
def _capped(own: FloatArray, top: float) -> float:
    """What a peak counts for at most, by the tail that is known."""
    kept, scale = int(own[_KEPT]), own[_SCALE]
    least = (own[_WORTH] + 1.0) / ((own[_BEYOND] + 1.0) * _ONCE_IN * own[_WORTH])
    low, high = 0.0, top - own[_THRESHOLD]
    if _beyond(high, kept, scale, own[_FIT:]) >= least:
        return top
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if _beyond(middle, kept, scale, own[_FIT:]) >= least:
            low = middle
        else:
            high = middle
    capped: float = own[_THRESHOLD] + high
    return capped


@inlined
def _end_run(peaks: SmallFloats, own: FloatArray) -> None:
    """The largest of a run becomes a peak; where they are too many the smallest is the threshold from here on."""
    kept, top = int(own[_KEPT]), own[_TOP]
    if kept >= _FEW:
        top = _capped(own, top)
    own[_RUN] = 0.0
    _insert(peaks, kept, top)
    kept += 1
    while kept > min(max(float(_WANTED), own[_WORTH] / _READINGS_PER_PEAK), len(peaks) - 1.0):
        own[_THRESHOLD] = peaks[0]
        kept -= 1
        for i in range(kept):
            peaks[i] = peaks[i + 1]
        own[_BEYOND] *= kept / (kept + 1.0)
    own[_KEPT] = kept


@inlined
def _follow_run(own: FloatArray, score: float) -> bool:
    """Count a score beyond the threshold, or after one; true where that ends the run."""
    if score > own[_THRESHOLD]:
        own[_TOP] = max(own[_TOP], score) if own[_RUN] > 0.0 else score
        own[_GAP] = 0.0
        own[_BEYOND] += 1.0
    elif own[_RUN] == 0.0:
        return False
    else:
        own[_GAP] += 1.0
    own[_RUN] += 1.0
    apart = min(_APART, 0.25 * own[_WORTH] / (own[_BEYOND] + 1.0))
    return bool(own[_GAP] >= apart or own[_RUN] >= _LONGEST_RUN)


@inlined
def _learn(body: SmallFloats, peaks: SmallFloats, own: FloatArray, score: float, first: int, memory: float) -> None:
    forgot = _sample(body, peaks, own, score, memory)
    own[_LEARNT] += 1.0
    own[_WORTH] += 1.0
    if own[_LEARNT] < first:
        return
    ended = own[_LEARNT] > first and _follow_run(own, score)
    if ended:
        _end_run(peaks, own)
    if own[_LEARNT] == first or own[_BEYOND] > _LARGEST_TAIL * own[_WORTH] + _WANTED or (forgot and own[_KEPT] < _FEW):
        _set_threshold(body, peaks, own)
    elif ended:
        own[_SCALE] = _fit(peaks, int(own[_KEPT]), own[_THRESHOLD], own[_FIT:])


@inlined
def _held_back(own: FloatArray, strange: bool) -> bool:
    """Whether a score is not learnt since it is strange and one of its run was."""
    before, own[_HELD] = own[_HELD] > 0.0, 1.0 if strange else 0.0
    return strange and before


@bare_kernel
def grade_by_past(
    bodies: SmallFloats,
    peaks: SmallFloats,
    numbers: FloatArray,
    slots: IntArray,
    scores: FloatArray,
    options: tuple[int, int, float, float],
    learning: NDArray[np.bool_],
    out: FloatArray,
) -> None:
    """Rows in order: a p-value into ``out`` (left as it is where too few are known), then learnt where ``learning``.
    NaN: p 1, not learnt. ``options``: scores needed, scores after which the tail is set, scores that count at most, the
    p-value below which of scores in a row one is learnt."""
    minimum, first, memory, held = options
    for i in range(len(slots)):
        if math.isnan(scores[i]):
            out[i] = 1.0
            continue
        slot, score = slots[i], np.float64(np.float32(min(max(scores[i], -_LARGEST), _LARGEST)))
        if numbers[slot, _LEARNT] >= minimum:
            out[i] = _p_value(bodies[slot], numbers[slot], score)
        if learning[i] and not _held_back(numbers[slot], out[i] < held):
            _learn(bodies[slot], peaks[slot], numbers[slot], score, first, memory)


@bare_kernel
def grade_by_sample(ordered: FloatArray, scores: FloatArray, fit: FloatArray, out: FloatArray) -> None:
    """``out`` (n,): p-values of ``scores`` against at least 2 others, ascending. ``fit`` is room to work in."""
    n = len(ordered)
    k = min(max(_WANTED, n // 16), _MOST_OF_SAMPLE, n - 1)
    threshold = ordered[n - k - 1]
    scale = _fit(ordered[n - k :], k, threshold, fit)
    for i in range(len(scores)):
        smaller = _smaller(ordered, n, scores[i])
        out[i] = (1.0 + n - smaller) / (n + 1.0)
        if smaller == n:
            tail = (k + 1.0) / (n + 1.0) * _beyond(scores[i] - threshold, k, scale, fit)
            out[i] = min(out[i], _tempered(tail, float(n)))
