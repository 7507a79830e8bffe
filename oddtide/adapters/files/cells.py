"""Numbers and times as tables write them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal

from oddtide.domain.quality.reasons import Reason

__all__ = ["CellError", "is_number", "number", "time_ns"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
_FRACTION = re.compile(r"^(.*:\d\d)[.,](\d{7,})(.*)$")
_DAY = re.compile(r"^(\d{4})[-/](\d\d)[-/](\d\d)$")
_DATED = ("-", "/")
_DAY_LENGTH, _LONG = 10, 24
#: Epoch numbers below this are seconds, then milliseconds, microseconds, nanoseconds: each reaches the year 5138.
_UNITS: tuple[tuple[float, int], ...] = ((1e11, 9), (1e14, 6), (1e17, 3), (math.inf, 0))
#: 1678-01-01 and the last nanosecond of 2261, as the pipeline takes them.
_EARLIEST, _LATEST = -9_214_560_000_000_000_000, 9_214_646_399_999_999_999


class CellError(ValueError):
    """A cell cannot be used. ``reason`` is one of the pipeline's reasons, ``detail`` a line for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = str(reason), detail
        super().__init__(detail)


def number(cell: str, *, comma: bool = False) -> float:
    """The finite number in ``cell``; blanks around it are ignored. With ``comma`` it may be a decimal comma.

    Raises ``CellError`` for anything else: NaN, infinities, digit groups, other alphabets' digits.
    """
    text = cell.strip()
    if comma:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        raise _no_number(cell) from None
    if "_" in text or not text.isascii():  # Python takes these, nobody else does
        raise _no_number(cell)
    if not math.isfinite(value):
        raise CellError(Reason.NOT_FINITE, f"{_shown(cell)} is not finite, or too large for a 64-bit float")
    return value


def _no_number(cell: str) -> CellError:
    return CellError(Reason.NOT_A_NUMBER, f"{_shown(cell)} is not a number")


def is_number(cell: str, *, comma: bool = False) -> bool:
    """Whether :func:`number` takes it."""
    try:
        number(cell, comma=comma)
    except CellError:
        return False
    return True


def time_ns(cell: str) -> int:
    """Nanoseconds since 1970 UTC of an ISO 8601 time (a space for the T will do, no zone means UTC), a date, or a
    number since 1970 in seconds, milliseconds, microseconds or nanoseconds, told apart by size.

    Raises ``CellError`` for anything else and for times outside the years 1678 to 2261.
    """
    text = cell.strip()
    dated = text[4:5] in _DATED and text[:4].isdigit()
    nanoseconds = _calendar(text) if dated or not is_number(text) else _epoch(text)
    if not _EARLIEST <= nanoseconds <= _LATEST:
        raise CellError(Reason.INVALID_TIME, f"{_shown(cell)} lies outside the years 1678 to 2261")
    return nanoseconds


def _epoch(text: str) -> int:
    size = abs(float(text))
    digits = next(digits for limit, digits in _UNITS if size < limit)
    return int(Decimal(text).scaleb(digits))


def _calendar(text: str) -> int:
    below = 0
    if len(text) >= _LONG and (match := _FRACTION.match(text)):
        head, fraction, zone = match.groups()
        text, below = f"{head}.{fraction[:6]}{zone}", int(fraction[6:9].ljust(3, "0"))
    if len(text) == _DAY_LENGTH and (match := _DAY.match(text)):
        text = "-".join(match.groups())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        detail = f"{_shown(text)} is neither an ISO 8601 time nor a number since 1970"
        raise CellError(Reason.INVALID_TIME, detail) from None
    since = moment - (_EPOCH if moment.tzinfo else _NAIVE_EPOCH)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000 + below


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:40] + "…")
