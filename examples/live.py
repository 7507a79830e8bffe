"""Verdicts reading by reading, as they come: here from a generator, in life from a sensor or a socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

import oddtide


def sensor() -> Iterator[dict[str, Any]]:
    start, rng = datetime(2026, 1, 1, tzinfo=UTC), np.random.default_rng(2)
    for i in range(500):
        value = 90.0 if i == 400 else float(rng.normal(60, 2))
        yield {"series": "pump-1", "time": start + timedelta(seconds=i), "value": value}


def main() -> None:
    for verdict in oddtide.process_streaming(sensor(), detector="ewma:alpha=0.05"):
        if verdict.is_anomaly:
            print(verdict.time, verdict.series, verdict.reason)


if __name__ == "__main__":
    main()
