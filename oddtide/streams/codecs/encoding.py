"""A reading as the bytes that travel: the one encoder of everything in Python that pushes readings, and of
``oddtide detect``, which is how a file gets the verdicts that the same file gets through Kafka."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson

from oddtide.domain.readings import FloatArray, IntArray, rfc3339

__all__ = ["VALUE", "encode_columns", "encode_reading"]

#: The feature of a stream that declares no others; it travels as ``"value": 1.5``, others under ``"features"``.
VALUE = "value"
#: Whole numbers from here on are read as nanoseconds; earlier times (before March 1973) travel as text.
_SURELY_NANOSECONDS = 10**17


def encode_reading(
    series: str, time: int, values: Mapping[str, float | None], labels: Mapping[str, str] | None = None
) -> bytes:
    """One reading as JSON. ``time`` in ns since 1970 UTC. Numbers keep every bit; NaN and None travel as null.

    Raises ``TypeError`` (of orjson) for text that is not Unicode.
    """
    reading: dict[str, object] = {"series": series, "time": time if time >= _SURELY_NANOSECONDS else rfc3339(time)}
    if len(values) == 1 and VALUE in values:
        reading[VALUE] = values[VALUE]
    else:
        reading["features"] = values
    if labels:
        reading["labels"] = labels
    return orjson.dumps(reading, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_columns(series: str, times: IntArray, columns: Mapping[str, FloatArray]) -> bytes:
    """Many readings of one series as a batch in JSON columns. NaN marks a missing feature."""
    moments = times.tolist() if (times >= _SURELY_NANOSECONDS).all() else [rfc3339(time) for time in times.tolist()]
    lists = {name: np.ascontiguousarray(column, dtype=np.float64) for name, column in columns.items()}
    reading: dict[str, object] = {"series": series, "time": moments}
    if len(lists) == 1 and VALUE in lists:
        reading[VALUE] = lists[VALUE]
    else:
        reading["features"] = lists
    return orjson.dumps(reading, option=orjson.OPT_SERIALIZE_NUMPY)
