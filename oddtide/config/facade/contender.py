"""What comes of one detector when several are compared."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Contender"]


@dataclass(frozen=True)
class Contender:
    """One detector's outcome over the readings that every detector of the comparison scored in earnest.

    Of the ranking by surprise (higher is better; NaN without labels): ``average_precision``; ``roc_auc``; ``vus_pr``,
    the volume under the precision-recall surface, which forgives being a little early or late. Of the detections, at
    p-values down to ``p_value``: ``precision`` and ``recall`` count single readings, ``found`` the labelled stretches
    with a detection inside; no measure is adjusted for the rest of a stretch.

    ``detections`` are readings; detections of a series at most ``quiet_s`` apart are one of the ``alarms``.
    ``alarms_per_day`` is over all series, NaN where the readings have no times. ``agreement`` is the share of its
    detections that another detector made too. ``seconds`` is processor time to score and learn every reading,
    compilation and training left out; ``bytes_per_series`` what a worker keeps of one. ``warm_up`` readings of a
    series are learnt before its scores count; a trained one learnt ``trained`` readings first. ``compared`` is False
    where it never came so far: it then has no figures but its cost, and does not hold up the others.
    """

    detector: str
    average_precision: float
    roc_auc: float
    vus_pr: float
    precision: float
    recall: float
    found: int
    detections: int
    alarms: int
    alarms_per_day: float
    alarms_per_1000: float
    agreement: float
    seconds: float
    readings_per_s: float
    bytes_per_series: int
    warm_up: int
    trained: int
    p_value: float
    compared: bool
