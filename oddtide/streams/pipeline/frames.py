"""Verdict frames: every verdict of a batch in one message, as an Arrow IPC stream.

Column names are the fields of ``Verdict``; a feature's are ``value:<feature>``, ``expected:<feature>`` and so on. What
all rows share (stream, coordinates, versions) stands in the schema's metadata, so any Arrow reader can use a frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson

from oddtide.domain.detection.events import Verdict
from oddtide.domain.detection.ports import Scores
from oddtide.domain.errors import DecodeError
from oddtide.domain.readings import FloatArray, IntArray, LabelsColumn, Readings, SeriesColumn
from oddtide.streams.pipeline.planned_work import Suppressed
from oddtide.streams.pipeline.verdicts import Origin, VerdictColumns

__all__ = ["FRAME_TYPE", "FramePlaces", "encode_frames", "expand_frame", "frame_places"]

FRAME_TYPE = "oddtide.VerdictFrame"
CONTENT_TYPE = "application/vnd.apache.arrow.stream"
#: A frame holds at most so many rows and, unless a single row is larger, so many bytes: well below Kafka's 1 MiB.
MAX_ROWS = 5_000
MAX_BYTES = 900_000
_ROW_BYTES, _FEATURE_BYTES = 100, 40

_BLOCKS = ("expected", "lower", "upper")


class FramePlaces(NamedTuple):
    """Which verdicts a frame holds: (n,) offsets and rows."""

    origin: Origin
    offsets: IntArray
    rows: IntArray


def encode_frames(columns: VerdictColumns) -> Iterator[bytes]:
    """The verdicts as frames, in order."""
    # As many rows as are likely to fit: a frame that is too large is encoded for nothing.
    rows = max(min(MAX_ROWS, MAX_BYTES // (_ROW_BYTES + _FEATURE_BYTES * len(columns.origin.features))), 1)
    for start in range(0, len(columns), rows):
        yield from _small_enough(columns, start, min(start + rows, len(columns)))


def _small_enough(columns: VerdictColumns, start: int, stop: int) -> Iterator[bytes]:
    frame = _encode(columns, start, stop)
    if len(frame) <= MAX_BYTES or stop - start == 1:
        yield frame
        return
    middle = (start + stop) // 2
    yield from _small_enough(columns, start, middle)
    yield from _small_enough(columns, middle, stop)


def _encode(columns: VerdictColumns, start: int, stop: int) -> bytes:
    import pyarrow as pa

    origin, readings, scores, part = columns.origin, columns.readings, columns.scores, slice(start, stop)
    data: dict[str, Any] = {
        "series": _texts(readings.series[start:stop]).dictionary_encode(),
        "time": readings.times[part],
        "offset": readings.offsets[part],
        "row": readings.rows[part],
        "arrival": readings.arrivals[part],
        "score": columns.surprises(part),
        "own_score": scores.score[part],
        "p_value": scores.p_value[part],
        "is_anomaly": columns.is_anomaly[part],
        "seen": scores.seen[part],
        "needed": columns.needed[part],
        "driver": columns.driver[part],
    }
    if columns.suppressed is not None and columns.suppressed.rows[part].any():
        under = [columns.suppressed.by(row) or None for row in range(start, stop)]
        data["suppressed_by"] = pa.array(under, pa.string()).dictionary_encode()
    if columns.alarm_p is not None:
        data["alarm_p"] = columns.alarm_p[part]
    if columns.levels is not None:
        data["alarm_level"] = columns.levels[part]
    if readings.labels:
        data["labels"] = _texts(readings.labels[start:stop]).dictionary_encode()
    contributions = columns.contributions(part)
    for j, feature in enumerate(origin.features):
        data[f"value:{feature}"] = readings.values[part, j]
        data[f"contribution:{feature}"] = contributions[:, j]
        for name in _BLOCKS:
            block = getattr(scores, name)
            if block is not None:
                data[f"{name}:{feature}"] = block[part, j]
    table = pa.table(data).replace_schema_metadata({"oddtide": msgspec.json.encode(origin)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _texts(column: SeriesColumn | LabelsColumn) -> Any:
    """Keys or labels as an Arrow array over their bytes, null where there are none: nothing becomes a ``str``."""
    import pyarrow as pa

    packed = column.packed()
    ends = np.append(packed.at, len(packed.data)).astype(np.int32)
    there = np.packbits(packed.size > 0, bitorder="little")
    return pa.StringArray.from_buffers(len(packed), *map(pa.py_buffer, (ends, packed.data, there)))


def expand_frame(frame: bytes) -> Iterator[Verdict]:
    """The verdicts of a frame, in order. Raises ``DecodeError`` for what is none."""
    return iter(_decode(frame))


def frame_places(frame: bytes) -> FramePlaces:
    """Which verdicts a frame holds. Raises ``DecodeError`` for what is none."""
    table, origin = _open(frame)
    return FramePlaces(origin, table.column("offset").to_numpy(), table.column("row").to_numpy())


def _open(frame: bytes) -> tuple[Any, Origin]:
    import pyarrow as pa

    try:
        table = pa.ipc.open_stream(frame).read_all()
        return table, msgspec.json.decode((table.schema.metadata or {})[b"oddtide"], type=Origin)
    except (pa.ArrowException, OSError, KeyError, ValueError, msgspec.MsgspecError) as error:
        raise DecodeError("not_a_frame", f"no verdict frame: {error}") from None


def _decode(frame: bytes) -> VerdictColumns:
    table, origin = _open(frame)

    def column(name: str) -> Any:
        return table.column(name).to_numpy()

    def block(name: str) -> FloatArray | None:
        names = [f"{name}:{feature}" for feature in origin.features]
        if names[0] not in table.column_names:
            return None
        return np.stack([column(each) for each in names], axis=1)

    values, contributions = block("value"), block("contribution")
    if values is None or contributions is None:
        raise DecodeError("not_a_frame", "no verdict frame: it has no values")
    labels = table.column("labels").to_pylist() if "labels" in table.column_names else []
    readings = Readings(
        SeriesColumn.of(table.column("series").to_pylist()),
        column("time"),
        values,
        column("offset"),
        column("row"),
        column("arrival"),
        LabelsColumn.of(orjson.loads(text) if text else None for text in labels),
    )
    scores = Scores(
        column("own_score"), column("p_value"), contributions, column("seen"), block("expected"), block("lower"),
        block("upper"),
    )  # fmt: skip
    under = table.column("suppressed_by").to_pylist() if "suppressed_by" in table.column_names else []
    alarm_p, levels = (column(name) if name in table.column_names else None for name in ("alarm_p", "alarm_level"))
    return VerdictColumns(
        origin, readings, scores, column("driver"), column("needed"), column("is_anomaly"), _suppressed(under), alarm_p,
        contributions, levels,
    )  # fmt: skip


def _suppressed(under: list[str | None]) -> Suppressed | None:
    ids = tuple(dict.fromkeys(id for id in under if id))
    which = np.array([ids.index(id) if id else -1 for id in under], dtype=np.int64)
    return Suppressed(which, ids) if ids else None
