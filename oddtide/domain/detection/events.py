"""What detection says: verdicts, one per reading, and the anomalies among them."""

from __future__ import annotations

from oddtide.domain.events import Event
from oddtide.domain.readings import Rfc3339

__all__ = ["HISTORY", "AbsenceDetected", "AnomalyDetected", "FeatureVerdict", "SeriesReturned", "Verdict"]

import msgspec

#: What a verdict is ``suppressed_by`` whose reading was loaded as history.
HISTORY = "history"


class FeatureVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One feature's share of a verdict. ``None`` where the reading or the method has none."""

    value: float | None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    contribution: float = 0.0


class Verdict(Event, frozen=True, kw_only=True):
    """The full outcome for one scored reading.

    ``value``, ``expected``, ``lower`` and ``upper`` repeat those of ``feature``, the one that contributes
    most (for a stream of one feature, that one). ``maturity`` is ``seen / needed`` capped at 1; below 1 the
    detector is still warming up and ``p_value`` is 1, unless the stream has a population prior: ``detector`` is
    ``prior`` then. ``p_value`` is in (0, 1]; with several detectors it is that of
    all together and ``detector`` names the one whose surprise counted most. ``score`` is the surprise,
    ``-log10`` of the p-value, comparable across series and detectors; contributions sum to it. ``own_score`` is that
    detector's score on its own scale. ``alarm_score`` is the score where the stream's rules for alarms let the reading
    raise one, else 0: a threshold may be swept over it.
    ``alarm_level``, where the stream has an alarm budget, is what the p-value had to come down to for an alarm, and 0
    where the reading could raise none, like while warming up.
    ``suppressed_by`` is the id of the planned work during which the reading was made: such a verdict is no anomaly,
    whatever its score, and the detectors did not learn the reading. ``history``: the reading was loaded as such; it is
    no anomaly either, and was learnt.
    """

    id: str
    stream: str
    series: str
    time: Rfc3339
    feature: str
    value: float | None
    score: float
    p_value: float
    is_anomaly: bool
    own_score: float = 0.0
    alarm_score: float = 0.0
    alarm_level: float | None = None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    maturity: float = 1.0
    seen: int = 0
    needed: int = 0
    features: dict[str, FeatureVerdict] = {}
    labels: dict[str, str] = {}
    detector: str = ""
    model_version: str = ""
    pipeline_version: str = ""
    topic: str = ""
    partition: int = 0
    offset: int = 0
    row: int = 0
    reason: str = ""
    suppressed_by: str = ""


class AnomalyDetected(Verdict, frozen=True, kw_only=True):
    """A verdict whose p-value (or score) crossed its stream's threshold. ``reason`` says why in one line."""


class AbsenceDetected(Event, frozen=True, kw_only=True):
    """A series has said nothing since its reading of ``since``: the partition's time has reached ``deadline``.

    ``id`` is a function of stream, partition, series and deadline, so an absence is one fact however often it is
    computed. ``allowed_s`` is how long the series may be silent. ``offset`` is where in the partition time had come
    that far; where nothing arrived any more and the partition's owner let time pass, the next offset. Published once;
    :class:`SeriesReturned` ends it.
    """

    id: str
    stream: str
    series: str
    time: Rfc3339
    since: Rfc3339
    deadline: Rfc3339
    allowed_s: float
    topic: str = ""
    partition: int = 0
    offset: int = 0
    reason: str = ""


class SeriesReturned(Event, frozen=True, kw_only=True):
    """A series that was absent speaks again, ``silent_s`` after its reading of ``since``. ``absence`` is the id of the
    :class:`AbsenceDetected` that this ends, ``time`` that of the reading at ``offset`` and ``row``."""

    id: str
    stream: str
    series: str
    time: Rfc3339
    absence: str
    since: Rfc3339
    silent_s: float
    topic: str = ""
    partition: int = 0
    offset: int = 0
    row: int = 0
