"""Saying in one line why a reading was judged as it was."""

from __future__ import annotations

from oddtide.domain.detection.events import Verdict

__all__ = ["reason"]

#: How the versions of detectors begin whose scores are distances from the expected value, in sigmas.
_IN_SIGMAS = ("ewma/",)


def reason(verdict: Verdict) -> str:
    """One line in words, from the verdict's own fields only.

    ``value 93.1 is 8.4 sigma above the expected 41.2 (band 30.1 .. 52.3), p 1.3e-16``. A detector that scores otherwise
    than in sigmas from what it expected is quoted with its score, and with the expected value and the band where it has
    them. Several features: the one that contributes most is named with its share. Below full maturity ``warming up
    40/200`` is added.
    """
    allowed = f" (the alarm budget allows {verdict.alarm_level:.2g})" if verdict.alarm_level else ""
    parts = [_finding(verdict), *_share(verdict), f"p {verdict.p_value:.2g}{allowed}"]
    if verdict.maturity < 1:
        parts.append(f"warming up {verdict.seen}/{verdict.needed}")
    return ", ".join(parts)


def _number(value: float) -> str:
    """Six digits at most, so that a line stays a line."""
    return f"{value:.6g}"


def _finding(verdict: Verdict) -> str:
    what = verdict.feature or "value"
    if verdict.value is None:
        return f"{what} is missing, score {verdict.own_score:.3g}"
    if verdict.expected is None:
        return f"{what} {_number(verdict.value)} scores {verdict.own_score:.3g}"
    band = ""
    if verdict.lower is not None and verdict.upper is not None:
        band = f" (band {_number(verdict.lower)} .. {_number(verdict.upper)})"
    value, expected = _number(verdict.value), _number(verdict.expected)
    if not verdict.model_version.startswith(_IN_SIGMAS):
        return f"{what} {value} scores {verdict.own_score:.3g} where {expected} was expected{band}"
    side = "above" if verdict.value >= verdict.expected else "below"
    return f"{what} {value} is {verdict.own_score:.3g} sigma {side} the expected {expected}{band}"


def _share(verdict: Verdict) -> list[str]:
    own = verdict.features.get(verdict.feature)
    if len(verdict.features) < 2 or own is None or verdict.score <= 0:
        return []
    return [f"{100 * own.contribution / verdict.score:.0f}% of the score over {len(verdict.features)} features"]
