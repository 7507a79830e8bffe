"""What is wrong with the settings, in words: the key, its value, where it stands, what is allowed."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from oddtide.domain.errors import ConfigurationError

__all__ = ["complain", "unknown_variables"]

_PREFIX = "ODDTIDE_"
#: Variables that are ours but no settings.
_RESERVED = ("ODDTIDE_CONFIG", "ODDTIDE_CACHE", "ODDTIDE_JAVA", "ODDTIDE_MAVEN_REPOSITORY", "ODDTIDE_TEST_")


def complain(model: type[BaseModel], error: ValidationError, origins: Mapping[str, str]) -> ConfigurationError:
    """The error to raise for what pydantic found; every finding is in it."""
    problems = [_problem(model, finding, origins) for finding in error.errors(include_url=False)]
    return ConfigurationError(
        f"The settings cannot be used: {'; '.join(problems)}.",
        remedy="`oddtide config schema` lists every key with its meaning.",
    )


def unknown_variables(model: type[BaseModel], environ: Iterable[str]) -> None:
    """Refuse a variable that looks like a setting and is none."""
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable.startswith(_RESERVED):
            continue
        path = variable.removeprefix(_PREFIX).lower().split("__")
        if path[0] not in model.model_fields:
            nearest = _nearest(path[0], model.model_fields)
            near = f"Did you mean {_PREFIX}{'__'.join([nearest, *path[1:]]).upper()}?" if nearest else ""
            raise ConfigurationError(
                f"The environment variable {variable} is no setting.",
                remedy=near or "Unset it; `oddtide config schema` lists what there is.",
            )


def _problem(model: type[BaseModel], finding: Any, origins: Mapping[str, str]) -> str:
    place = tuple(finding["loc"])
    key = ".".join(str(part) for part in place)
    origin = _origin(key, origins)
    where = f" in {origin}" if origin else ""
    if finding["type"] == "extra_forbidden":
        nearest = _nearest(str(place[-1]), _fields_at(model, place[:-1]))
        return f"unknown key {key!r}{where}" + (f" (did you mean {nearest!r}?)" if nearest else "")
    if finding["type"] == "missing":
        return f"the key {key!r} is missing"
    message = str(finding["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if finding["type"] == "value_error":
        return f"{key}{where}: {message}" if key else message
    return f"{key}{where} is {_shown(model, place, finding)}: {message}"


def _shown(model: type[BaseModel], place: tuple[Any, ...], finding: Any) -> str:
    kinds = _leaves(_annotation_at(model, place))
    inside = [
        leaf for kind in kinds if _fields_of(kind) for f in kind.model_fields.values() for leaf in _leaves(f.annotation)
    ]
    return "not as it must be" if SecretStr in (*kinds, *inside) else repr(finding["input"])


def _origin(key: str, origins: Mapping[str, str]) -> str:
    for path, origin in origins.items():
        if path == key or path.startswith(f"{key}."):
            return f"${_PREFIX}{key.replace('.', '__').upper()}" if origin == "environment" else origin
    return ""


def _nearest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return close[0] if close else ""


def _fields_at(model: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    return [name for part in _leaves(_annotation_at(model, place)) for name in _fields_of(part)]


def _fields_of(kind: Any) -> list[str]:
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _annotation_at(model: type[BaseModel], place: tuple[Any, ...]) -> Any:
    """The type that stands at a key path."""
    here: Any = model
    for part in place:
        if isinstance(part, int):
            continue
        kinds = [kind for kind in _leaves(here) if _fields_of(kind)]
        if not kinds or part not in kinds[0].model_fields:
            return here
        here = kinds[0].model_fields[part].annotation
    return here


def _leaves(annotation: Any) -> list[Any]:
    """The types inside unions, lists and annotations."""
    if get_origin(annotation) in (Union, types.UnionType, list, dict, Annotated):
        return [leaf for argument in get_args(annotation) for leaf in _leaves(argument)]
    return [annotation]
