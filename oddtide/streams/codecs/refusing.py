"""Saying no: a refusal's reason and its one line of detail, bounded whatever the input."""

from __future__ import annotations

from oddtide.domain.errors import DecodeError
from oddtide.domain.quality.reasons import Reason

__all__ = ["refusal", "show"]

_SHOWN = 60
_NAMES = {dict: "an object", list: "a list", bool: "a truth value", type(None): "null"}


def refusal(reason: Reason, detail: str) -> DecodeError:
    """The error to raise; its ``reason`` is a plain ``str``, so that it is fit for any encoder."""
    return DecodeError(reason.value, detail)


def show(value: object) -> str:
    """``value`` for a person, in at most about 80 characters. Containers are named, never printed: they may be
    nested deeper than Python can print."""
    if type(value) in _NAMES:
        return _NAMES[type(value)]
    if isinstance(value, str | bytes):
        text = repr(value[:_SHOWN])
        return text if len(value) <= _SHOWN else f"{text}… ({len(value)} long)"
    if isinstance(value, int | float):
        return repr(value)[:_SHOWN]
    return type(value).__name__
