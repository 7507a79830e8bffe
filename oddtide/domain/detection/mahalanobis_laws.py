"""The laws of a squared distance: how many sigmas it is worth, and how often it turns up.

For ``k`` Gaussian features whose mean and covariance are known it follows the chi-square law with ``k`` degrees of
freedom; for a reference worth ``n`` independent readings, Hotelling's: ``T2 (n - k) / (k n)`` follows F(k, n - k)
nearly. Both tails are computed in logarithms, by the continued fractions of the incomplete gamma and beta functions
(Lentz's method; Press et al., Numerical Recipes, chapter 6), so that neither underflows.
"""

from __future__ import annotations

import math

from oddtide.domain.readings import FloatArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["apply_laws"]

_SMALLEST_P = 1e-300
_TINY = 1e-300
_STEPS = 300
_ENOUGH = 1e-14
#: From here on the number of features alters nothing that could be seen.
_FAR = 1e9
_SQRT_HALF = math.sqrt(0.5)
_LOG_HALF_PI = math.log(math.pi / 2.0)
#: Degrees of freedom that any reference is credited with: fewer would make the tail useless.
_FEWEST = 4.0


@inlined
def _log_chi_square_tail(square: float, k: float) -> float:
    """``log P(chi2_k > square)``."""
    a, x = 0.5 * k, 0.5 * square
    if x <= 0.0:
        return 0.0
    front = a * math.log(x) - x - math.lgamma(a)
    if x < a + 1.0:
        term = total = 1.0 / a
        for i in range(1, _STEPS):
            term *= x / (a + i)
            total += term
            if term < _ENOUGH * total:
                break
        return math.log(max(1.0 - total * math.exp(front), _TINY))
    b = x + 1.0 - a
    c, d = 1.0 / _TINY, 1.0 / b
    h = d
    for i in range(1, _STEPS):
        step = -i * (i - a)
        b += 2.0
        d = step * d + b
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = b + step / c
        c = c if abs(c) > _TINY else _TINY
        h *= d * c
        if abs(d * c - 1.0) < _ENOUGH:
            break
    return front + math.log(h)


@inlined
def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function."""
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    h = d
    for i in range(1, _STEPS):
        for odd in range(2):
            if odd == 0:
                step = i * (b - i) * x / ((a + 2.0 * i - 1.0) * (a + 2.0 * i))
            else:
                step = -(a + i) * (a + b + i) * x / ((a + 2.0 * i) * (a + 2.0 * i + 1.0))
            d = 1.0 + step * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + step / c
            c = c if abs(c) > _TINY else _TINY
            h *= d * c
        if abs(d * c - 1.0) < _ENOUGH:
            break
    return h


@inlined
def _hotelling_tail(square: float, k: float, worth: float) -> float:
    """``P(T2 > square)`` for a reference worth ``worth`` independent readings."""
    free = max(worth - k, _FEWEST)
    size = max(worth, free + k)
    x, y = size / (size + square), square / (size + square)
    if y <= 0.0:
        return 1.0
    a, b = 0.5 * free, 0.5 * k
    front = a * math.log(x) + b * math.log(y) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    if x < (a + 1.0) / (a + b + 2.0):
        p = math.exp(max(front + math.log(_fraction(a, b, x) / a), -690.0))
    else:
        p = 1.0 - math.exp(front) * _fraction(b, a, y) / b
    return min(max(p, _SMALLEST_P), 1.0)


@inlined
def _log_two_sided(z: float) -> float:
    """``log erfc(z / sqrt 2)``."""
    if z < 30.0:
        return math.log(math.erfc(z * _SQRT_HALF))
    r = 1.0 / (z * z)
    return -0.5 * z * z - 0.5 * _LOG_HALF_PI - math.log(z) + math.log1p(-r + 3.0 * r * r)


@inlined
def _sigmas(square: float, k: float) -> float:
    """How many sigmas of one Gaussian feature are as rare as ``square`` of ``k``: both tails are equal. Starts from
    the approximation 26.2.23 of Abramowitz and Stegun (1964) and takes three of Newton's steps."""
    if k == 1.0 or square > _FAR:
        return math.sqrt(square)
    log_p = _log_chi_square_tail(square, k)
    t = math.sqrt(2.0 * (math.log(2.0) - log_p))
    top = 2.515517 + t * (0.802853 + t * 0.010328)
    z = max(t - top / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))), 1e-9)
    for _ in range(3):
        log_tail = _log_two_sided(z)
        slope = math.exp(min(-0.5 * z * z - 0.5 * _LOG_HALF_PI - log_tail, 600.0))
        z = max(z + (log_tail - log_p) / slope, 1e-9)
    return z


@bare_kernel
def apply_laws(found: FloatArray, out: FloatArray) -> None:
    """``found`` (n, 5) as ``run_space`` gives it; ``out`` (n, 2): sigmas (NaN: none), Hotelling's p-value (1: none)."""
    for i in range(len(found)):
        square, k = found[i, 0], found[i, 1]
        if math.isnan(square):
            out[i, 0], out[i, 1] = math.nan, 1.0
        else:
            out[i, 0] = _sigmas(square, k)
            out[i, 1] = _hotelling_tail(square / found[i, 3], k, found[i, 2])
