"""Which detectors to set side by side: names as people write them, several as one, whole families."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from oddtide.config.facade.plans import DetectorLike, parse_detectors
from oddtide.domain.detection.auto import AUTO
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.registry import known_detectors
from oddtide.domain.errors import UsageError

__all__ = ["EVERY", "Choice", "choose", "split_names"]

#: Stands for every detector that learns as it goes: the built-in ones and river's.
EVERY = "all"
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Choice:
    """One contender: the detectors whose verdicts are combined, mostly one. One out of a family is ``optional``: where
    it cannot be used on this data it is left out, and that is said."""

    name: str
    specs: tuple[DetectorSpec, ...]
    optional: bool = False

    @property
    def trained(self) -> bool:
        """Whether it needs a model that is trained first."""
        return any(spec.kind.startswith("pyod:") for spec in self.specs)


def split_names(text: str) -> list[str]:
    """``ewma:alpha=0.1,clip=4,spot`` into its two detectors: ``name=value`` belongs to the one before."""
    names: list[str] = []
    for part in text.split(","):
        key, sign, _ = part.partition("=")
        if names and ((sign and ":" not in key) or names[-1].count("[") > names[-1].count("]")):
            names[-1] += f",{part.strip()}"
        elif part.strip():
            names.append(part.strip())
    return names


def choose(detectors: Sequence[DetectorLike]) -> list[Choice]:
    """The contenders that ``detectors`` name, in order, each once.

    ``"ewma:alpha=0.1"`` or a spec is one detector, ``"spot+range"`` several combined, ``"river:*"`` a family,
    ``"all"`` every one that learns as it goes. Raises ``UsageError`` for a pattern that nothing matches, or where
    nothing is named.
    """
    found: dict[str, Choice] = {}
    for each in detectors:
        for choice in _choices(each):
            name, count = choice.name, 1
            while name in found and found[name].specs != choice.specs:
                count += 1
                name = f"{choice.name}-{count}"
            found.setdefault(name, Choice(name, choice.specs, choice.optional))
    if not found:
        raise UsageError("No detector is named.", remedy="Name one, for example ewma.")
    return list(found.values())


def _choices(each: DetectorLike) -> list[Choice]:
    if isinstance(each, DetectorSpec):
        return [Choice(each.name, (each,))]
    if each == EVERY:
        return [_optional(name) for name in (AUTO, *known_detectors(), *_family("river"))]
    if _WILD.search(each.partition("=")[0]):
        return [_optional(name) for name in _matching(each)]
    specs = parse_detectors(re.split(r"\+(?=[a-z])", each))
    return [Choice(each.strip(), specs)]


def _optional(name: str) -> Choice:
    return Choice(name, parse_detectors(name), optional=True)


def _matching(pattern: str) -> list[str]:
    family = pattern.partition(":")[0] if ":" in pattern else ""
    known = _family(family) if family else list(known_detectors())
    names = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
    if not names:
        raise UsageError(f"No detector matches {pattern!r}.", remedy="Write river:*, pyod:* or the name of one.")
    return names


def _family(family: str) -> list[str]:
    """The models of river or PyOD that are installed, by the names that streams give them."""
    if family == "river":
        from oddtide.adapters.river.models import available as river

        return [f"river:{name}" for name in river()]
    if family == "pyod":
        from oddtide.adapters.pyod import available as pyod

        return [f"pyod:{name}" for name in pyod()]
    return []
