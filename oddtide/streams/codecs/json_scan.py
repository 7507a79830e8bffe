"""One pass over the bytes of plain JSON readings: where in them everything lies. Compiled.

Each record is read within its own bytes, and *done* only where it is plainly in order: an object with the known fields,
each once, strings without escapes and in proper UTF-8, numbers in JSON's grammar of at most 18 digits. Whatever else it
is, an error or only unusual, is left to the exact path: this module refuses nothing and so defines nothing.

The bytes come as ``words``: word ``i`` is the eight bytes from ``i`` on, so words overlap, and the low one is byte
``i`` (:func:`words_of`). A word may reach into what lies behind a record; that is never heeded.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import ByteArray, IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = [
    "DONE", "EXPONENT", "FIELDS", "FRACTION", "LABELS_AT", "LABELS_SIZE", "MANTISSA", "MISSING", "SERIES_AT",
    "SERIES_SIZE", "TEXT", "TIME_AT", "TIME_KIND", "TIME_SIZE", "WHOLE", "Words", "scan", "words_of",
]  # fmt: skip

Words: TypeAlias = NDArray[np.uint64]

#: Rows of ``found``; a time's kind is one of the three below, and its place or its number is set accordingly.
DONE, SERIES_AT, SERIES_SIZE, TIME_KIND, TIME_AT, TIME_SIZE, MANTISSA, EXPONENT, LABELS_AT, LABELS_SIZE = range(10)
#: How many those are.
FIELDS = 10
TEXT, WHOLE, FRACTION = 1, 2, 3
#: The exponent of a feature that is not there.
MISSING = 1 << 20

#: Names of features, where there are several: (words, at, size, whether required).
Names: TypeAlias = tuple[Words, IntArray, IntArray, IntArray]
#: (longest series in bytes, most labels, longest label in characters)
Limits: TypeAlias = tuple[int, int, int]

_SERIES, _TIME, _VALUE, _FEATURES, _LABELS = 1, 2, 4, 8, 16
_KEYS = np.array(
    [int.from_bytes(name, "little") for name in (b"series", b"time", b"value", b"features", b"labels")],
    dtype=np.uint64,
)
_ODD = -1
_BYTE, _ONE, _TOP_BYTE, _DELETE = np.uint64(0xFF), np.uint64(1), np.uint64(56), np.uint64(0x7F)
_FOUR, _NULL = np.uint64(0xFFFFFFFF), np.uint64(int.from_bytes(b"null", "little"))
#: A byte eight times.
_ONES, _QUOTES, _SLASHES, _SPACES, _TOPS, _ZEROS, _BEYOND_NINE = (
    np.uint64(byte * 0x0101010101010101) for byte in (0x01, 0x22, 0x5C, 0x20, 0x80, 0x30, 0x76)
)
#: Up to so many digits (times a power of ten) a number in 63 bits has.
_ROOMY = np.array([(2**63 - 1) // 10**more - 1 for more in range(9)], dtype=np.int64)
_TENS = 10 ** np.arange(9, dtype=np.int64)


def words_of(data: ByteArray) -> Words:
    """The words of ``data``, over the same memory: as many as have all their bytes in it."""
    return np.ndarray((max(0, len(data) - 7),), dtype="<u8", buffer=data, strides=(1,))


@inlined
def _byte(words: Words, place: int, end: int) -> int:
    """The byte at ``place``, or 0, which is nothing in JSON, at the end of the record."""
    return int(np.int64(words[place] & _BYTE)) if place < end else 0


@inlined
def _first(marks: np.uint64) -> int:
    """The number of the lowest byte whose top bit is set; 8 where none is."""
    return int(np.int64((((marks ^ (marks - _ONE)) & _ONES) * _ONES) >> _TOP_BYTE)) - 1 if marks != 0 else 8


@inlined
def _skip(words: Words, place: int, end: int) -> int:
    """Past white space."""
    byte = _byte(words, place, end)
    while byte in (0x20, 0x09, 0x0A, 0x0D):
        place += 1
        byte = _byte(words, place, end)
    return place


@inlined
def _after(words: Words, place: int, end: int, mark: int) -> int:
    """Past ``mark`` and the white space around it; odd where something else stands there."""
    place = _skip(words, place, end)
    return _skip(words, place + 1, end) if _byte(words, place, end) == mark else _ODD


@inlined
def _character(words: Words, place: int, end: int) -> int:
    """How many bytes the character beyond ASCII at ``place`` has (RFC 3629: shortest form, no surrogates, at most
    U+10FFFF); 0 where it is none."""
    first, second = _byte(words, place, end), _byte(words, place + 1, end)
    third, fourth = _byte(words, place + 2, end), _byte(words, place + 3, end)
    if second & 0xC0 != 0x80:
        return 0
    if 0xC2 <= first < 0xE0:
        return 2
    if third & 0xC0 != 0x80 or (first in (0xE0, 0xED) and (second >= 0xA0) == (first == 0xED)):
        return 0
    if first & 0xF0 == 0xE0:
        return 3
    if fourth & 0xC0 != 0x80 or (first in (0xF0, 0xF4) and (second >= 0x90) == (first == 0xF4)):
        return 0
    return 4 if 0xF0 <= first <= 0xF4 else 0


@inlined
def _string(words: Words, place: int, end: int) -> tuple[int, int]:
    """Of the string whose quote is at ``place``: the place of its closing quote (or odd) and its characters. Looks at
    eight bytes at a time (Warren, "Hacker's Delight", 6-1)."""
    if _byte(words, place, end) != 0x22:
        return _ODD, 0
    place += 1
    characters = -place
    while place < end:
        word = words[place]
        quote, slash = word ^ _QUOTES, word ^ _SLASHES
        # The top bit of each byte that needs a look; a byte may be marked wrongly only behind one marked rightly.
        marks = (quote - _ONES & ~quote | slash - _ONES & ~slash | word - _SPACES & ~word | word) & _TOPS
        place += _first(marks)
        byte = _byte(words, place, end) if marks != 0 else 0
        if byte == 0x22:
            return place, characters + place
        if marks != 0:
            size = _character(words, place, end) if byte >= 0x80 else 0
            if size == 0:
                return _ODD, 0
            place += size
            characters -= size - 1
    return _ODD, 0


@inlined
def _digits(words: Words, place: int, end: int, number: int) -> tuple[int, int]:
    """Digits read on behind ``number``, up to eight at a time; odd where there are too many."""
    count = 8
    while count == 8 and place < end:
        digits = words[place] ^ _ZEROS
        count = min(_first((digits + _BEYOND_NINE | digits) & _TOPS), end - place)
        if number > _ROOMY[count]:
            return _ODD, 0
        if count > 0:
            digits = digits << np.uint64(64 - 8 * count)
            digits = digits * np.uint64(10) + (digits >> np.uint64(8))
            fours = (digits & np.uint64(0x000000FF000000FF)) * np.uint64(0x000F424000000064)
            others = (digits >> np.uint64(16) & np.uint64(0x000000FF000000FF)) * np.uint64(0x0000271000000001)
            number = int(number * _TENS[count] + np.int64((fours + others) >> np.uint64(32)))
            place += count
    return place, number


@inlined
def _power(words: Words, place: int, end: int) -> tuple[int, int]:
    """The exponent behind ``e``: at most four digits, else odd."""
    sign = _byte(words, place, end)
    place += 1 if sign in (0x2D, 0x2B) else 0
    last, exponent = _digits(words, place, min(end, place + 5), 0)
    if last == place or last - place > 4:
        return _ODD, 0
    return last, -exponent if sign == 0x2D else exponent


@inlined
def _number(words: Words, place: int, end: int) -> tuple[int, int, int, bool]:
    """A number: the place behind it (or odd), its mantissa and its power of ten, whether it is whole as JSON writes
    it. A negative zero is odd: no integer can say it."""
    negative = _byte(words, place, end) == 0x2D
    start = place + 1 if negative else place
    place, mantissa = _digits(words, start, end, 0)
    if place <= start or (_byte(words, start, end) == 0x30 and place > start + 1):
        return _ODD, 0, 0, False
    exponent = 0
    whole = True
    if _byte(words, place, end) == 0x2E:
        point = place + 1
        place, mantissa = _digits(words, point, end, mantissa)
        exponent, whole = point - place, False
        if place <= point:
            return _ODD, 0, 0, False
    if _byte(words, place, end) | 0x20 == 0x65:
        place, power = _power(words, place + 1, end)
        exponent, whole = exponent + power, False
    if negative and mantissa == 0:
        return _ODD, 0, 0, False
    return place, -mantissa if negative else mantissa, exponent, whole


@inlined
def _field(words: Words, at: int, size: int) -> int:
    """Which field a key is; 0 for none."""
    if 2 <= size <= 8:
        word = words[at] << np.uint64(64 - 8 * size) >> np.uint64(64 - 8 * size)
        for k in range(len(_KEYS)):
            if word == _KEYS[k]:
                return 1 << k
    return 0


@inlined
def _key(words: Words, place: int, end: int) -> tuple[int, int, int]:
    """A key and its colon: the place of the value (or odd), where the key is and its size."""
    last, _ = _string(words, place, end)
    if last == _ODD:
        return _ODD, 0, 0
    return _after(words, last + 1, end, 0x3A), place + 1, last - place - 1


@inlined
def _next(words: Words, place: int, end: int) -> tuple[int, bool]:
    """Behind a member: the place of the next key, or the place behind the closing brace and True."""
    place = _skip(words, place, end)
    mark = _byte(words, place, end)
    if mark == 0x2C:
        return _skip(words, place + 1, end), False
    return (place + 1, True) if mark == 0x7D else (_ODD, True)


@inlined
def _labels(words: Words, place: int, end: int, limits: Limits) -> tuple[int, int]:
    """An object of strings: the place behind it (or odd) and how many labels it has. One that is there twice counts
    twice here: too many labels are odd, and what is odd is counted properly."""
    place = _after(words, place, end, 0x7B)
    if _byte(words, place, end) == 0x7D:
        return place + 1, 0
    count = 0
    done = False
    while place != _ODD and not done:
        last, name = _string(words, place, end)
        place = _after(words, last + 1, end, 0x3A) if last != _ODD else _ODD
        last, text = _string(words, place, end) if place != _ODD else (_ODD, 0)
        count += 1
        if last == _ODD or max(name, text) > limits[2] or count > limits[1]:
            return _ODD, 0
        place, done = _next(words, last + 1, end)
    return place, count


@inlined
def _which(words: Words, at: int, size: int, names: Names, guess: int) -> int:
    """Which feature a key names, looking from ``guess`` on; odd for none."""
    wide = len(names[1])
    for step in range(wide):
        column = (guess + step) % wide
        if names[2][column] == size:
            k = 0
            while k < size and (names[0][names[1][column] + k] ^ words[at + k]) & _BYTE == 0:
                k += 1
            if k == size:
                return int(column)
    return _ODD


@inlined
def _feature(words: Words, place: int, end: int, column: int, mantissas: IntArray, exponents: IntArray) -> int:
    """One feature's number, or null where it has none yet. Returns the place behind it, or odd."""
    if exponents[column] != MISSING:
        return _ODD
    if place < end and words[place] & _FOUR == _NULL:
        return place + 4
    place, mantissas[column], exponents[column], _ = _number(words, place, end)
    return place


@inlined
def _features(words: Words, place: int, end: int, names: Names, mantissas: IntArray, exponents: IntArray) -> int:
    """An object of numbers; the place behind it, or odd, as where a feature is unknown, there twice, or required and
    not there."""
    place = _after(words, place, end, 0x7B)
    column = -1
    done = False
    while place != _ODD and not done:
        place, at, size = _key(words, place, end)
        column = _which(words, at, size, names, column + 1) if place != _ODD else _ODD
        place = _feature(words, place, end, column, mantissas, exponents) if column != _ODD else _ODD
        place, done = _next(words, place, end) if place != _ODD else (_ODD, True)
    there = 0
    for column in range(len(exponents)):
        if exponents[column] != MISSING:
            there += 1
        elif names[3][column]:
            return _ODD
    return place if there > 0 else _ODD


@inlined
def _time(words: Words, place: int, end: int, found: IntArray) -> int:
    if _byte(words, place, end) != 0x22:
        place, found[MANTISSA], found[EXPONENT], whole = _number(words, place, end)
        found[TIME_KIND] = WHOLE if whole else FRACTION
        return place
    last, _ = _string(words, place, end)
    found[TIME_KIND], found[TIME_AT], found[TIME_SIZE] = TEXT, place + 1, last - place - 1
    return last + 1 if last != _ODD else _ODD


@inlined
def _text(words: Words, place: int, end: int, longest: int, found: IntArray) -> int:
    last, _ = _string(words, place, end)
    found[SERIES_AT], found[SERIES_SIZE] = place + 1, last - place - 1
    for k in range(place + 1, last):
        if words[k] & _BYTE == _DELETE:  # a control character that JSON allows and a series' key must not have
            return _ODD
    return last + 1 if last != _ODD and 0 < last - place - 1 <= longest else _ODD


@inlined
def _member(
    words: Words, place: int, end: int, field: int, names: Names | None, limits: Limits, found: IntArray,
    mantissas: IntArray, exponents: IntArray,
) -> int:  # fmt: skip
    """The value of a field; the place behind it, or odd."""
    if field == _TIME:
        return _time(words, place, end, found)
    if field == _SERIES:
        return _text(words, place, end, limits[0], found)
    if field == _LABELS:
        last, count = _labels(words, place, end, limits)
        found[LABELS_AT], found[LABELS_SIZE] = place, last - place if count else 0
        return last
    if names is None:
        if field == _VALUE:
            place, mantissas[0], exponents[0], _ = _number(words, place, end)
            return place
    elif field == _FEATURES:
        return _features(words, place, end, names, mantissas, exponents)
    return _ODD


@inlined
def _record(
    words: Words, place: int, end: int, names: Names | None, limits: Limits, found: IntArray, mantissas: IntArray,
    exponents: IntArray,
) -> bool:  # fmt: skip
    """One record; whether it is done."""
    place = _after(words, place, end, 0x7B)
    seen = 0
    done = False
    while place != _ODD and not done:
        place, at, size = _key(words, place, end)
        field = _field(words, at, size) if place != _ODD else 0
        if field == 0 or seen & field:
            return False
        seen |= field
        place = _member(words, place, end, field, names, limits, found, mantissas, exponents)
        if place == _ODD:
            return False
        place, done = _next(words, place, end)
    wanted = _SERIES | _TIME | (_VALUE if names is None else _FEATURES)
    return bool(seen & wanted == wanted and place != _ODD and _skip(words, place, end) == end)


@bare_kernel
def scan(
    words: Words, at: IntArray, size: IntArray, headers: IntArray, names: Names | None, limits: Limits,
    found: IntArray, mantissas: IntArray, exponents: IntArray,
) -> None:  # fmt: skip
    """Every record without headers whose bytes all begin a word: where what is into ``found`` (FIELDS, n), its numbers
    into ``mantissas`` and ``exponents`` (n, d). ``names`` is None where ``value`` is the
    one feature (the code for several is then not even compiled)."""
    for row in range(len(at)):
        mine = found[:, row]
        mine[:] = 0
        exponents[row, :] = MISSING
        end = at[row] + size[row]
        if headers[row] == 0 and size[row] > 0 and end <= len(words):
            mine[DONE] = _record(words, at[row], end, names, limits, mine, mantissas[row], exponents[row])
