"""Readings as columns: the plain values that pass between the domains.

A *reading* is one input record's series, time and numeric features. Inside the process readings travel
as columns in log order, never as objects, so that validating, profiling and scoring a batch cost a few
array passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self, TypeAlias, TypeVar, overload

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

__all__ = [
    "ByteArray",
    "FloatArray",
    "IntArray",
    "Labels",
    "LabelsColumn",
    "Readings",
    "Rfc3339",
    "SeriesColumn",
    "parse_rfc3339",
    "rfc3339",
]

ByteArray: TypeAlias = NDArray[np.uint8]
IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]
#: The labels of one reading: texts by name.
Labels: TypeAlias = Mapping[str, str]

_NOTHING = np.zeros(0, dtype=np.uint8)
_NOTHING.flags.writeable = False
_Item_co = TypeVar("_Item_co", covariant=True)
_PACKED_AT_ONCE = 10_000

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


class _Ranges(Sequence[_Item_co]):
    """``n`` things as ranges over shared bytes, read when somebody asks: thing ``i`` is
    ``data[at[i] : at[i] + size[i]]``.

    Ranges may overlap, so that what is used often is there once. Read only: whoever changes ``data`` changes every
    column that shares it. Not checked: that the ranges lie within ``data``. Two columns of the same things are not
    equal for that: compare their lists.
    """

    __slots__ = ("at", "data", "size")

    def __init__(self, data: ByteArray, at: IntArray, size: IntArray) -> None:
        if data.flags.writeable:
            data = data.view()
            data.flags.writeable = False  # also so that kernels meet one type of array, and are compiled once
        self.data, self.at, self.size = data, at, size

    @classmethod
    def packing(cls, raw: Sequence[bytes]) -> Self:
        """A column of its own bytes, from each thing's."""
        size = np.fromiter(map(len, raw), dtype=np.int64, count=len(raw))
        return cls(np.frombuffer(b"".join(raw), dtype=np.uint8), np.cumsum(size) - size, size)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The things of all ``parts``, in order. Bytes that parts share are not copied more than once."""
        if len(parts) == 1:
            return parts[0]
        starts: dict[int, int] = {}
        shared: list[ByteArray] = [np.zeros(0, dtype=np.uint8)]
        end = 0
        for part in parts:
            if id(part.data) not in starts:
                starts[id(part.data)] = end
                shared.append(part.data)
                end += len(part.data)
        shifted = [part.at + starts[id(part.data)] for part in parts]
        none = np.zeros(0, dtype=np.int64)
        return cls(
            np.concatenate(shared), np.concatenate([none, *shifted]), np.concatenate([none, *(p.size for p in parts)])
        )

    def take(self, index: IntArray) -> Self:
        """Those at the positions ``index``, over the same bytes."""
        return type(self)(self.data, self.at[index], self.size[index])

    def packed(self) -> Self:
        """The same in bytes of their own, one right after the other and nothing else: fit to be stored."""
        ends = np.cumsum(self.size)
        at = ends - self.size
        data = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
        for start in range(0, len(at), _PACKED_AT_ONCE):  # 24 bytes of places a byte: not of all at once
            part = slice(start, start + _PACKED_AT_ONCE)
            first, last = at[start], ends[part][-1]
            places = np.arange(first, last) + np.repeat(self.at[part] - at[part], self.size[part])
            data[first:last] = self.data[places]
        return type(self)(data, at, self.size.copy())

    def __len__(self) -> int:
        return len(self.at)

    @overload
    def __getitem__(self, index: int) -> _Item_co: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> _Item_co | Self:
        if isinstance(index, slice):
            return type(self)(self.data, self.at[index], self.size[index])
        at = int(self.at[index])
        return self._read(self.data.data[at : at + int(self.size[index])])

    def __iter__(self) -> Iterator[_Item_co]:
        view, read = self.data.data, self._read
        for at, size in zip(self.at.tolist(), self.size.tolist(), strict=True):
            yield read(view[at : at + size])

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:5]))
        return f"{type(self).__name__}({len(self)}: {shown}{', …' if len(self) > 5 else ''})"

    @staticmethod
    def _read(raw: memoryview) -> _Item_co:
        raise NotImplementedError


class SeriesColumn(_Ranges[str]):
    """``n`` series keys as ranges of UTF-8 over shared bytes. A key costs nothing until somebody asks for it as a
    ``str``."""

    __slots__ = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> SeriesColumn:
        """A column of ``names``, in bytes of its own."""
        names = list(names)
        together = "".join(names)
        if not together.isascii():
            return cls.packing([name.encode() for name in names])
        size = np.fromiter(map(len, names), dtype=np.int64, count=len(names))
        return cls(np.frombuffer(together.encode(), dtype=np.uint8), np.cumsum(size) - size, size)

    @classmethod
    def repeated(cls, name: str, count: int) -> SeriesColumn:
        """``count`` times the same key."""
        return cls.of([name]).take(np.zeros(count, dtype=np.int64))

    @staticmethod
    def _read(raw: memoryview) -> str:
        return str(raw, "utf-8")


class LabelsColumn(_Ranges[Labels | None]):
    """The labels of ``n`` readings as JSON objects of texts over shared bytes; no bytes stand for no labels. Nothing is
    parsed until somebody asks."""

    __slots__ = ()

    @classmethod
    def of(cls, labels: Iterable[Labels | None]) -> LabelsColumn:
        """A column of ``labels``, or the empty one where none of them has any."""
        raw = [orjson.dumps(each) if each else b"" for each in labels]
        return cls.packing(raw if any(raw) else [])

    @classmethod
    def none(cls, count: int = 0) -> LabelsColumn:
        """``count`` readings without labels."""
        nothing = np.zeros(count, dtype=np.int64)
        return cls(_NOTHING, nothing, nothing)

    @staticmethod
    def _read(raw: memoryview) -> Labels | None:
        return orjson.loads(raw) if len(raw) else None


@dataclass(slots=True)
class Readings:
    """Columns of ``n`` readings over ``d`` features, in log order.

    ``series``       n keys, as a column over their bytes
    ``times``        (n,) int64, nanoseconds since 1970 UTC: event time
    ``values``       (n, d) float64; NaN marks a missing feature and nothing else (input NaN is rejected)
    ``offsets``      (n,) int64, offset of the record each came in
    ``rows``         (n,) int64, row within that record (0 for a record of one reading)
    ``arrivals``     (n,) int64, nanoseconds: the Kafka record's timestamp
    ``labels``       per reading, or empty when none has any
    """

    series: SeriesColumn
    times: IntArray
    values: FloatArray
    offsets: IntArray
    rows: IntArray
    arrivals: IntArray
    labels: LabelsColumn = field(default_factory=LabelsColumn.none)

    def __len__(self) -> int:
        return len(self.series)

    def take(self, index: IntArray | NDArray[np.bool_]) -> Readings:
        """The readings at ``index`` (positions or mask), order kept."""
        where = np.flatnonzero(index) if index.dtype == np.bool_ else index.astype(np.int64, copy=False)
        return Readings(
            series=self.series.take(where),
            times=self.times[where],
            values=self.values[where],
            offsets=self.offsets[where],
            rows=self.rows[where],
            arrivals=self.arrivals[where],
            labels=self.labels.take(where) if self.labels else self.labels,
        )
