"""Verdicts as columns: what scoring a batch yields, and single verdicts out of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.detection.events import AnomalyDetected, FeatureVerdict, Verdict
from oddtide.domain.detection.explain import reason
from oddtide.domain.detection.ports import Scores
from oddtide.domain.readings import FloatArray, IntArray, Readings, rfc3339
from oddtide.domain.statistics import surprise
from oddtide.streams.pipeline.planned_work import Suppressed
from oddtide.streams.pipeline.running_hash import Digests, digest_rows
from oddtide.streams.pipeline.series import name_hashes

__all__ = ["Origin", "VerdictColumns", "place_of_verdict", "verdict_id"]


def verdict_id(application: str, stream: str, topic: str, partition: int, offset: int, row: int, version: str) -> str:
    """A verdict's id: its input coordinates and the pipeline's version, readable, the same however often computed."""
    return f"{application}/{stream}/{topic}/{partition}/{offset}/{row}@{version}"


def place_of_verdict(id: str) -> tuple[str, str, int] | None:
    """Stream, topic and partition of the verdict with this id; None for what is no verdict's id."""
    parts = id.partition("@")[0].split("/")
    if len(parts) != 6 or not all(parts) or not all(part.isdecimal() and len(part) < 20 for part in parts[3:]):
        return None  # Python refuses to read numbers of thousands of digits
    return parts[1], parts[2], int(parts[3])


@dataclass(frozen=True, slots=True)
class Origin:
    """What all verdicts of a batch share. ``detectors`` and ``model_versions`` are parallel."""

    application: str
    stream: str
    topic: str
    partition: int
    version: str
    features: tuple[str, ...]
    detectors: tuple[str, ...]
    model_versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerdictColumns:
    """``n`` verdicts in log order. ``driver`` (n,) tells whose scores these are, ``needed`` (n,) its warm-up.
    ``suppressed`` says which are under planned work, where any is: those are no anomalies. ``alarm_p`` (n,) are the
    alarm p-values where the stream has rules for alarms; without, they are the p-values. ``levels`` (n,) are those that
    an alarm budget allowed to be alarms.

    ``scores`` are on the drivers' own scales; what a verdict shows is the surprise, and what each feature contributes
    to that: worked out where it is asked for, or given (n, d) as ``shares`` where it was read back."""

    origin: Origin
    readings: Readings
    scores: Scores
    driver: IntArray
    needed: IntArray
    is_anomaly: NDArray[np.bool_]
    suppressed: Suppressed | None = None
    alarm_p: FloatArray | None = None
    shares: FloatArray | None = None
    levels: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.readings)

    def __iter__(self) -> Iterator[Verdict]:
        return (self.verdict(i) for i in range(len(self)))

    @property
    def anomalies(self) -> IntArray:
        """Positions of the anomalies."""
        return np.flatnonzero(self.is_anomaly).astype(np.int64)

    def surprises(self, part: slice) -> FloatArray:
        """(m,) scores as verdicts show them: ``-log10`` of the p-value."""
        return surprise(self.scores.p_value[part])

    def contributions(self, part: slice) -> FloatArray:
        """(m, d) what each feature contributes to the surprise: each row sums to it, as far as rounding goes. A row
        that the detector's own score says nothing about is shared out evenly among the features it has."""
        if self.shares is not None:
            return self.shares[part]
        own, score = self.scores.contributions[part], self.scores.score[part, None]
        there = ~np.isnan(self.readings.values[part])
        even = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
        share = np.divide(own, score, out=even, where=score > 0.0)
        contributions: FloatArray = share * self.surprises(part)[:, None]
        return contributions

    def digests(self) -> Digests:
        """The rows that the running hash is taken over, by their digests."""
        readings, scores = self.readings, self.scores
        integers = [
            readings.offsets, readings.rows, name_hashes(readings.series).view(np.int64), readings.times, scores.seen,
            self.driver, self.needed, self._outcomes(),
        ]  # fmt: skip
        floats: list[FloatArray | None] = [
            scores.score, scores.p_value, readings.values, scores.expected, scores.lower, scores.upper,
            scores.contributions,
        ]  # fmt: skip
        floats += [column for column in (self.alarm_p, self.levels) if column is not None]
        return digest_rows(integers, floats, len(self.origin.features))

    def _outcomes(self) -> IntArray:
        """1 for an anomaly, 0 for none, and for a row under planned work a number that stands for that."""
        outcomes = self.is_anomaly.astype(np.int64)
        if self.suppressed is not None:
            digests = [hashlib.blake2b(id.encode(), digest_size=8).digest() for id in self.suppressed.ids]
            numbers = np.array([int.from_bytes(raw, "little", signed=True) for raw in digests], dtype=np.int64)
            under = self.suppressed.rows
            outcomes[under] = numbers[self.suppressed.which[under]]
        return outcomes

    def id(self, index: int) -> str:
        """The id of the verdict at ``index``."""
        origin = self.origin
        return verdict_id(
            origin.application, origin.stream, origin.topic, origin.partition,
            int(self.readings.offsets[index]), int(self.readings.rows[index]), origin.version,
        )  # fmt: skip

    def verdict(self, index: int) -> Verdict:
        """One verdict as a value. Those of anomalies carry their reason."""
        fields = self._fields(index)
        if not fields["is_anomaly"]:
            return Verdict(**fields)
        return Verdict(**fields, reason=reason(Verdict(**fields)))

    def detection(self, index: int) -> AnomalyDetected:
        """The anomaly at ``index`` as the event that is published."""
        fields = self._fields(index)
        return AnomalyDetected(**fields, reason=reason(Verdict(**fields)))

    def _fields(self, index: int) -> dict[str, Any]:
        origin, readings, scores = self.origin, self.readings, self.scores
        features = self._features(index)
        main = max(features, key=lambda name: features[name].contribution)
        part = slice(index, index + 1)
        shown = features[main]
        seen, needed = int(scores.seen[index]), int(self.needed[index])
        driver = int(self.driver[index])
        labels = readings.labels[index] if readings.labels else None
        return {
            "id": self.id(index),
            "stream": origin.stream,
            "series": readings.series[index],
            "time": rfc3339(int(readings.times[index])),
            "feature": main,
            "value": shown.value,
            "score": float(self.surprises(part)[0]),
            "own_score": float(scores.score[index]),
            "p_value": float(scores.p_value[index]),
            "alarm_score": self.alarm_score(index),
            "alarm_level": None if self.levels is None else float(self.levels[index]),
            "is_anomaly": bool(self.is_anomaly[index]),
            "expected": shown.expected,
            "lower": shown.lower,
            "upper": shown.upper,
            "maturity": min(1.0, seen / needed) if needed else 1.0,
            "seen": seen,
            "needed": needed,
            "features": features,
            "labels": dict(labels) if labels else {},
            "detector": origin.detectors[driver],
            "model_version": origin.model_versions[driver],
            "pipeline_version": origin.version,
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": int(readings.offsets[index]),
            "row": int(readings.rows[index]),
            "suppressed_by": self.suppressed.by(index) if self.suppressed is not None else "",
        }

    def alarm_score(self, index: int) -> float:
        """How surprising the reading is, where it may raise an alarm: ``-log10`` of its alarm p-value, else 0."""
        if self.suppressed is not None and self.suppressed.rows[index]:
            return 0.0
        p_value = self.scores.p_value if self.alarm_p is None else self.alarm_p
        return float(surprise(p_value[index : index + 1])[0])

    def _features(self, index: int) -> dict[str, FeatureVerdict]:
        scores, values = self.scores, self.readings.values[index]
        contributions = self.contributions(slice(index, index + 1))[0]
        return {
            name: FeatureVerdict(
                value=_number(values[j]),
                expected=_cell(scores.expected, index, j),
                lower=_cell(scores.lower, index, j),
                upper=_cell(scores.upper, index, j),
                contribution=float(contributions[j]),
            )
            for j, name in enumerate(self.origin.features)
        }


def _number(value: Any) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number


def _cell(block: FloatArray | None, row: int, column: int) -> float | None:
    return None if block is None else _number(block[row, column])
