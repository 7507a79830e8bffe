"""A plan out of a few words: which detectors with which parameters, and when a verdict is a detection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias

from oddtide.domain.detection.alarm_budget import BudgetRule, method_for
from oddtide.domain.detection.auto import AUTO, expanded
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.threshold import ThresholdRule, largest_p
from oddtide.domain.errors import UsageError
from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.streams.pipeline.plan import Profile, StreamPlan

__all__ = ["DetectorLike", "make_plan", "needs_no_training", "parse_detector", "parse_detectors"]

#: ``"ewma"``, ``"ewma:alpha=0.1,limit=4"``, ``"river:HalfSpaceTrees:n_trees=10"``, or a spec.
DetectorLike: TypeAlias = str | DetectorSpec

_FAMILIES = frozenset({"river", "pyod"})
#: How far a file's times may lie from today, in seconds: 250 years. History is no mistake in a file.
_ANY_TIME_S = 250 * 365.25 * 86_400.0


def parse_detector(text: DetectorLike) -> DetectorSpec:
    """The detector in ``text``: a kind and, after a colon, parameters ``name=value`` with commas between. Values are
    JSON (``0.1``, ``true``, ``[1, 2]``), anything else is text. Raises ``UsageError`` for a parameter without value.
    """
    if isinstance(text, DetectorSpec):
        return text
    parts = text.split(":", 2 if text.partition(":")[0] in _FAMILIES else 1)
    named = parts[:2] if parts[0] in _FAMILIES else parts[:1]
    rest = ":".join(parts[len(named) :])
    return DetectorSpec(":".join(named).strip(), _parameters(text, rest) if rest else {})


def parse_detectors(detectors: DetectorLike | Sequence[DetectorLike]) -> tuple[DetectorSpec, ...]:
    """One detector or several. The same kind twice gets labels, ``ewma`` and ``ewma-2``."""
    many = [detectors] if isinstance(detectors, str | DetectorSpec) else detectors
    specs = [parse_detector(each) for each in many]
    if not specs:
        raise UsageError("No detector is named.", remedy="Name one, for example ewma.")
    seen: dict[str, int] = {}
    distinct = []
    for spec in specs:
        count = seen[spec.name] = seen.get(spec.name, 0) + 1
        distinct.append(spec if count == 1 else DetectorSpec(spec.kind, spec.parameters, f"{spec.name}-{count}"))
    return tuple(distinct)


def make_plan(
    features: Sequence[str],
    *,
    detector: DetectorLike | Sequence[DetectorLike] = AUTO,
    threshold: float | None = None,
    p_value: float | None = None,
    false_share: float = 0.0,
    profile: Profile = "light",
    name: str = "readings",
) -> StreamPlan:
    """The plan for data at hand: the pipeline of a stream, with a contract that takes times of any year and, where
    there are several features, readings that lack some."""
    _check_shares(p_value, false_share, threshold)
    specs = expanded(parse_detectors(detector), len(features))
    rules = tuple(FeatureRule(feature, required=len(features) == 1) for feature in features)
    rule = ThresholdRule(largest_p(p_value, false_share))
    return StreamPlan(
        name=name,
        topic=f"oddtide.{name}",
        contract=Contract(features=rules, max_age_s=_ANY_TIME_S, max_ahead_s=_ANY_TIME_S),
        detectors=specs,
        threshold=rule if threshold is None else ThresholdRule(0.0 if p_value is None else p_value, threshold),
        alarm_budget=BudgetRule(false_share, method_for(spec.kind for spec in specs)) if false_share else BudgetRule(),
        profile=profile,
        profile_every=0,
    )


def needs_no_training(detectors: DetectorLike | Sequence[DetectorLike]) -> None:
    """Raises ``UsageError`` where one of ``detectors`` must be trained before it detects."""
    for spec in parse_detectors(detectors):
        if spec.kind.startswith("pyod:"):
            algorithm = spec.kind.partition(":")[2]
            raise UsageError(
                f"{spec.kind} is trained before it detects.",
                remedy=f'Write train_model(history, "{algorithm}").detect(data).',
            )


def _check_shares(p_value: float | None, false_share: float, threshold: float | None) -> None:
    if p_value is not None and not 0.0 <= p_value <= 1.0:
        raise UsageError(f"p_value is {p_value!r}.", remedy="Give a share between 0 and 1, for example 1e-6.")
    if not 0.0 <= false_share <= 0.5:
        raise UsageError(f"false_share is {false_share!r}.", remedy="Give a share of at most 0.5, for example 0.1.")
    if false_share and threshold is not None:
        raise UsageError("false_share goes by p-values, threshold by the score.", remedy="Leave out one of them.")


def _parameters(text: str, rest: str) -> dict[str, object]:
    parameters: dict[str, object] = {}
    for part in _split(rest):
        key, sign, value = part.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise UsageError(
                f"{part.strip()!r} in the detector {text!r} is no parameter.",
                remedy="Write name=value, as in ewma:alpha=0.1.",
            )
        try:
            parameters[key.strip()] = json.loads(value)
        except ValueError:
            parameters[key.strip()] = value.strip()
    return parameters


def _split(text: str) -> list[str]:
    """At commas, but not at those inside brackets."""
    parts, depth, start = [], 0, 0
    for place, mark in enumerate(text):
        depth += (mark in "[{") - (mark in "]}")
        if mark == "," and not depth:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]
