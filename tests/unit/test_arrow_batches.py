from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.streams.codecs.arrow import _compressed
from oddtide.streams.codecs.columns import MAX_ROWS
from oddtide.streams.codecs.decoded import WHOLE_RECORD, Decoded, Record
from oddtide.streams.codecs.readings import ReadingDecoder

TEXT = pa.string()
ONE = Contract()
SEVERAL = Contract((FeatureRule("a"), FeatureRule("b", required=False)))
EVENT = {"ce_specversion": "1.0", "ce_type": "oddtide.Readings", "ce_time": "1970-01-01T00:00:09Z"}
STREAM = "application/vnd.apache.arrow.stream"


def packed(table: pa.Table, *, file: bool = False, rows: int | None = None, **options: Any) -> bytes:
    sink = io.BytesIO()
    new = pa.ipc.new_file if file else pa.ipc.new_stream
    with new(sink, table.schema, **options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def columns(**data: Any) -> pa.Table:
    return pa.table({"series": ["s", "s"], "time": pa.array([1, 2], pa.timestamp("s")), "value": [1.0, 2.0]} | data)


def decode(
    raw: bytes, contract: Contract = ONE, *, key: bytes | None = None, headers: dict[str, str] | None = None
) -> Decoded:
    named = [(name, text.encode()) for name, text in (headers or {}).items()]
    return ReadingDecoder(contract).decode([Record(3, 0, key, raw, named)])


def refused(raw: bytes, contract: Contract = ONE, *, headers: dict[str, str] | None = None) -> str:
    decoded = decode(raw, contract, headers=headers)
    assert len(decoded.readings) == 0
    (refusal,) = decoded.refusals
    assert refusal.row == WHOLE_RECORD
    assert 0 < len(refusal.detail) < 300
    return refusal.reason


@pytest.mark.parametrize("file", [False, True])
@pytest.mark.parametrize("headers", [{}, {"content-type": STREAM}, {"content-type": "application/octet-stream"}])
@pytest.mark.parametrize("rows", [None, 1])
def test_streams_and_files(file: bool, headers: dict[str, str], rows: int | None) -> None:
    decoded = decode(packed(columns(), file=file, rows=rows), headers=headers)
    readings = decoded.readings
    assert list(readings.series) == ["s", "s"]
    assert readings.times.tolist() == [10**9, 2 * 10**9]
    assert readings.values.tolist() == [[1.0], [2.0]]
    assert readings.rows.tolist() == [0, 1]
    assert decoded.refusals == []


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_timestamps_are_instants_whatever_their_unit_and_zone(unit: str, zone: str | None) -> None:
    scale = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    times = pa.array([-1, 5], pa.timestamp(unit, zone))
    assert decode(packed(columns(time=times))).readings.times.tolist() == [-scale, 5 * scale]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (pa.array([1_700_000_000, 1_700_000_000_000]), [1_700_000_000 * 10**9] * 2),
        (pa.array([1.5, 2.0]), [1_500_000_000, 2_000_000_000]),
        (pa.array(["1970-01-01T00:00:01Z", "1970-01-01 00:00:02"]), [10**9, 2 * 10**9]),
        (pa.array(["1970-01-01T00:00:01Z"] * 2).dictionary_encode(), [10**9, 10**9]),
    ],
)
def test_times_as_in_json(times: pa.Array, expected: list[int]) -> None:
    assert decode(packed(columns(time=times))).readings.times.tolist() == expected


def test_timestamps_out_of_range_refuse_their_row() -> None:
    decoded = decode(packed(columns(time=pa.array([1, 2**62], pa.timestamp("s")))))
    assert [(r.row, r.reason) for r in decoded.refusals] == [(1, "invalid_time")]


def test_a_null_time_falls_back_to_the_cloudevents() -> None:
    raw = packed(columns(time=pa.array([1, None], pa.timestamp("s"))))
    assert [(r.row, r.reason) for r in decode(raw).refusals] == [(1, "missing_time")]
    decoded = decode(raw, headers={**EVENT, "content-type": STREAM})
    assert decoded.readings.times.tolist() == [10**9, 9 * 10**9]


def test_no_series_and_no_time_column() -> None:
    raw = packed(pa.table({"value": [1.0]}))
    decoded = decode(raw, key=b"k", headers=EVENT)
    assert list(decoded.readings.series) == ["k"]
    assert [r.reason for r in decode(raw, key=b"k").refusals] == ["missing_time"]
    assert [r.reason for r in decode(raw).refusals] == ["missing_series"]


@pytest.mark.parametrize(
    "series",
    [pa.array(["x", "y"]), pa.array(["x", "y"], pa.large_string()), pa.array(["x", "y"]).dictionary_encode(),
     pa.array(["x", None]), pa.array(["x", None]).dictionary_encode()],
)  # fmt: skip
def test_series_as_text(series: pa.Array) -> None:
    assert list(decode(packed(columns(series=series), rows=1), key=b"y").readings.series) == ["x", "y"]


def test_nulls_are_missing_and_nan_is_refused() -> None:
    table = pa.table({"series": ["s"] * 4, "time": [1, 2, 3, 4], "a": [1, None, 3, 4],
                      "b": [None, 1.0, float("nan"), float("inf")]})  # fmt: skip
    decoded = decode(packed(table, rows=3), SEVERAL)
    np.testing.assert_array_equal(decoded.readings.values, [[1, np.nan]])
    assert [(r.row, r.reason) for r in decoded.refusals] == [
        (1, "missing_feature"), (2, "not_finite"), (3, "not_finite"),
    ]  # fmt: skip


def test_a_feature_that_is_null_throughout_has_no_type() -> None:
    table = pa.table({"series": ["s"], "time": [1], "a": [1], "b": pa.nulls(1)})
    np.testing.assert_array_equal(decode(packed(table), SEVERAL).readings.values, [[1, np.nan]])


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(9, 2)])
def test_any_number_is_a_feature(kind: pa.DataType) -> None:
    assert decode(packed(columns(value=pa.array([1.0, 2.0]).cast(kind)))).readings.values.tolist() == [[1.0], [2.0]]


def test_value_names_the_only_feature_unless_it_has_its_own_column() -> None:
    contract = Contract((FeatureRule("level"),))
    assert decode(packed(columns()), contract).readings.values.tolist() == [[1.0], [2.0]]
    assert refused(packed(columns(level=[3, 4])), contract) == "unknown_field"
    loose = Contract((FeatureRule("level"),), unknown_fields="ignore")
    assert decode(packed(columns(level=[3, 4])), loose).readings.values.tolist() == [[3.0], [4.0]]


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([[("a", "x"), ("a", "b")], None], pa.map_(TEXT, TEXT)),
        pa.array([{"a": "b", "c": None}, None], pa.struct([("a", TEXT), ("c", TEXT)])),
        pa.array([{"a": "b"}, {"a": None}], pa.struct([("a", TEXT)])),
    ],
)
def test_labels(labels: pa.Array) -> None:
    assert list(decode(packed(columns(labels=labels))).readings.labels) == [{"a": "b"}, None]


def test_a_null_column_of_labels_is_none() -> None:
    assert list(decode(packed(columns(labels=pa.nulls(2)))).readings.labels) == []


def test_too_many_labels() -> None:
    wide = pa.array([{str(i): "x" for i in range(33)}] * 2)
    assert refused(packed(columns(labels=wide))) == "invalid_labels"
    long = pa.array([[(str(i), "x") for i in range(33)], []], pa.map_(TEXT, TEXT))
    assert [(r.row, r.reason) for r in decode(packed(columns(labels=long))).refusals] == [(0, "invalid_labels")]


@pytest.mark.parametrize(
    "data",
    [
        {"value": ["1", "2"]}, {"value": [True, False]}, {"series": [1, 2]}, {"series": [b"a", b"b"]},
        {"time": [True, False]}, {"labels": ["a", "b"]}, {"labels": pa.array([{"a": 1}, {"a": 2}])},
        {"labels": pa.array([{"a": "b"}] * 2, pa.struct([("a", pa.dictionary(pa.int8(), TEXT))]))},
    ],
)  # fmt: skip
def test_columns_of_unusable_types(data: dict[str, Any]) -> None:
    assert refused(packed(columns(**data))) == "invalid_arrow"


def test_unknown_columns_by_contract() -> None:
    assert refused(packed(columns(site=["x", "y"]))) == "unknown_field"
    loose = Contract(unknown_fields="ignore")
    assert len(decode(packed(columns(site=[[1], [2]])), loose).readings) == 2
    assert len(decode(packed(columns(id=["x", "y"]))).readings) == 2


def test_every_truncation_is_refused() -> None:
    for file in (False, True):
        raw = packed(columns(), file=file, rows=1)
        for size in range(8, len(raw)):
            assert refused(raw[:size]) == "invalid_arrow", size


def test_what_is_not_exactly_one_stream() -> None:
    raw = packed(columns())
    assert refused(raw + raw) == "invalid_arrow"
    assert refused(raw + b"\xff\xff\xff\xff\x00\x00\x00\x00") == "invalid_arrow"
    file = packed(columns(), file=True)
    for length in (-1, 0, 2**31 - 1):
        assert refused(file[:-10] + struct.pack("<i", length) + file[-6:]) == "invalid_arrow"
    assert refused(b"ARROW1", headers={"content-type": STREAM}) == "invalid_arrow"
    assert refused(b'{"value":1}', headers={"content-type": STREAM}) == "invalid_arrow"


def test_a_batch_without_rows_and_one_with_too_many() -> None:
    assert refused(packed(columns().slice(0, 0))) == "empty"
    many = MAX_ROWS // 2
    table = pa.table({"series": pa.nulls(many), "time": pa.nulls(many), "value": pa.nulls(many)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for _ in range(3):
            writer.write_table(table)
    assert refused(sink.getvalue()) == "too_large"


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("file", [False, True])
def test_compressed_buffers_are_refused(codec: str, file: bool) -> None:
    options = pa.ipc.IpcWriteOptions(compression=codec)
    assert refused(packed(columns(), file=file, options=options)) == "invalid_arrow"
    encoded = columns(series=pa.array(["s", "s"]).dictionary_encode())
    assert refused(packed(encoded, file=file, options=options)) == "invalid_arrow"


def test_columns_of_nulls_take_no_bytes_and_so_are_no_readings() -> None:
    assert refused(packed(pa.table({"time": pa.nulls(5_000), "value": pa.nulls(5_000)}))) == "too_large"


def test_a_message_that_may_be_compressed_or_is_none() -> None:
    assert _compressed(b"...ARROW:experimental_compression...")
    with pytest.raises(ValueError, match="lacks its header"):
        _compressed(struct.pack("<IHHi", 8, 4, 4, 4))


def test_two_columns_of_one_name() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["value", "value"])
    assert refused(packed(table)) == "invalid_arrow"


def test_text_that_is_not_utf8() -> None:
    raw = packed(columns(series=["abcdefgh", "ijklmnop"]))
    assert refused(raw.replace(b"abcdefgh", b"abcd\xff\xfegh")) == "invalid_arrow"


def test_a_long_text_used_often_is_looked_at_briefly() -> None:
    long = "x" * 100_000
    series = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array([long]))
    table = pa.table({"series": series, "time": pa.array(range(20_000)), "value": pa.nulls(20_000)})
    decoded = decode(packed(table))
    assert len(decoded.refusals) == 20_000
    assert {r.reason for r in decoded.refusals} == {"series_too_long"}


def test_layouts_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oddtide.streams.codecs.arrow_layout._MOST", 2)
    decoder = ReadingDecoder(Contract())
    times = pa.array([1, 2], pa.timestamp("s"))
    for length in (1, 2, 3, 1, 1):
        named = pa.array(["x" * length, "y" * length])
        raw = packed(columns(series=named, time=times, value=pa.array([1.0, 2.0])))
        assert list(decoder.decode([Record(3, 0, None, raw)]).readings.series) == named.to_pylist()
    assert decoder._layouts is not None
    assert len(decoder._layouts._known) <= 2


@pytest.mark.parametrize("value", [pa.array([1, 2]), pa.array([1.0, float("nan")])])
def test_what_is_no_plain_layout_is_read_all_the_same(value: pa.Array) -> None:
    decoder = ReadingDecoder(Contract())
    times = pa.array([1, 2], pa.timestamp("s"))
    raw = packed(columns(series=pa.array(["x", "y"]), time=times, value=value))
    first, second = (decoder.decode([Record(3, 0, None, raw)]) for _ in range(2))
    assert first.readings.values.tolist() == second.readings.values.tolist()
    assert first.refusals == second.refusals


def test_a_layout_behind_a_dictionary_is_not_taken_for_known() -> None:
    """Its header stands before the batch's, so two such records may begin alike and lie otherwise."""
    decoder = ReadingDecoder(Contract(unknown_fields="ignore"))
    for names in ([f"s{i:04d}_" for i in range(10)], [f"s{i:03d}" for i in range(11)]):
        count = len(names)
        note = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int8()), pa.array(["x", "y"]))
        times = pa.array(range(count), pa.timestamp("ns"))
        raw = packed(
            pa.table({"note": note, "series": names, "time": times, "value": [float(i) for i in range(count)]})
        )
        readings = decoder.decode([Record(3, 0, None, raw)]).readings
        assert list(readings.series) == names
        assert readings.times.tolist() == list(range(count))
        assert readings.values.ravel().tolist() == list(range(count))
