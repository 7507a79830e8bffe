"""What ``calibration`` says in its docstring, in plain numpy: one series, no regard for speed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SHAPES = np.array([-0.3, -0.2, -0.1, 0.02, 0.1, 0.2, 0.33, 0.5, 0.8])
THETA = SHAPES / (1.0 - SHAPES)
_MASK = 2**64 - 1


def predictive(excesses: list[float], level: float, excess: float) -> float:
    """How probable an excess of at least ``excess`` is after ``excesses`` over a threshold at ``level``."""
    k, mean = len(excesses), float(np.mean(excesses)) if excesses else 0.0
    scale, log_odds = max(mean, 1e-6 * abs(level), 1e-38), -0.5 * ((SHAPES + 0.05) / 0.2) ** 2
    sums = max(k, 1) * np.log1p(THETA)
    if mean >= scale:
        inside = 1.0 + np.outer(THETA, np.array(excesses) / scale)
        possible = inside.min(axis=1) >= 1e-3
        sums[possible] = np.log(inside[possible]).sum(axis=1)
        log_odds = np.where(possible, log_odds + k * np.log(THETA / sums) - sums, -math.inf)
    odds = np.exp(log_odds - log_odds.max())
    left = 1.0 + THETA * (excess / scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        beyond = np.where(left > 0.0, (1.0 + np.log(left) / sums) ** -float(max(k, 1)), 0.0)
    return float((odds * beyond).sum() / odds.sum())


def tempered(p: float, worth: float) -> float:
    surprise, reach = -math.log10(p), 4.0 * math.log10(worth + 1.0)
    return p if surprise <= reach else 10.0 ** -(reach + math.log10(1.0 + surprise - reach))


def thinned(ordered: list[float], turn: int) -> list[float]:
    """One of each pair of neighbours, the larger or the smaller by turns; of an odd one left over every other time."""
    pairs = len(ordered) // 2
    kept = [ordered[2 * i + (i + turn) % 2] for i in range(pairs)]
    return kept + ordered[2 * pairs :] if turn % 2 else kept


def random_bits(counter: int) -> int:
    """SplitMix64."""
    bits = counter * 0x9E3779B97F4A7C15 & _MASK
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _MASK
    return bits ^ bits >> 31


class PastScores:
    def __init__(self, memory: int, minimum: int) -> None:
        self.memory, self.minimum, self.first = memory, minimum, min(minimum, 32)
        self.body: list[float] = []
        self.peaks: list[float] = []
        self.run: list[float] = []
        self.threshold = self.worth = self.beyond = 0.0
        self.learnt = self.stride = self.halved = self.gap = 0

    def grade(self, score: float) -> float:
        if self.learnt < self.minimum:
            return 1.0
        score = float(np.float32(score))
        top = min((self.beyond + 1.0) / (self.worth + 1.0), 1.0)
        by_body = self._by_body(score, top)
        if score <= self.threshold:
            return max(by_body, top)
        excesses = [peak - self.threshold for peak in self.peaks]
        p = tempered(top * predictive(excesses, self.threshold, score - self.threshold), self.worth)
        return max(p, by_body) if by_body * (len(self.body) + 1) >= 4.0 else p

    def _by_body(self, score: float, top: float) -> float:
        among = len(self.body) + 1
        above = [each for each in self.body if each >= score]
        below = [each for each in self.body if each < score]
        if not below:
            return 1.0
        if above:
            part = (above[0] - score) / (above[0] - below[-1])
            tied = above.count(above[0]) > 1
            return (len(above) + 1) / among if tied else len(above) * (1.0 + 1.0 / len(above)) ** part / among
        if top * among >= 1.0 or self.threshold <= below[-1]:
            return 1.0 / among
        return float((top * among) ** min((score - below[-1]) / (self.threshold - below[-1]), 1.0) / among)

    def learn(self, score: float) -> None:
        score = float(np.float32(score))
        forgot = self._sample(score)
        self.learnt += 1
        self.worth += 1.0
        if self.learnt == self.first:
            self._set_threshold()
        elif self.learnt > self.first:
            self._follow(score)
            few = forgot and len(self.peaks) < 4
            if few or self.beyond > 0.25 * self.worth + 8:
                self._set_threshold()

    def _sample(self, score: float) -> bool:
        block = 2**self.stride
        if self.learnt % block != random_bits(self.learnt // block) % block:
            return False
        forgets = False
        if len(self.body) == min(128, self.memory):
            self.body = thinned(self.body, self.halved)
            self.halved += 1
            forgets = self.worth >= min(self.memory, max(256.0, 0.6 * self.learnt))
            if forgets:
                self.worth, self.beyond = self.worth / 2, self.beyond / 2
                self.peaks = thinned(self.peaks, self.halved)
            else:
                self.stride += 1
        self.body = sorted([*self.body, score])
        return forgets

    def _set_threshold(self) -> None:
        n = len(self.body)
        self.threshold = self.body[n - 1 - max(n // 8, min(8, n // 4))]
        self.peaks = [each for each in self.body if each > self.threshold]
        self.beyond = len(self.peaks) * self.worth / n
        self.run = []

    def _follow(self, score: float) -> None:
        if score > self.threshold:
            self.beyond, self.gap = self.beyond + 1, 0
        elif not self.run:
            return
        else:
            self.gap += 1
        self.run.append(score)
        apart = min(8.0, 0.25 * self.worth / (self.beyond + 1))
        if self.gap < apart and len(self.run) < 16:
            return
        peak, self.run = max(self.run), []
        if len(self.peaks) >= 4:
            peak = self._capped(peak)
        self.peaks = sorted([*self.peaks, float(np.float32(peak))])
        while len(self.peaks) > min(max(8.0, self.worth / 16.0), 64.0):
            self.threshold = self.peaks.pop(0)
            self.beyond *= len(self.peaks) / (len(self.peaks) + 1)

    def _capped(self, peak: float) -> float:
        least = (self.worth + 1) / ((self.beyond + 1) * 4.0 * self.worth)
        excesses = [each - self.threshold for each in self.peaks]
        low, high = 0.0, peak - self.threshold
        if predictive(excesses, self.threshold, high) >= least:
            return peak
        for _ in range(40):
            middle = (low + high) / 2
            if predictive(excesses, self.threshold, middle) >= least:
                low = middle
            else:
                high = middle
        return self.threshold + high


def by_sample(ordered: NDArray[np.float64], score: float) -> float:
    """The p-value against a fixed sample."""
    n = len(ordered)
    larger = int((ordered >= score).sum())
    if larger:
        return (1 + larger) / (n + 1)
    k = min(max(8, n // 16), 512, n - 1)
    level = float(ordered[n - k - 1])
    tail = (k + 1) / (n + 1) * predictive((ordered[n - k :] - level).tolist(), level, score - level)
    return min(1 / (n + 1), tempered(tail, n))
