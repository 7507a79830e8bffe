"""The ordinary case, fast: bare JSON readings without headers, decoded in one tight loop.

It refuses nothing: whatever is not plainly in order is left to the exact path (``odd``), so that the two cannot
disagree on what a reading means. Every record is decoded on its own: joining records to decode them at once would let
two broken ones complete each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import orjson

from oddtide.domain.errors import DecodeError
from oddtide.domain.readings import SeriesColumn
from oddtide.streams.codecs.blocks import Block
from oddtide.streams.codecs.decoded import RecordLike
from oddtide.streams.codecs.json_reading import Origin, Rules, read_labels, read_series
from oddtide.streams.codecs.times import nanoseconds

__all__ = ["FastPath"]

_NUMBERS = frozenset({float, int})
_PLAIN = Origin()
#: Series' names remembered as valid; forgotten all at once when there are more.
_REMEMBERED = 200_000


class FastPath:
    """Decodes what is ordinary. Holds no state but a bounded memory of names seen, which alters no outcome."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._names: dict[str, str] = {}
        single = len(rules.names) == 1
        self._field = "value" if single else "features"
        self._pick: Callable[[Any], Any] | None = None if single else itemgetter(*rules.names)

    def decode(self, records: Sequence[RecordLike]) -> tuple[Block, list[int]]:
        """The readings of the ordinary records, and the positions of the others, ascending."""
        kept: list[int] = []
        odd: list[int] = []
        series: list[str] = []
        times: list[object] = []
        values: list[object] = []
        labels: dict[int, Mapping[str, str]] = {}
        loads, names, field, number = orjson.loads, self._names, self._field, self._number
        for position, record in enumerate(records):
            if record.headers:
                odd.append(position)
                continue
            try:
                document = loads(record.value)  # type: ignore[arg-type]  # null is refused like any other
                size = len(document)
                name = document["series"]
                time = document["time"]
                value = document[field]
                known = names.get(name) or self._admit(name)
                if type(value) is not float:
                    value = number(value)
                if size != 3:
                    self._label(document, size, labels, len(kept))
            except (ValueError, TypeError, LookupError, DecodeError):
                odd.append(position)
                continue
            kept.append(position)
            series.append(known)
            times.append(time)
            values.append(value)
        return self._block(kept, series, times, values, labels, odd), odd

    def _admit(self, name: object) -> str:
        """Remember a valid name: one object for all readings of a series, its hash computed once."""
        if type(name) is not str:
            raise TypeError
        if len(self._names) >= _REMEMBERED:
            self._names.clear()
        self._names[name] = name = read_series(name, _PLAIN, self._rules)
        return name

    def _number(self, value: object) -> object:
        """An integer as it is; for a stream of several features, their tuple."""
        if self._pick is None:
            if type(value) is int:
                return value
            raise TypeError
        if type(value) is not dict or len(value) != len(self._rules.names):
            raise TypeError
        numbers = self._pick(value)
        if not set(map(type, numbers)) <= _NUMBERS:
            raise TypeError
        return tuple(numbers)

    def _label(self, document: object, size: int, labels: dict[int, Mapping[str, str]], place: int) -> None:
        if size != 4 or type(document) is not dict:
            raise TypeError
        given = read_labels(document["labels"], self._rules)
        if given is not None:
            labels[place] = given

    def _block(
        self,
        kept: list[int],
        series: list[str],
        times: list[object],
        values: list[object],
        labels: dict[int, Mapping[str, str]],
        odd: list[int],
    ) -> Block:
        moments, ok = nanoseconds(times)
        block = Block(
            records=np.array(kept, dtype=np.int64),
            rows=np.zeros(len(kept), dtype=np.int64),
            series=SeriesColumn.of(series),
            times=moments,
            values=np.array(values, dtype=np.float64).reshape(len(kept), len(self._rules.names)),
            labels=[labels.get(place) for place in range(len(kept))] if labels else (),
        )
        if ok.all():
            return block
        odd.extend(block.records[~ok].tolist())
        odd.sort()
        picks = np.flatnonzero(ok).tolist()
        return Block(
            records=block.records[ok],
            rows=block.rows[ok],
            series=block.series.take(np.flatnonzero(ok)),
            times=moments[ok],
            values=block.values[ok],
            labels=[block.labels[i] for i in picks] if labels else (),
        )
