"""Reading a detector's parameters: unknown names, wrong types and ranges are refused with the remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, get_type_hints

import orjson

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.errors import ConfigurationError

__all__ = ["check_names", "check_range", "nearest", "read_settings", "version_of"]

_Settings = TypeVar("_Settings")


def nearest(name: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` where something known is close, and all that is known."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    by_case = [each for each in names if each.lower() == name.lower()]
    guess = f"Did you mean {(by_case or close)[0]!r}? " if by_case or close else ""
    return f"{guess}Known: {', '.join(names) or 'none'}."


def check_names(kind: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first parameter of detector ``kind`` that is not known."""
    allowed = set(known)
    for name in given:
        if name not in allowed:
            raise ConfigurationError(f"Detector {kind} has no parameter {name!r}.", remedy=nearest(name, allowed))


def read_settings(spec: DetectorSpec, into: type[_Settings]) -> _Settings:
    """The parameters of ``spec`` as the frozen dataclass ``into``, whose fields are the names, types and defaults."""
    if not is_dataclass(into):
        raise TypeError(f"{into!r} is no dataclass")
    hints = get_type_hints(into)
    check_names(spec.kind, spec.parameters, [each.name for each in fields(into)])
    values = {name: _typed(spec.kind, name, value, hints[name]) for name, value in spec.parameters.items()}
    return into(**values)


def _typed(kind: str, name: str, value: object, wanted: Any) -> object:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, wanted) and not (isinstance(value, bool) and wanted is not bool):
        return value
    raise ConfigurationError(
        f"Parameter {name} of detector {kind} is {value!r}.", remedy=f"It takes a value of type {wanted.__name__}."
    )


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a parameter outside ``[low, high]`` (NaN is outside)."""
    if not low <= value <= high:
        raise ConfigurationError(f"Parameter {name} is {value!r}.", remedy=f"It takes {low:g} to {high:g}.")


def version_of(kind: str, revision: int, settings: object, features: tuple[str, ...]) -> str:
    """``<kind>/<revision>-<8 hex>``: a digest of everything that a detector's scores depend on besides the data."""
    content: object = settings
    if is_dataclass(settings) and not isinstance(settings, type):
        content = asdict(settings)
    elif isinstance(settings, Mapping):
        content = dict(settings)
    raw = orjson.dumps([kind, revision, content, features], option=orjson.OPT_SORT_KEYS, default=repr)
    return f"{kind}/{revision}-{hashlib.blake2b(raw, digest_size=4).hexdigest()}"
