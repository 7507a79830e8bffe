"""Decimal numbers to doubles, correctly rounded. Compiled.

A small mantissa and a small power of ten are one exact multiplication or division (Clinger 1990, "How to read floating
point numbers accurately"). The others go the way of Eisel and Lemire (Lemire 2021, "Number parsing at a gigabyte per
second"): one or two 64-bit products with a table of powers of five. What that cannot decide, and what is too large or
too small for a normal double, is left to whoever called.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = ["to_doubles"]

#: The exponents that the table has.
_LOWEST, _HIGHEST = -342, 308


def _power_of_five(exponent: int) -> int:
    """The leading 128 bits of 5**exponent, cut; of a reciprocal rounded up."""
    if exponent >= 0:
        power: int = 5**exponent
        return power << 128 - power.bit_length() if power.bit_length() <= 128 else power >> power.bit_length() - 128
    power = 5**-exponent
    bits = power.bit_length()
    reciprocal = (1 << bits + (127 if exponent >= -27 else 128 + bits)) // power + 1
    return reciprocal >> max(0, reciprocal.bit_length() - 128)


def _powers() -> NDArray[np.uint64]:
    every = [_power_of_five(exponent) for exponent in range(_LOWEST, _HIGHEST + 1)]
    return np.array([[power >> 64, power & (1 << 64) - 1] for power in every], dtype=np.uint64)


#: (exponents, 2): high and low half of each power.
_POWERS: Final = _powers()

#: The powers of ten that a double holds exactly.
_EXACT = np.array([10.0**exponent for exponent in range(23)])
_MOST_EXACT = 22
_LARGEST_EXACT = 1 << 53
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@inlined
def _product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """High and low half of the 128-bit product."""
    low = (a & _LOW) * (b & _LOW)
    cross, other, high = (a & _LOW) * (b >> _HALF), (a >> _HALF) * (b & _LOW), (a >> _HALF) * (b >> _HALF)
    middle = (low >> _HALF) + (cross & _LOW) + (other & _LOW)
    high = high + (cross >> _HALF) + (other >> _HALF) + (middle >> _HALF)
    return high, middle << _HALF | low & _LOW


@inlined
def _leading_zeros(number: np.uint64) -> int:
    zeros = 0
    width = 32
    while width > 0:
        if number >> np.uint64(64 - width) == 0:
            zeros += width
            number = number << np.uint64(width)
        width //= 2
    return zeros


@inlined
def _scaled(digits: np.uint64, exponent: int) -> tuple[np.uint64, np.uint64]:
    """The normalised digits times the power of five: 128 bits of it, as precise as rounding needs."""
    high, low = _product(digits, _POWERS[exponent - _LOWEST, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        further, _ = _product(digits, _POWERS[exponent - _LOWEST, 1])
        low = low + further
        if low < further:
            high = high + np.uint64(1)
    return high, low


@inlined
def _bits(mantissa: int, exponent: int) -> np.uint64:
    """The bits of the double nearest to a positive number; 0 where this cannot tell."""
    unsure = np.uint64(0)
    zeros = _leading_zeros(np.uint64(mantissa))
    high, low = _scaled(np.uint64(mantissa) << np.uint64(zeros), exponent)
    if low == np.uint64(0xFFFFFFFFFFFFFFFF) and not -27 <= exponent <= 55:
        return unsure
    upper = high >> np.uint64(63)
    shift = upper + np.uint64(9)
    number = high >> shift
    power = ((217_706 * exponent) >> 16) + 63 + np.int64(upper) - zeros + 1023
    if not 0 < power < 0x7FE:
        return unsure
    if low <= np.uint64(1) and -4 <= exponent <= 23 and number & np.uint64(3) == 1 and number << shift == high:
        number = number & ~np.uint64(1)  # exactly in the middle: to the even one
    number = (number + (number & np.uint64(1))) >> np.uint64(1)
    if number >= np.uint64(1 << 53):
        number = np.uint64(1 << 52)
        power += 1
    return np.uint64(number & ~np.uint64(1 << 52) | np.uint64(power) << np.uint64(52))


@bare_kernel
def to_doubles(
    mantissas: IntArray, exponents: IntArray, missing: int, bits: NDArray[np.uint64],
    values: FloatArray, sure: NDArray[np.bool_],
) -> None:  # fmt: skip
    """(n,) mantissas times powers of ten into ``values``, whose memory ``bits`` shares. The exponent ``missing`` gives
    NaN. Where the result is not sure to be the nearest normal double ``sure`` becomes False."""
    for i in range(len(mantissas)):
        mantissa, exponent = mantissas[i], exponents[i]
        if exponent == missing:
            values[i] = np.nan
        elif exponent == 0 or mantissa == 0:
            values[i] = float(mantissa)
        elif -_LARGEST_EXACT <= mantissa <= _LARGEST_EXACT and -_MOST_EXACT <= exponent <= _MOST_EXACT:
            values[i] = mantissa / _EXACT[-exponent] if exponent < 0 else mantissa * _EXACT[exponent]
        else:
            inside = _LOWEST <= exponent <= _HIGHEST
            found = _bits(abs(mantissa), exponent) if inside else np.uint64(0)
            sure[i] = sure[i] and found != 0
            bits[i] = found | np.uint64(1 << 63) if mantissa < 0 else found
