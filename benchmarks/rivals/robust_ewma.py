"""The project's default detector, one reading at a time in plain Python: what the rivals' programs score with.

The same arithmetic as ``oddtide/domain/detection/ewma_chart.py`` for one feature with default settings; a test holds
the two together. Frameworks that hand over one event at a time gain nothing from columns, and calling a compiled kernel
per reading costs them more than this does.
"""

from __future__ import annotations

import math

__all__ = ["RobustEwma"]

_ALPHA, _WARM_UP, _CLIP = 0.02, 30, 3.0
_FLOOR, _FARTHEST, _HUGE, _TINY, _SMALLEST_P = 1e-6, 1e6, 1e150, 1e-150, 1e-300
_SQRT_HALF = math.sqrt(0.5)
_PEAK = 3.0
_RATE_0 = math.erfc(_PEAK * _SQRT_HALF)
_EXCESS_0, _RATE_ALPHA, _RATE_PRIOR = 0.3, 0.002, 100.0
_EXCESS_ALPHA, _EXCESS_PRIOR, _EXCESS_CLIP = 0.05, 5.0, 10.0
_BODY, _BODY_SHARE, _BODY_DENSITY = 1.959964, 0.05, 0.229
_STRETCH_ALPHA, _STRETCH_PRIOR = 0.002, 100.0


class RobustEwma:
    """One series. ``step`` scores a value by what came before it, then learns it."""

    __slots__ = ("count", "excess", "mean", "peaks", "rate", "streak", "stretch", "variance")

    def __init__(self) -> None:
        self.mean = self.variance = self.peaks = self.streak = self.stretch = 0.0
        self.rate, self.excess, self.count = _RATE_0, _EXCESS_0, 0

    def step(self, value: float) -> tuple[float, float]:
        """(score in sigmas, p-value); (0, 1) while warming up."""
        value = min(max(value, -_HUGE), _HUGE)
        if self.count == 0:
            self.mean, self.count = value, 1
            return 0.0, 1.0
        step, z, p = value - self.mean, 0.0, 1.0
        if self.count >= _WARM_UP:
            scale = max(math.sqrt(self.variance), _FLOOR * abs(self.mean), _TINY)
            z = min(abs(step) / scale, _FARTHEST)
            stretched = z / math.exp(self.stretch)
            tail = self.rate if stretched <= _PEAK else self.rate * math.exp(-(stretched - _PEAK) / self.excess)
            p = max(math.erfc(stretched * _SQRT_HALF), tail, _SMALLEST_P)
            self._learn_tail(z)
            limit = _CLIP * scale * 2.0 ** min(self.streak, 60.0)
            step = min(max(step, -limit), limit)
            self.streak = self.streak + 1.0 if z > _CLIP else 0.0
        weight = max(_ALPHA, 1.0 / (self.count + 1.0))
        self.mean += weight * step
        self.variance = (1.0 - weight) * (self.variance + weight * step * step)
        self.count += 1
        return z, p

    def _learn_tail(self, z: float) -> None:
        age = self.count - _WARM_UP
        z *= math.exp(-self.stretch)
        gain = max(_STRETCH_ALPHA, 1.0 / (_BODY_DENSITY * age + _STRETCH_PRIOR))
        self.stretch = min(max(self.stretch + gain * ((z > _BODY) - _BODY_SHARE), -2.0), 4.0)
        weight = max(_RATE_ALPHA, 1.0 / (age + _RATE_PRIOR))
        self.rate = max(self.rate + weight * ((1.0 if z > _PEAK else 0.0) - self.rate), 0.1 * _RATE_0)
        if z > _PEAK:
            self.peaks += 1.0
            excess = min(z - _PEAK, _EXCESS_CLIP * self.excess)
            weight = max(_EXCESS_ALPHA, 1.0 / (self.peaks + _EXCESS_PRIOR))
            self.excess = max(self.excess + weight * (excess - self.excess), _EXCESS_0)
