"""What the demo pushes: river's data sets as fast as they go, then this machine's metrics, a sample a second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from oddtide.adapters.host.metrics import HostMetrics
from oddtide.adapters.kafka.writer import KafkaWriter
from oddtide.adapters.river.datasets import shuttle, water_flow
from oddtide.config.demo.setting import HOST, SHUTTLE, WATER
from oddtide.streams.codecs.encoding import encode_reading

__all__ = ["BROKEN", "RUN", "TRUTH", "Fed", "Feeder", "Series"]

#: The label that carries a data set's own truth.
TRUTH = "anomaly"
#: What the names of a run's series begin with.
RUN = "run-"
#: One reading that cannot be one, so that a dead letter is seen.
BROKEN = b'{"series": "demo.broken", "time": "yesterday evening", "value": 1}'
_INTERVAL_S = 1.0


class Fed(NamedTuple):
    """The data sets are pushed and acknowledged: how many readings of each, and how many labelled anomalies."""

    water: int
    shuttle: int
    anomalies: int


@dataclass(frozen=True)
class Series:
    """Names of the series of this run."""

    water: str
    shuttle: str

    @classmethod
    def of_run(cls, number: int) -> Series:
        """Those of run ``number``."""
        return cls(f"{RUN}{number}.water-flow", f"{RUN}{number}.shuttle")


class Feeder:
    """Pushes to the topics ``topics`` (by stream) until ``stop`` is set. ``count`` is told how many records were
    pushed."""

    def __init__(
        self,
        topics: Mapping[str, str],
        series: Series,
        clock: Callable[[], int],
        count: Callable[[int], None],
        *,
        shuttle_rows: int = 20_000,
    ) -> None:
        self._topics = topics
        self._series = series
        self._clock = clock
        self._count = count
        self._rows = shuttle_rows

    def data_sets(self, writer: KafkaWriter, stop: threading.Event) -> Fed:
        """Push WaterFlow, Shuttle and one broken reading, and wait until they are surely in the log."""
        water = self._push(writer, stop, self._water())
        truth = [0]
        nine = self._push(writer, stop, self._shuttle(truth))
        writer.send(self._topics[HOST], BROKEN, key=b"demo.broken")
        self._count(1)
        writer.flush()
        return Fed(water, nine, truth[0])

    def live(self, writer: KafkaWriter, stop: threading.Event) -> None:
        """Push this machine's metrics every second until told to stop."""
        host = HostMetrics(self._clock)
        while not stop.wait(_INTERVAL_S):
            time, values = host.sample()
            for name, value in values.items():
                writer.send(self._topics[HOST], encode_reading(name, time, {"value": value}), key=name.encode())
            self._count(len(values))
            writer.flush()

    def _push(self, writer: KafkaWriter, stop: threading.Event, records: Iterator[tuple[str, str, bytes]]) -> int:
        pushed = 0
        for topic, series, value in records:
            if stop.is_set():
                break
            writer.send(topic, value, key=series.encode())
            self._count(1)
            pushed += 1
        return pushed

    def _water(self) -> Iterator[tuple[str, str, bytes]]:
        series = self._series.water
        for reading in water_flow():
            yield self._topics[WATER], series, encode_reading(series, reading.time, reading.values)

    def _shuttle(self, truth: list[int]) -> Iterator[tuple[str, str, bytes]]:
        series = self._series.shuttle
        for reading in shuttle(self._rows):
            truth[0] += bool(reading.is_anomaly)
            labels = {TRUTH: "1" if reading.is_anomaly else "0"}
            yield self._topics[SHUTTLE], series, encode_reading(series, reading.time, reading.values, labels)
