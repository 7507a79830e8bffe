"""One JSON reading: ``{"series": "pump-1", "time": "2026-01-31T12:00:00Z", "value": 1.5, "labels": {"hall": "3"}}``,
or with ``"features": {"a": 1, "b": 2}`` in place of ``value``.

Fields: ``series`` (else the CloudEvent's subject, else the record's key), ``time`` (else the CloudEvent's),
``value`` (the feature of that name, or the only feature of a stream that has one) or ``features``, optionally
``labels`` (texts by name) and ``id`` (ignored). A field that is null counts as absent. Of duplicate keys in an object
the last wins. This module is the definition of what a reading means; the fast paths beside it give the same or hand
over to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from oddtide.domain.quality.contract import Contract
from oddtide.domain.quality.reasons import Reason
from oddtide.streams.codecs.refusing import refusal, show
from oddtide.streams.codecs.times import parse_time

__all__ = [
    "FIELDS",
    "Origin",
    "Row",
    "Rules",
    "check_fields",
    "given_features",
    "parse_json",
    "plain_names",
    "read_labels",
    "read_one",
    "read_series",
]

FIELDS: Final = frozenset({"series", "time", "value", "features", "labels", "id"})

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_FINITE = re.compile(rb"-?(?:nan|inf)", re.IGNORECASE)
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_NAN = float("nan")
_NAN_OR_INFINITE = frozenset({float("inf"), float("-inf")})


@dataclass(frozen=True, slots=True)
class Rules:
    """What a contract asks of a reading, at hand for decoding. ``value`` is the feature that the field names."""

    names: tuple[str, ...]
    required: tuple[bool, ...]
    strict: bool
    max_series_bytes: int
    max_labels: int
    max_label_length: int
    value: str

    @classmethod
    def of(cls, contract: Contract) -> Rules:
        """The rules of ``contract``."""
        names = contract.names
        return cls(
            names=names,
            required=tuple(rule.required for rule in contract.features),
            strict=contract.unknown_fields == "reject",
            max_series_bytes=contract.max_series_bytes,
            max_labels=contract.max_labels,
            max_label_length=contract.max_label_length,
            value=names[0] if len(names) == 1 else "value",
        )


class Origin(NamedTuple):
    """What surrounds a reading and stands in for what it leaves out."""

    key: bytes | None = None
    subject: str | None = None
    time: object = None


class Row(NamedTuple):
    """One reading decoded: time in nanoseconds, values in the order of the contract's features."""

    series: str
    time: int
    values: tuple[float, ...]
    labels: Mapping[str, str] | None


def parse_json(raw: bytes) -> object:
    """One JSON document. Raises ``DecodeError`` with the reason nearest to what is wrong with it."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        problem = error.msg
        place = error.pos
    if not raw.strip():
        raise refusal(Reason.EMPTY, "the value holds nothing but white space")
    if raw.startswith(_MARKS):
        raise refusal(Reason.WRONG_ENCODING, "the value begins with a byte order mark; send UTF-8 without one")
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise refusal(Reason.WRONG_ENCODING, f"byte {error.start} is not UTF-8") from None
    if "depth" in problem or "recursion" in problem:
        raise refusal(Reason.TOO_DEEP, "nested deeper than 1,024 levels")
    if "infinity" in problem or _NOT_FINITE.match(raw, max(0, _byte_place(raw, place))):
        raise refusal(Reason.NOT_FINITE, f"a number at character {place} is NaN, infinite or too large")
    raise refusal(Reason.NOT_JSON, f"{problem} at character {place}"[:200])


def _byte_place(raw: bytes, character: int) -> int:
    return character if raw.isascii() else len(raw.decode()[:character].encode())


def read_one(document: object, origin: Origin, rules: Rules) -> Row:
    """One reading from its JSON object. Raises ``DecodeError``; the first breach is the reason, in the order
    unknown fields, series, time, features, labels."""
    fields = check_fields(document, rules)
    return Row(
        series=read_series(fields.get("series"), origin, rules),
        time=_time(fields.get("time"), origin),
        values=_values(fields.get("value"), fields.get("features"), rules),
        labels=read_labels(fields.get("labels"), rules),
    )


def check_fields(document: object, rules: Rules) -> Mapping[str, object]:
    """The document as an object whose fields the contract takes. Raises ``DecodeError``."""
    if not isinstance(document, dict):
        raise refusal(Reason.NOT_AN_OBJECT, f"a reading is an object, this is {show(document)}")
    if rules.strict and not document.keys() <= FIELDS:
        unknown = next(name for name in document if name not in FIELDS)
        raise refusal(Reason.UNKNOWN_FIELD, f"field {show(unknown)} is none of {', '.join(sorted(FIELDS))}")
    return document


def read_series(series: object, origin: Origin, rules: Rules) -> str:
    """The series' key: from the reading, the event's subject or the record's key."""
    name = series
    if name is None:
        name = origin.subject or None
    if name is None and origin.key:
        name = _key(origin.key, rules)
    if name is None:
        raise refusal(Reason.MISSING_SERIES, "no field series and no key; name the series in either")
    if not isinstance(name, str):
        raise refusal(Reason.INVALID_SERIES, f"series is {show(name)}; it must be a text")
    # The length first: a batch may name one huge text in every row, and each look at it would cost.
    if len(name) > rules.max_series_bytes or len(name.encode()) > rules.max_series_bytes:
        raise refusal(
            Reason.SERIES_TOO_LONG,
            f"series has {len(name)} characters; the contract allows {rules.max_series_bytes} bytes",
        )
    if not name or _CONTROL.search(name):
        raise refusal(Reason.INVALID_SERIES, f"series {show(name)} is empty or has control characters")
    return name


def plain_names(names: Sequence[object], rules: Rules) -> bool:
    """Whether :func:`read_series` would take all of these as they are, seen at once; False may also mean unsure."""
    try:
        together = "".join(names)  # type: ignore[arg-type]  # what is no text raises
    except TypeError:
        return False
    lengths = set(map(len, names))  # type: ignore[arg-type]  # all are texts
    longest = max(lengths, default=0) * (1 if together.isascii() else 4)
    return 0 not in lengths and longest <= rules.max_series_bytes and not _CONTROL.search(together)


def _key(key: bytes, rules: Rules) -> str:
    if len(key) > rules.max_series_bytes:
        raise refusal(
            Reason.SERIES_TOO_LONG, f"the key has {len(key)} bytes; the contract allows {rules.max_series_bytes}"
        )
    try:
        return bytes(key).decode()
    except UnicodeDecodeError:
        raise refusal(Reason.INVALID_SERIES, f"key {show(bytes(key))} is not UTF-8") from None


def _time(time: object, origin: Origin) -> int:
    if time is None:
        time = origin.time
    if time is None:
        raise refusal(Reason.MISSING_TIME, "no field time; send RFC 3339 or a Unix epoch")
    return parse_time(time)


def _values(value: object, features: object, rules: Rules) -> tuple[float, ...]:
    given = given_features(value, features, rules)
    numbers = tuple(
        _number(name, given.get(name), required) for name, required in zip(rules.names, rules.required, strict=True)
    )
    if all(number != number for number in numbers):
        raise refusal(Reason.MISSING_FEATURE, f"none of the features {', '.join(rules.names)[:100]} is there")
    return numbers


def given_features(value: object, features: object, rules: Rules) -> Mapping[str, object]:
    """What is given of features, by name, from either field. Raises ``DecodeError``."""
    if features is None:
        features = {} if value is None else {rules.value: value}
    elif value is not None:
        raise refusal(Reason.INVALID_FEATURES, "both value and features are given; send one of them")
    if not isinstance(features, dict):
        raise refusal(Reason.INVALID_FEATURES, f"features is {show(features)}; it must be an object")
    if rules.strict and not features.keys() <= set(rules.names):
        unknown = next(name for name in features if name not in rules.names)
        raise refusal(Reason.UNKNOWN_FIELD, f"feature {show(unknown)} is not in the contract")
    return features


def _number(name: str, value: object, required: bool) -> float:
    if value is None:
        if required:
            raise refusal(Reason.MISSING_FEATURE, f"feature {name} is required")
        return _NAN
    if type(value) is not float and type(value) is not int:
        raise refusal(Reason.NOT_A_NUMBER, f"feature {name} is {show(value)}; send a JSON number")
    number = float(value)
    if number != number or number in _NAN_OR_INFINITE:
        raise refusal(Reason.NOT_FINITE, f"feature {name} is {value!r}")
    return number


def read_labels(labels: object, rules: Rules) -> Mapping[str, str] | None:
    """Labels as they are, or None for none. Raises ``DecodeError`` (``invalid_labels``)."""
    if labels is None or labels == {}:
        return None
    if not isinstance(labels, dict):
        raise refusal(Reason.INVALID_LABELS, f"labels is {show(labels)}; it must be an object of texts")
    if len(labels) > rules.max_labels:
        raise refusal(Reason.INVALID_LABELS, f"{len(labels)} labels; the contract allows {rules.max_labels}")
    if not _plainly_fine(labels, rules.max_label_length):
        _check_labels(labels, rules.max_label_length)
    return labels


def _plainly_fine(labels: dict[str, Any], longest: int) -> bool:
    """Whether all names and texts together keep what each must keep, which is quick to see."""
    try:
        everything = "".join(labels) + "".join(labels.values())
    except TypeError:
        return False
    return len(everything) <= longest and "\x00" not in everything


def _check_labels(labels: dict[str, Any], longest: int) -> None:
    for name, text in labels.items():
        if isinstance(text, str) and (len(text) > longest or len(name) > longest):
            size = max(len(name), len(text))
            raise refusal(
                Reason.INVALID_LABELS, f"label {show(name)} has {size} characters; the contract allows {longest}"
            )
        if not isinstance(text, str) or "\x00" in text or "\x00" in name:
            raise refusal(Reason.INVALID_LABELS, f"label {show(name)} is {show(text)}; it must be a text without \\0")
