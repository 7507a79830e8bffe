"""Readings as columns: the plain values that pass between the domains.

A *reading* is one input record's series, time and numeric features. Inside the process readings travel
as columns in log order, never as objects, so that validating, profiling and scoring a batch cost a few
array passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["FloatArray", "IntArray", "Readings", "Rfc3339", "parse_rfc3339", "rfc3339"]

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]

#: A moment as people and programs write it: UTC, ``2026-01-31T12:00:00.123456789Z``, trailing zeros cut.
Rfc3339: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


def rfc3339(nanoseconds: int) -> str:
    """The moment ``nanoseconds`` after 1970 in UTC; fractions only as long as they need to be."""
    seconds, fraction = divmod(int(nanoseconds), 1_000_000_000)
    text = str(np.datetime64(seconds, "s"))
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else f"{text}Z"


def parse_rfc3339(text: str) -> int:
    """The inverse of :func:`rfc3339`, for texts that it wrote. Raises ``ValueError`` for anything else."""
    if not text.endswith("Z"):
        raise ValueError(f"{text!r} is not a UTC time ending in Z")
    return int(np.datetime64(text[:-1], "ns").astype(np.int64))


@dataclass(slots=True)
class Readings:
    """Columns of ``n`` readings over ``d`` features, in log order.

    ``series``       n keys
    ``times``        (n,) int64, nanoseconds since 1970 UTC: event time
    ``values``       (n, d) float64; NaN marks a missing feature and nothing else (input NaN is rejected)
    ``offsets``      (n,) int64, offset of the record each came in
    ``rows``         (n,) int64, row within that record (0 for a record of one reading)
    ``arrivals``     (n,) int64, nanoseconds: the Kafka record's timestamp
    ``labels``       per reading, or empty when none has any
    """

    series: Sequence[str]
    times: IntArray
    values: FloatArray
    offsets: IntArray
    rows: IntArray
    arrivals: IntArray
    labels: Sequence[Mapping[str, str] | None] = field(default_factory=tuple)

    def __len__(self) -> int:
        return len(self.series)

    def take(self, index: IntArray | NDArray[np.bool_]) -> Readings:
        """The readings at ``index`` (positions or mask), order kept."""
        where = np.flatnonzero(index) if index.dtype == np.bool_ else index
        picks = where.tolist()
        return Readings(
            series=[self.series[i] for i in picks],
            times=self.times[where],
            values=self.values[where],
            offsets=self.offsets[where],
            rows=self.rows[where],
            arrivals=self.arrivals[where],
            labels=[self.labels[i] for i in picks] if self.labels else (),
        )
