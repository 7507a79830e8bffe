"""Telling a verdict to a person: what was seen, how rare that is, and why it did or did not raise an alarm.

``explain`` says it in one line, out of the verdict alone; here the stream's rules and the verdicts before it have a say
too, so a verdict that is no anomaly can be explained as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.detection.events import HISTORY, Verdict
from oddtide.domain.detection.explain import reason
from oddtide.domain.detection.threshold import ThresholdRule

__all__ = ["rarity", "tell", "why_alarm"]

_NAMED = ((1e12, 1e12, "million million"), (1e9, 1e9, "thousand million"), (1e6, 1e6, "million"))


def tell(
    verdict: Verdict, threshold: ThresholdRule, rules: AlarmRules, before: Sequence[Verdict] = ()
) -> list[tuple[str, str]]:
    """(subject, sentence) pairs, the most important first. ``before`` are the verdicts of the series up to this one,
    oldest first, as far as they are known."""
    told = [
        ("finding", reason(verdict)),
        ("how rare", rarity(verdict)),
        ("alarm", why_alarm(verdict, threshold, rules, before)),
        ("detector", _detector(verdict)),
        ("maturity", _maturity(verdict)),
    ]
    if len(verdict.features) > 1:
        told.append(("features", _features(verdict)))
    return told


def rarity(verdict: Verdict) -> str:
    """How often an ordinary reading is at least as strange."""
    p_value = verdict.p_value
    if _unjudged(verdict):
        return "not known: the detector is warming up, which counts as p 1"
    if p_value >= 0.5:
        return f"nothing strange: most ordinary readings look like it (p {p_value:.2g})"
    figures = f"p {p_value:.2g}, score {verdict.score:.3g}"
    return f"about one ordinary reading in {_count(1 / p_value)} is as strange ({figures})"


def _unjudged(verdict: Verdict) -> bool:
    """Whether nobody can say anything of it yet: no detector, nor how others of its stream began."""
    return verdict.maturity < 1 and verdict.p_value >= 1 and not verdict.is_anomaly


def _count(number: float) -> str:
    """Two digits, in words where it is large."""
    for least, unit, name in _NAMED:
        if number >= least * 0.995:
            times = number / unit
            return f"{_rounded(times)} {name}" if times < 1e4 else f"10^{math.log10(number):.0f}"
    return _rounded(number)


def _rounded(number: float) -> str:
    """Two digits, written out: 240, not 2.4e+02."""
    digits = max(int(math.log10(number)) - 1, 0)
    return f"{round(number / 10**digits) * 10**digits:,}" if number >= 10 else f"{number:.2g}"


def why_alarm(verdict: Verdict, threshold: ThresholdRule, rules: AlarmRules, before: Sequence[Verdict] = ()) -> str:
    """Why the reading is an anomaly, or what kept it from being one."""
    if verdict.suppressed_by == HISTORY:
        return "no alarm: it was loaded as history, which the detectors learn and nobody is told of"
    if verdict.suppressed_by:
        return f"no alarm: planned work {verdict.suppressed_by} was under way; the detectors did not learn the reading"
    if _unjudged(verdict):
        return f"no alarm: still warming up, {verdict.seen} of {verdict.needed} readings"
    known = verdict.maturity >= 1  # else it is the prior that speaks, on a scale of its own
    by_score = threshold.score is not None and known and verdict.own_score >= threshold.score
    if verdict.is_anomaly and by_score:
        return f"an alarm: its own score {verdict.own_score:.4g} is at or above the threshold of {threshold.score:.4g}"
    limit, named = _limit(verdict, threshold)
    if verdict.is_anomaly:
        return f"an alarm: p {verdict.p_value:.2g} is at or below {named}"
    if verdict.p_value > limit:
        return f"no alarm: p {verdict.p_value:.2g} is above {named}"
    rule = _ruled_out(verdict, limit, rules, before)
    return f"no alarm, though p {verdict.p_value:.2g} is within {named}: {rule}"


def _limit(verdict: Verdict, threshold: ThresholdRule) -> tuple[float, str]:
    """Down to what the p-value had to come, and how that is called."""
    if verdict.alarm_level:
        level = verdict.alarm_level
        return level, f"{level:.2g}, which is what the alarm budget allowed at this reading"
    return threshold.p_value, f"the threshold of {threshold.p_value:.2g}"


def _ruled_out(verdict: Verdict, limit: float, rules: AlarmRules, before: Sequence[Verdict]) -> str:
    """Which of the stream's rules kept a strange enough reading from being an anomaly."""
    if verdict.value is not None and verdict.expected is not None:
        distance = verdict.value - verdict.expected
        if abs(distance) < rules.min_effect:
            return f"it is {abs(distance):.4g} from the expected value, the least effect is {rules.min_effect:.4g}"
        if rules.direction != "both" and (distance > 0) != (rules.direction == "above"):
            return f"only readings {rules.direction} the expected value raise alarms"
    lasted = 1
    for earlier in reversed(before):
        if earlier.p_value > limit:
            break
        lasted += 1
    if lasted < rules.min_duration:
        return f"the {_ordinal(lasted)} strange reading in a row, of {rules.min_duration} that it takes"
    for ago, earlier in enumerate(reversed(before[-rules.refractory :] if rules.refractory else ()), start=1):
        if earlier.alarm_score > 0.0 and earlier.alarm_score >= verdict.score:
            return f"one at least as strange came {ago} readings before, within the {rules.refractory} of rest after it"
    return "a rule of the stream for alarms (see [streams.threshold])"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


def _detector(verdict: Verdict) -> str:
    own = f"{verdict.own_score:.4g} on its own scale"
    return f"{verdict.detector} counted most: {own} ({verdict.model_version})"


def _maturity(verdict: Verdict) -> str:
    if verdict.maturity < 1:
        return f"warming up {verdict.seen}/{verdict.needed}: {verdict.maturity:.0%}"
    return f"mature: {verdict.seen:,} readings of the series learnt, {verdict.needed:,} needed"


def _features(verdict: Verdict) -> str:
    total = sum(each.contribution for each in verdict.features.values())
    if total <= 0:
        return "none contributes: the score is 0"
    shares = sorted(verdict.features.items(), key=lambda item: -item[1].contribution)
    shown = [f"{name} {each.contribution / total:.0%}" for name, each in shares[:8] if each.contribution > 0]
    return ", ".join(shown) + (f" and {len(shares) - 8} more" if len(shares) > 8 else "")
