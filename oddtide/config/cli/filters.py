"""``--filter``: conditions on a decoded row, without a programming language."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from oddtide.domain.errors import UsageError

__all__ = ["Condition", "parse_filter"]

Condition = Callable[[Mapping[str, Any]], bool]

_SHAPE = re.compile(r"\s*([A-Za-z_][\w.:-]*?)\s*(!=|<=|>=|!~|==?|<|>|~)\s*(.*?)\s*", re.DOTALL)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def parse_filter(text: str) -> Condition:
    """The condition that ``text`` states: ``field=text`` (or ``==``), ``!=``, ``<``, ``<=``, ``>``, ``>=`` with a
    number or a text (RFC 3339 times compare as text), ``~`` and ``!~`` with a regular expression. A dot reaches into
    objects: ``features.flow.value>3``. A row without the field matches nothing but ``!=`` and ``!~``.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is no filter.", remedy="Write field=value; also !=, <, <=, >, >=, ~ (regular expression), !~."
        )
    field, operator, wanted = match.groups()
    if operator in _ORDER and (not wanted or wanted[0] in "<>=!~"):
        raise UsageError(f"{text!r} compares with {wanted!r}.", remedy="Write e.g. p_value<1e-3, or time>=2026-01-31.")
    path = field.split(".")
    test = _test(operator, wanted)
    return lambda row: test(_reach(row, path))


def _test(operator: str, wanted: str) -> Callable[[Any], bool]:
    if operator in ("~", "!~"):
        pattern = _pattern(wanted)
        return lambda value: (value is not None and pattern.search(_as_text(value)) is not None) is (operator == "~")
    if operator in ("=", "==", "!="):
        return lambda value: _equals(value, wanted) is (operator != "!=")
    return lambda value: _ordered(value, wanted, operator)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{text!r} is no regular expression: {error}.", remedy="Escape special characters.") from None


def _reach(row: Any, path: list[str]) -> Any:
    for part in path:
        if not isinstance(row, Mapping) or part not in row:
            return None
        row = row[part]
    return row


def _equals(value: Any, wanted: str) -> bool:
    number = _number(wanted)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and number is not None:
        return value == number
    return value is not None and _as_text(value) == wanted


def _ordered(value: Any, wanted: str, operator: str) -> bool:
    number = _number(wanted)
    if isinstance(value, (int, float)) and number is not None:
        return _ORDER[operator](value, number)
    if not isinstance(value, str):
        return False
    return {"<": value < wanted, "<=": value <= wanted, ">": value > wanted, ">=": value >= wanted}[operator]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
