"""Event-sourced anomaly detection for streams.

Without Kafka, on arrays, iterables and files::

    import oddtide
    for verdict in oddtide.detect_anomalies("readings.csv"):
        print(verdict.time, verdict.value, verdict.reason)

:func:`detect_anomalies`, :func:`explain_reading`, :func:`compare_algorithms`, :func:`train_model`,
:func:`process_streaming` and :func:`monitor_health` run the very pipeline that the workers run. :class:`Producer`
pushes readings to Kafka, :class:`Consumer` reads results back, ``oddtide.errors`` holds the exceptions. Importing this
package imports nothing else; each name loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oddtide.config.clients import Consumer, Producer
    from oddtide.config.facade import (
        Comparison,
        Detections,
        Health,
        TrainedModel,
        compare_algorithms,
        detect_anomalies,
        explain_reading,
        monitor_health,
        process_streaming,
        train_model,
    )
    from oddtide.domain import errors

__all__ = [
    "Comparison",
    "Consumer",
    "Detections",
    "Health",
    "Producer",
    "TrainedModel",
    "__version__",
    "compare_algorithms",
    "detect_anomalies",
    "errors",
    "explain_reading",
    "monitor_health",
    "process_streaming",
    "train_model",
]

__version__ = "0.1.0"

_HOMES = {"Consumer": "oddtide.config.clients", "Producer": "oddtide.config.clients"}
_FACADE = "oddtide.config.facade"


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name == "errors":
        return import_module("oddtide.domain.errors")
    if name not in __all__:
        raise AttributeError(f"module 'oddtide' has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, _FACADE)), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
