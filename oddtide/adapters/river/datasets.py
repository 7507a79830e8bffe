"""Real data that ships with river, as readings: a water pipe and a space shuttle."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from oddtide.domain.errors import MissingExtraError

__all__ = ["SHUTTLE_FEATURES", "WATER_FLOW_ANOMALIES", "DatasetReading", "KnownAnomaly", "shuttle", "water_flow"]

SHUTTLE_FEATURES = tuple(f"f{i}" for i in range(1, 10))
_SHUTTLE_START = datetime(2020, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DatasetReading(NamedTuple):
    """One row: ``time`` in ns since 1970, its features, and the truth where the data set tells it."""

    time: int
    values: dict[str, float]
    is_anomaly: bool | None = None


class KnownAnomaly(NamedTuple):
    """A documented anomaly: from ``first`` to ``last``, both in, in ns since 1970."""

    first: int
    last: int
    what: str


def _nanoseconds(moment: datetime) -> int:
    return ((moment - _EPOCH) // timedelta(microseconds=1)) * 1_000


def _known(first: str, last: str, what: str) -> KnownAnomaly:
    return KnownAnomaly(_nanoseconds(datetime.fromisoformat(first)), _nanoseconds(datetime.fromisoformat(last)), what)


#: The four anomalous segments of WaterFlow. river's documentation of the data set (``river.datasets.WaterFlow``) tells
#: their number and kind: three moments of low values, by water losses or maintenance, and after the first two of them
#: a small peak, by pumping into the main pipe. The hours were read off the series, which they leave no doubt about:
#: the flow drops from 100 l/s to 24 l/s, and peaks at the highest value there is.
WATER_FLOW_ANOMALIES = (
    _known("2022-03-24T08:00+01:00", "2022-03-25T01:00+01:00", "low flow: water loss or maintenance"),
    _known("2022-03-29T08:00+02:00", "2022-03-29T21:00+02:00", "low flow: water loss or maintenance"),
    _known("2022-04-03T05:00+02:00", "2022-04-03T06:00+02:00", "small peak: pumping into the main pipe"),
    _known("2022-04-27T15:00+02:00", "2022-04-28T06:00+02:00", "low flow: water loss or maintenance"),
)


def water_flow() -> Iterator[DatasetReading]:
    """1,268 hourly values of a water pipe in l/s (feature ``value``), March to May 2022. Kindly donated to river by
    Tecnojest s.r.l. The truth is in :data:`WATER_FLOW_ANOMALIES`."""
    with _file("water-flow.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            time = datetime.fromisoformat(row["Time"])
            yield DatasetReading(_nanoseconds(time), {"value": float(row["Water flow [l/s]"])})


def shuttle(rows: int = 20_000) -> Iterator[DatasetReading]:
    """The first ``rows`` of 49,097 readings of nine sensors of a NASA space shuttle, 7 % of them anomalies
    (UCI Statlog (Shuttle), as the ODDS benchmark labels it).

    The data has no times: row ``n`` gets ``n`` seconds after the start of 2020.
    """
    start = _nanoseconds(_SHUTTLE_START)
    with gzip.open(_file("shuttle.csv.gz"), "rt", encoding="utf-8", newline="") as file:
        for index, row in enumerate(islice(csv.DictReader(file), rows)):
            values = {name: float(row[name]) for name in SHUTTLE_FEATURES}
            yield DatasetReading(start + index * 1_000_000_000, values, row["anomaly"] == "1")


def _file(name: str) -> Path:
    """A file of ``river.datasets``, found without importing river, which takes seconds."""
    spec = find_spec("river")
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(folders[0], "datasets", name) if folders else Path(name)
    if not path.is_file():
        raise MissingExtraError(f"river's data set {name} is not installed.", remedy="Install river 0.26.")
    return path
