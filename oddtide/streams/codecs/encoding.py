"""A reading as the bytes that travel: the one encoder of everything in Python that pushes readings, and of
``oddtide detect``, which is how a file gets the verdicts that the same file gets through Kafka."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from oddtide.domain.readings import rfc3339

__all__ = ["VALUE", "encode_reading"]

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
