"""Batches in Arrow IPC, stream or file: columns ``series``, ``time``, one per feature (``value`` is the feature that a
single reading's field would name), optionally ``labels``.

``series`` is text (also dictionary-encoded), ``time`` a timestamp, text or number as in JSON, a feature any integer,
float or decimal, ``labels`` a map or struct of texts. Nulls are what is missing. Beyond that a row means what a
single reading of its cells would mean.

The whole record is refused where it is not exactly one complete stream or file: the format lets a stream end without
its end marker, but then one that lost its last batches would pass for a whole. Compressed buffers are refused too: they
could claim any size, and Kafka compresses by itself. Nothing is read before lengths, offsets and UTF-8 are checked.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from oddtide.domain.quality.reasons import Reason
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.streams.codecs.arrow_layout import Layouts
from oddtide.streams.codecs.arrow_plain import plain_block
from oddtide.streams.codecs.blocks import Block, RowRefusal
from oddtide.streams.codecs.columns import Columns, check_rows, read_columns
from oddtide.streams.codecs.json_reading import Origin, Rules
from oddtide.streams.codecs.refusing import refusal, show
from oddtide.streams.codecs.times import EARLIEST, LATEST, Nanoseconds

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_arrow"]

_FILE: Final = b"ARROW1"
_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_UNIT: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2
#: How Arrow before 1.0 named a compression; still read by pyarrow.
_LEGACY: Final = b"ARROW:experimental_compression"
_META = ("series", "time", "labels", "id")


def read_arrow(
    raw: bytes, origin: Origin, rules: Rules, position: int, layouts: Layouts
) -> tuple[Block, list[RowRefusal]]:
    """A batch in Arrow IPC. Raises ``DecodeError`` where the record as a whole is refused."""
    known = layouts.read(raw, position)
    if known is not None:
        return known, []
    import pyarrow as pa

    try:
        checked, used = _open(raw, rules)
        scale = _ticks(checked, used)
        plain = plain_block(checked, _features(used, rules), scale, rules, position) if scale else None
        if plain is not None:
            layouts.learn(raw, checked[0], _features(used, rules), scale)
            return plain, []
        columns = _columns(checked, used, rules)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, struct.error) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise refusal(Reason.INVALID_ARROW, lines[0][:200]) from None
    return read_columns(columns, origin, rules, position)


def _open(raw: bytes, rules: Rules) -> tuple[list[pa.RecordBatch], list[str]]:
    """The record's batches with the columns that mean something, and their names."""
    batches = _batches(raw)
    used = _chosen(batches[0].schema, rules)
    checked = []
    for batch in batches:
        part = batch.select(used)
        part.validate(full=True)
        checked.append(part)
    return checked, used


def _ticks(batches: list[pa.RecordBatch], used: list[str]) -> int:
    """How many nanoseconds a tick of the times has; 0 where they are not timestamps."""
    import pyarrow as pa

    kind = batches[0].schema.field("time").type if "time" in used else pa.null()
    return _UNIT[kind.unit] if pa.types.is_timestamp(kind) else 0


def _columns(checked: list[pa.RecordBatch], used: list[str], rules: Rules) -> Columns:
    names = set(used)
    return Columns(
        rows=sum(batch.num_rows for batch in checked),
        series=_together(checked, "series", _texts) if "series" in names else None,
        times=_times(checked),
        features={name: _numbers(checked, column) for name, column in _features(used, rules).items()},
        labels=_together(checked, "labels", _labels) if "labels" in names else None,
        absent={name: _absent(checked, column) for name, column in _features(used, rules).items()},
    )


def _batches(raw: bytes) -> list[pa.RecordBatch]:
    """The batches of exactly one complete stream, and nothing beside them."""
    import pyarrow as pa

    body, tail = raw, 0
    if raw.startswith(_FILE):
        # A file is a stream between a magic word and a footer, whose length stands before the closing magic word.
        if not raw.endswith(_FILE) or len(raw) < 28:
            raise refusal(Reason.INVALID_ARROW, "an Arrow file that does not end as one; truncated?")
        tail = struct.unpack("<i", raw[-10:-6])[0] + 10
        body = raw[8 : len(raw) - tail] if tail > 0 else b""
    if not body.endswith(_END):
        raise refusal(Reason.INVALID_ARROW, "the stream has no end marker; truncated?")
    _refuse_compressed(body)
    source = pa.BufferReader(body)
    batches, rows = [], 0
    with pa.ipc.open_stream(source) as reader:
        for batch in reader:
            rows += batch.num_rows
            check_rows(max(rows, 1))
            batches.append(batch)
    if source.tell() != len(body):
        raise refusal(Reason.INVALID_ARROW, f"{len(body) - source.tell()} bytes after the end of the stream")
    check_rows(rows)
    if rows > len(raw):
        raise refusal(Reason.TOO_LARGE, f"{rows} readings in {len(raw)} bytes; a reading takes at least one")
    return batches


def _refuse_compressed(body: bytes) -> None:
    import pyarrow as pa

    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(body)):
        metadata = message.metadata.to_pybytes()
        if (_known if len(metadata) <= _SHORT else _compressed)(metadata):
            raise refusal(Reason.INVALID_ARROW, "compressed buffers; send them plain, Kafka compresses by itself")


def _compressed(metadata: bytes) -> bool:
    """Whether a message's record batch names a compression: pyarrow would tell only after having unpacked it."""
    if _LEGACY in metadata:
        return True
    message = struct.unpack_from("<I", metadata, 0)[0]
    kind, table = metadata[_present(metadata, message, 1)], _child(metadata, message, 2)
    if kind == _DICTIONARY_BATCH:
        table = _child(metadata, table, 1)
    return kind in {_RECORD_BATCH, _DICTIONARY_BATCH} and _field(metadata, table, 3) > 0


#: Batches of one producer mostly have the same metadata, byte for byte. Long ones are not remembered.
_known = lru_cache(maxsize=256)(_compressed)
_SHORT: Final = 4096


def _child(buffer: bytes, table: int, index: int) -> int:
    """The table that a flatbuffer table's field points to."""
    place = _present(buffer, table, index)
    return place + int(struct.unpack_from("<I", buffer, place)[0])


def _present(buffer: bytes, table: int, index: int) -> int:
    place = _field(buffer, table, index)
    if not place:
        raise ValueError("a message lacks its header")
    return place


def _field(buffer: bytes, table: int, index: int) -> int:
    """Where a flatbuffer table keeps its field; 0 where it leaves it out. pyarrow has verified the message."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    size = struct.unpack_from("<H", buffer, vtable)[0]
    entry = 4 + 2 * index
    offset = struct.unpack_from("<H", buffer, vtable + entry)[0] if entry + 2 <= size else 0
    return table + int(offset) if offset else 0


def _chosen(schema: pa.Schema, rules: Rules) -> list[str]:
    """The columns that mean something, their types checked; the others are refused or left alone."""
    names = list(schema.names)
    if len(set(names)) < len(names):
        raise refusal(Reason.INVALID_ARROW, "two columns have the same name")
    features = _features(names, rules)
    known = {"series", "time", "labels", *features.values()}
    if rules.strict:
        unknown = [name for name in names if name not in known and name != "id"]
        if unknown:
            raise refusal(Reason.UNKNOWN_FIELD, f"column {show(unknown[0])} is not in the contract")
    used = [name for name in names if name in known]
    for name in used:
        _check_type(name, schema.field(name).type, rules)
    return used


def _features(names: Sequence[str], rules: Rules) -> dict[str, str]:
    """Feature to column. A feature's own name goes before ``value``."""
    found = {name: name for name in rules.names if name in names and name not in _META}
    if "value" in names and rules.value in rules.names:
        found.setdefault(rules.value, "value")
    return found


def _check_type(name: str, kind: pa.DataType, rules: Rules) -> None:
    fits = {"series": _is_text, "time": _is_time, "labels": _is_labels}.get(name, _is_number)
    if not fits(kind):
        raise refusal(Reason.INVALID_ARROW, f"column {show(name)} has type {str(kind)[:60]}")
    if name == "labels" and kind.num_fields > max(rules.max_labels, 2):
        raise refusal(Reason.INVALID_LABELS, f"{kind.num_fields} labels; the contract allows {rules.max_labels}")


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind))


def _is_time(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_timestamp(kind) or _is_text(kind) or types.is_integer(kind) or types.is_floating(kind))


def _is_labels(kind: pa.DataType) -> bool:
    """No dictionaries here: one long text used in every row would be copied for each."""
    import pyarrow as pa

    if pa.types.is_map(kind):
        parts = [kind.key_type, kind.item_type]
    elif pa.types.is_struct(kind):
        parts = [kind.field(place).type for place in range(kind.num_fields)]
    else:
        return bool(pa.types.is_null(kind))
    return all(_is_text(part) and not pa.types.is_dictionary(part) for part in parts)


def _together(batches: Sequence[pa.RecordBatch], name: str, read: Callable[[Any], list[object]]) -> list[object]:
    return [cell for batch in batches for cell in read(batch.column(name))]


def _texts(column: Any) -> list[object]:
    """Texts as Python objects; a dictionary's are made once, however often they are used."""
    import pyarrow as pa

    if isinstance(column, pa.DictionaryArray):
        texts = column.dictionary.to_pylist()
        return [None if place is None else texts[place] for place in column.indices.to_pylist()]
    return list(column.to_pylist())


def _labels(column: Any) -> list[object]:
    """Labels by row; of a key twice in a map the last wins, as in JSON; a struct's nulls are absent labels."""
    rows = (dict(row) if row is not None else {} for row in column.to_pylist())
    return [{name: text for name, text in row.items() if text is not None} for row in rows]


def _times(batches: Sequence[pa.RecordBatch]) -> Sequence[object] | IntArray:
    import pyarrow as pa

    if "time" not in batches[0].schema.names:
        return [None] * sum(batch.num_rows for batch in batches)
    kind = batches[0].schema.field("time").type
    if not pa.types.is_timestamp(kind):
        return _together(batches, "time", _texts)
    scale = _UNIT[kind.unit]
    column = pa.chunked_array([batch.column("time") for batch in batches]).cast(pa.int64())
    if not column.null_count:
        ticks: IntArray = column.to_numpy()
        if int(ticks.min()) * scale >= EARLIEST and int(ticks.max()) * scale <= LATEST:
            return np.asarray(ticks * scale, dtype=np.int64)
    return [None if tick is None else Nanoseconds(tick * scale) for tick in column.to_pylist()]


def _numbers(batches: Sequence[pa.RecordBatch], name: str) -> FloatArray:
    import pyarrow as pa

    parts = [batch.column(name).cast(pa.float64(), safe=False) for batch in batches]
    return np.concatenate([part.to_numpy(zero_copy_only=False) for part in parts])


def _absent(batches: Sequence[pa.RecordBatch], name: str) -> Any:
    return np.concatenate([batch.column(name).is_null().to_numpy(zero_copy_only=False) for batch in batches])
