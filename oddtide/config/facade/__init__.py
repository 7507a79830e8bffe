"""The facade: the workers' pipeline for Python programmers, on arrays, iterables and files; no Kafka, no files written.

* :func:`detect_anomalies`: what is strange in this data?
* :func:`explain_reading`: why was this row judged as it was?
* :func:`process_streaming`: the same, reading by reading, as they come.
* :func:`compare_algorithms`: which detector suits it?
* :func:`train_model`: a batch model of PyOD's, to detect with or to keep.
* :func:`monitor_health`: what does the data look like, and does it drift? Or: how fares the running platform?

Detectors score a reading before they learn from it, here as there, so a result never used what came later.
"""

from __future__ import annotations

from oddtide.config.facade.comparison import Comparison, compare_algorithms
from oddtide.config.facade.detecting import detect_anomalies, process_streaming
from oddtide.config.facade.detections import Detections
from oddtide.config.facade.explaining import explain_reading
from oddtide.config.facade.health import Health, monitor_health
from oddtide.config.facade.training import TrainedModel, train_model

__all__ = [
    "Comparison",
    "Detections",
    "Health",
    "TrainedModel",
    "compare_algorithms",
    "detect_anomalies",
    "explain_reading",
    "monitor_health",
    "process_streaming",
    "train_model",
]
