"""Pushing readings."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from oddtide.adapters.kafka.connection import KafkaConnection
from oddtide.config.clients.place import find_place
from oddtide.domain.errors import DecodeError, UsageError
from oddtide.streams.codecs.encoding import VALUE, encode_columns, encode_reading
from oddtide.streams.codecs.times import parse_time

if TYPE_CHECKING:
    from oddtide.adapters.kafka.writer import Sent

__all__ = ["Producer"]

#: A moment: RFC 3339 text, a Unix epoch in s, ms, µs or ns (told by its size), a datetime (UTC where it has no zone).
Time: TypeAlias = str | int | float | datetime | np.datetime64 | np.integer[Any] | np.floating[Any]
_ROWS_A_RECORD = 1_000


class Producer:
    """Pushes readings to a topic, keyed by series, so that a series stays in order in one partition (Kafka's own
    murmur2 partitioner). Idempotent, acknowledged by all replicas; about 32 MiB may be on their way.

    ``bootstrap``  ``host:port,…`` or a ``KafkaConnection`` with TLS or SASL; without it the settings of ``config`` (or
                   ``oddtide.toml`` here, or the embedded Kafka of ``.oddtide``)
    ``topic``      the readings topic (default: that of the first declared stream, else ``oddtide.readings``)
    ``clock``      ns since 1970, for readings without a time

    What was accepted by :meth:`send` is surely delivered only once its ``.wait()``, :meth:`flush` or the end of the
    ``with`` block came back without an error. Threads may share a producer.
    """

    def __init__(
        self,
        bootstrap: str | KafkaConnection | None = None,
        topic: str | None = None,
        *,
        config: str | Path | None = None,
        clock: Callable[[], int] = clock.time_ns,
    ) -> None:
        from oddtide.adapters.kafka.writer import KafkaWriter

        place = find_place(bootstrap, config)
        self.topic = topic or place.topics.streams[0][1]
        self._clock = clock
        self._writer = KafkaWriter(place.connection)

    def send(
        self,
        series: str,
        value: float | None = None,
        *,
        features: Mapping[str, float | None] | None = None,
        time: Time | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Sent:
        """Send one reading: a ``value``, or named ``features`` (None: missing). Without ``time`` it is now.

        Returns a handle whose ``.wait()`` waits for the acknowledgement. Raises ``UsageError`` for what the pipeline
        would refuse, ``NotFoundError`` for an unknown topic, ``BrokerUnreachableError``.
        """
        if (value is None) == (features is None):
            raise UsageError("A reading has either a value or features.", remedy="Give exactly one of them.")
        values = {VALUE: value} if features is None else dict(features)
        for name, number in values.items():
            _check_number(name, number)
        _check_labels(labels)
        moment = self._clock() if time is None else _nanoseconds(time)
        return self._writer.send(self.topic, encode_reading(_key(series), moment, values, labels), key=series.encode())

    def send_many(
        self,
        *,
        series: str | Sequence[str],
        time: Sequence[Time] | np.ndarray[Any, Any],
        value: Sequence[float] | np.ndarray[Any, Any] | None = None,
        features: Mapping[str, Sequence[float] | np.ndarray[Any, Any]] | None = None,
    ) -> list[Sent]:
        """Send many readings as columns of one length: batches of up to 1,000 readings of one series in a record, in
        order within each series. NaN marks a missing feature. Returns a handle for each record.

        Raises as :meth:`send`, before anything is sent where the columns are at fault.
        """
        if (value is None) == (features is None):
            raise UsageError("Readings have either a value or features.", remedy="Give exactly one of them.")
        given = {VALUE: value} if features is None else features
        columns = {name: np.asarray(column, dtype=np.float64) for name, column in given.items()}
        times = np.array([_nanoseconds(moment) for moment in time], dtype=np.int64)
        keys = [series] * len(times) if isinstance(series, str) else list(series)
        lengths = {"series": len(keys), "time": len(times), **{name: len(column) for name, column in columns.items()}}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise UsageError(f"The columns differ in length: {shown}.", remedy="Give one entry a reading in each.")
        for name, column in columns.items():
            if np.isinf(column).any():
                raise UsageError(f"The column {name!r} has an infinite number.", remedy="Send finite numbers.")
        return [self._send_columns(key, rows, times, columns) for key, rows in _batches(keys)]

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything sent is acknowledged; raises the first failure since the last flush."""
        self._writer.flush(timeout)

    def close(self) -> None:
        """Flush and let go of the connection."""
        try:
            self._writer.flush()
        finally:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self._writer.close()

    def _send_columns(
        self, key: str, rows: Sequence[int], times: np.ndarray[Any, Any], columns: Mapping[str, np.ndarray[Any, Any]]
    ) -> Sent:
        where = np.asarray(rows)
        chosen = {name: column[where] for name, column in columns.items()}
        return self._writer.send(self.topic, encode_columns(key, times[where], chosen), key=key.encode())


def _batches(keys: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        mine = rows.setdefault(_key(key), [])
        mine.append(row)
        if len(mine) >= _ROWS_A_RECORD:
            yield key, rows.pop(key)
    yield from rows.items()


def _key(series: str) -> str:
    if not isinstance(series, str) or not series:
        raise UsageError(f"The series {series!r} is no name.", remedy="Give a text that is not empty.")
    return series


def _check_number(name: str, number: object) -> None:
    if number is None:
        return
    if isinstance(number, bool) or not isinstance(number, int | float | np.number):
        raise UsageError(
            f"{name} is {number!r}, not a number.", remedy="Send a finite number, or None for a missing one."
        )
    if not math.isfinite(float(number)):
        raise UsageError(
            f"{name} is {number!r}, not finite.", remedy="Send a finite number, or None for a missing one."
        )


def _check_labels(labels: Mapping[str, str] | None) -> None:
    for name, text in (labels or {}).items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise UsageError(f"The label {name!r} is {text!r}.", remedy="Labels are texts by name.")


def _nanoseconds(moment: Time) -> int:
    if isinstance(moment, np.datetime64):
        if np.isnat(moment):
            raise UsageError("The time is NaT.", remedy="Give every reading a time.")
        return int(moment.astype("datetime64[ns]").astype(np.int64))
    if isinstance(moment, datetime):
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        whole = zoned - datetime(1970, 1, 1, tzinfo=UTC)
        return ((whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds) * 1_000
    try:
        return parse_time(moment.item() if isinstance(moment, np.generic) else moment)
    except DecodeError as error:
        raise UsageError(f"{error.detail}.", remedy="Give RFC 3339, a Unix epoch or a datetime.") from None
