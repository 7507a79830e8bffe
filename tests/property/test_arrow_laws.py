"""A law of Arrow batches: the quick path and the exact one never disagree."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.streams.codecs import arrow
from oddtide.streams.codecs.decoded import Decoded, Record
from oddtide.streams.codecs.readings import ReadingDecoder

pytestmark = pytest.mark.kernels

CONTRACTS = [Contract(), Contract((FeatureRule("a"), FeatureRule("b", required=False)))]
NAMES = st.sampled_from(["x", "pump-1", "é", "", "tab\t", "\x7f", "n" * 300])
NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-5, 5)
TICKS = st.integers(-(2**62), 2**62) | st.integers(0, 10**9)


def mostly(common: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda number: rare if number == 0 else common)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    count = draw(st.integers(1, 6))

    def column(common: st.SearchStrategy[Any], rare: st.SearchStrategy[Any], kind: Any) -> Any:
        return pa.array(draw(st.lists(mostly(common, rare), min_size=count, max_size=count)), kind)

    series = column(st.sampled_from(["x", "pump-1"]), NAMES | st.none(), pa.string())
    number = draw(st.sampled_from([pa.float64(), pa.float32(), pa.int32()]))
    values = {
        name: column(st.integers(-9, 9), st.none() | (NUMBERS if number != pa.int32() else st.none()), number)
        for name in draw(st.sampled_from([("value",), ("a", "b"), ("a",)]))
    }
    return pa.table(
        {
            "series": series.dictionary_encode() if draw(st.booleans()) else series,
            "time": column(st.integers(0, 10**9), TICKS | st.none(), pa.timestamp(draw(st.sampled_from(["ms", "ns"])))),
            **values,
        }
    )


@given(tables(), st.sampled_from(CONTRACTS), st.integers(0, 2))
def test_the_quick_path_and_the_exact_one_agree(table: Any, contract: Contract, skip: int) -> None:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.slice(skip if skip < table.num_rows else 0))
    records = [Record(3, 0, None, sink.getvalue()), Record(4, 0, None, sink.getvalue())]
    quick = ReadingDecoder(contract).decode(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "plain_block", lambda *_: None)
        exact = ReadingDecoder(contract).decode(records)
    assert shown(quick) == shown(exact)


def test_the_ordinary_goes_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"series": ["x", "y"], "time": pa.array([1, 2], pa.timestamp("ms")), "value": [1.0, 2.0]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    monkeypatch.setattr(arrow, "read_columns", lambda *_: pytest.fail("the exact way"))
    decoded = ReadingDecoder(Contract()).decode([Record(3, 0, None, sink.getvalue())])
    assert list(decoded.readings.series) == ["x", "y"]
    assert decoded.readings.times.tolist() == [1_000_000, 2_000_000]
    assert decoded.readings.values.tolist() == [[1.0], [2.0]]


def shown(decoded: Decoded) -> tuple[object, ...]:
    readings = decoded.readings
    return (
        list(readings.series), readings.times.tolist(), repr(readings.values.tolist()), readings.offsets.tolist(),
        readings.rows.tolist(), readings.arrivals.tolist(), list(readings.labels) or [None] * len(readings),
        decoded.refusals,
    )  # fmt: skip
