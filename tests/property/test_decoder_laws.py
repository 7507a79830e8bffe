"""Laws of decoding: any bytes are accounted for, records do not touch one another, the fast paths mean the same."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oddtide.domain.errors import DecodeError
from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.domain.quality.reasons import Reason
from oddtide.streams.codecs.decoded import WHOLE_RECORD, Decoded, Record
from oddtide.streams.codecs.encoding import encode_reading
from oddtide.streams.codecs.readings import ReadingDecoder
from oddtide.streams.codecs.times import EARLIEST, LATEST, nanoseconds, parse_time

CONTRACTS = (
    Contract(),
    Contract((FeatureRule("a"), FeatureRule("b", required=False)), unknown_fields="ignore", max_series_bytes=20),
    Contract((FeatureRule("a", required=False), FeatureRule("value", required=False)), max_labels=2),
)
contracts = st.sampled_from(CONTRACTS)
TIMES = ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.25Z", "2014-04-01 00:00:00", 1_700_000_000, 1_700_000_000_123,
         1.5, None, "", "?", True, 2**63, -1, "9999-01-01"]  # fmt: skip
CELLS: list[object] = [0, 1.5, -3, 2**64, None, "x", True, [], {}, 1e308]
NAMES: list[object] = ["s", "pump-1", "ü", "", None, 3, "x" * 21, "a\x00", []]
LABELS: list[object] = [None, {}, {"a": "b"}, {"a": 1}, [], {"a": "1", "b": "2", "c": "3"}]


def pick(*choices: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(choices)


def fields(cell: st.SearchStrategy[Any], time: st.SearchStrategy[Any], labels: st.SearchStrategy[Any],
           series: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, object]]:  # fmt: skip
    names = st.dictionaries(pick("a", "b", "value", "c"), cell, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "series": series, "time": time, "value": cell, "features": names, "labels": labels, "id": pick("x"),
            "extra": pick(1), "specversion": pick("1.0"), "type": pick("oddtide.Reading"),
        },
    )  # fmt: skip


def dumped(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def plain() -> st.SearchStrategy[dict[str, object]]:
    """Readings that are mostly good, so that the fast path is taken often."""
    return st.fixed_dictionaries(
        {"series": pick(*NAMES[:3]), "time": pick(*TIMES[:7])},
        optional={"value": pick(*CELLS[:4]), "labels": pick(*LABELS[:3]),
                  "features": st.fixed_dictionaries({"a": pick(*CELLS[:4])}, optional={"value": pick(*CELLS[:5]),
                                                                                     "b": pick(*CELLS[:5])})},
    )  # fmt: skip


@st.composite
def batches(draw: st.DrawFn) -> dict[str, object]:
    rows = draw(st.integers(0, 4))

    def column(*choices: object) -> st.SearchStrategy[list[object]]:
        return st.lists(st.sampled_from(choices), min_size=rows, max_size=rows)

    # No lists among the cells: a single reading of lists would be a batch itself.
    batch: dict[str, object] = {"time": draw(column(*TIMES))}
    batch |= draw(st.fixed_dictionaries({}, optional={
        "series": column(*NAMES) | pick(*NAMES), "labels": column(*LABELS) | pick(*LABELS), "id": pick(1),
    }))  # fmt: skip
    cells = column(*[cell for cell in CELLS if cell != []]) | column(1.5, 2, None)
    if draw(st.booleans()):
        batch["value"] = draw(cells)
    else:
        batch["features"] = draw(st.dictionaries(pick("a", "b", "value"), cells, max_size=3))
    return batch


documents = plain() | fields(pick(*CELLS), pick(*TIMES), pick(*LABELS), pick(*NAMES)) | batches()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A document's bytes with some cut, doubled or replaced."""
    raw = bytearray(dumped(draw(documents)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(raw)))
        raw[place : place + draw(st.integers(0, 4))] = draw(
            st.binary(max_size=3) | pick(b"NaN", b"1e999", b"\xff", b"[[", b"}{", b"\x00", b"null", b"\\ud800", b'"')
        )
    return bytes(raw)


def arrow(rows: int, seed: int) -> bytes:
    series = pa.array(["s", "t", "s", "u", "t"][:rows])
    table = pa.table(
        {
            "series": series.dictionary_encode() if seed % 2 else series,
            "time": pa.array(range(rows), pa.timestamp("ms") if seed % 3 else pa.int64()),
            "value": [float(i) for i in range(rows)],
            "labels": pa.array([[("a", "b")]] * rows, pa.map_(pa.string(), pa.string())),
        }
    )
    sink = io.BytesIO()
    with (pa.ipc.new_file if seed % 5 == 0 else pa.ipc.new_stream)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return sink.getvalue()


@st.composite
def mutated_arrow(draw: st.DrawFn) -> bytes:
    raw = bytearray(arrow(draw(st.integers(1, 5)), draw(st.integers(0, 10))))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(raw) - 1))
        raw[place] = draw(st.integers(0, 255) | pick(0, 1, 127, 255))
    return bytes(raw[: draw(st.integers(len(raw) - 3, len(raw)))])


header_values = pick(b"1.0", b"oddtide.Reading", b"x", b"\xff", b"application/json", b"2026-01-31T12:00:00Z",
                     b"application/vnd.apache.arrow.stream", b"application/cloudevents+json", b"")  # fmt: skip
headers = st.lists(
    st.tuples(pick("ce_specversion", "ce_type", "ce_time", "ce_subject", "content-type", "other"), header_values),
    max_size=4,
)
event_headers = st.just([("ce_specversion", b"1.0"), ("ce_type", b"oddtide.Reading"), ("ce_subject", b"sub")])
values = st.none() | st.binary(max_size=40) | mutated() | mutated() | mutated_arrow()


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    offset, records = draw(st.integers(0, 5)), []
    for _ in range(draw(st.integers(0, 5))):
        key = draw(pick(None, b"", b"key", b"\xff"))
        named = draw(st.just([]) | st.just([]) | event_headers | headers)
        records.append(Record(offset, draw(st.integers(-1, 10**13)), key, draw(values), named))
        offset += draw(st.integers(1, 3))
    return records


def same(one: Decoded, other: Decoded) -> None:
    assert list(one.readings.series) == list(other.readings.series)
    for name in ("times", "values", "offsets", "rows", "arrivals"):
        np.testing.assert_array_equal(getattr(one.readings, name), getattr(other.readings, name))
    rows = len(one.readings)
    assert list(one.readings.labels or [None] * rows) == list(other.readings.labels or [None] * rows)
    assert one.refusals == other.refusals


@given(logs(), contracts)
@settings(max_examples=250)
def test_every_record_is_accounted_for(records: list[Record], contract: Contract) -> None:
    decoded = ReadingDecoder(contract).decode(records)
    readings = decoded.readings
    outcomes = list(zip(readings.offsets.tolist(), readings.rows.tolist(), strict=True))
    outcomes += [(refusal.offset, refusal.row) for refusal in decoded.refusals]
    assert len(set(outcomes)) == len(outcomes)
    by_offset: dict[int, set[int]] = {}
    for offset, row in outcomes:
        by_offset.setdefault(offset, set()).add(row)
    assert by_offset.keys() == {record.offset for record in records}
    for rows in by_offset.values():
        assert rows in ({WHOLE_RECORD}, set(range(len(rows))))
    assert {refusal.reason for refusal in decoded.refusals} <= {reason.value for reason in Reason}
    assert readings.values.shape == (len(readings), len(contract.names))
    assert not np.isinf(readings.values).any()
    assert not np.isnan(readings.values).all(axis=1).any()
    assert all(0 < len(name.encode()) <= contract.max_series_bytes for name in readings.series)


@given(logs(), contracts)
@settings(max_examples=120)
def test_records_do_not_touch_one_another(records: list[Record], contract: Contract) -> None:
    decoder = ReadingDecoder(contract)
    whole = decoder.decode(records)
    readings, refusals = [], []
    for record in records:
        single = ReadingDecoder(contract).decode([record])
        same(single, decoder.decode([record]))
        refusals += single.refusals
        readings.append(single.readings)
    assert whole.refusals == refusals
    names = [name for part in readings for name in part.series]
    assert list(whole.readings.series) == names
    for name in ("times", "values", "offsets", "rows"):
        parts = [getattr(part, name) for part in readings]
        if parts:
            np.testing.assert_array_equal(getattr(whole.readings, name), np.concatenate(parts))


@given(st.lists(plain() | fields(pick(*CELLS), pick(*TIMES), pick(*LABELS), pick(*NAMES)), max_size=4), contracts)
@settings(max_examples=200)
def test_the_fast_path_means_what_the_exact_one_means(found: list[dict[str, object]], contract: Contract) -> None:
    raws = [dumped(document) for document in found]
    fast = ReadingDecoder(contract).decode([Record(i, 0, b"k", raw) for i, raw in enumerate(raws)])
    # A header that means nothing sends a record down the exact path.
    exact = ReadingDecoder(contract).decode([Record(i, 0, b"k", raw, [("x", b"")]) for i, raw in enumerate(raws)])
    same(fast, exact)


@given(batches(), contracts)
@settings(max_examples=300)
@example({"series": ["", None], "time": [1, 2], "value": [1, 2]}, CONTRACTS[0])
def test_a_row_of_a_batch_means_what_a_single_reading_means(batch: dict[str, Any], contract: Contract) -> None:
    decoded = ReadingDecoder(contract).decode([Record(5, 0, b"k", dumped(batch))])
    if any(refusal.row == WHOLE_RECORD for refusal in decoded.refusals):
        assert decoded.refusals[0].reason in {"empty", "unknown_field", "unequal_columns"}
        return
    singles = ReadingDecoder(contract).decode(
        [Record(i, 0, b"k", dumped(row_of(batch, i)), [("x", b"")]) for i in range(len(batch["time"]))]
    )
    readings = decoded.readings
    assert readings.rows.tolist() == singles.readings.offsets.tolist()
    np.testing.assert_array_equal(readings.times, singles.readings.times)
    np.testing.assert_array_equal(readings.values, singles.readings.values)
    assert list(readings.series) == list(singles.readings.series)
    rows = len(readings)
    assert list(readings.labels or [None] * rows) == list(singles.readings.labels or [None] * rows)
    assert [r.row for r in decoded.refusals] == [r.offset for r in singles.refusals]
    assert [r.reason for r in decoded.refusals] == [r.reason for r in singles.refusals]


def row_of(batch: Mapping[str, Any], row: int) -> dict[str, object]:
    def cell(column: object) -> object:
        return column[row] if isinstance(column, list) else column

    single = {name: cell(column) for name, column in batch.items() if name != "features"}
    if "features" in batch:
        single["features"] = {name: cell(column) for name, column in batch["features"].items()}
    return single


@given(
    st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable() and len(text.encode()) <= 100),
    st.integers(EARLIEST, LATEST),
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
    st.dictionaries(st.text(max_size=5).filter(lambda t: "\x00" not in t), st.just("x"), max_size=3),
)
def test_what_is_encoded_decodes_to_the_bit(series: str, time: int, value: float, labels: dict[str, str]) -> None:
    raw = encode_reading(series, time, {"value": float(value)}, labels)
    decoded = ReadingDecoder(Contract()).decode([Record(0, 0, None, raw)])
    assert decoded.refusals == []
    readings = decoded.readings
    assert (list(readings.series), readings.times.tolist()) == ([series], [time])
    assert readings.values.tobytes() == np.float64(value).tobytes()
    assert list(readings.labels or [None]) == [labels or None]


times_as_text = st.datetimes().map(str) | st.datetimes().map(lambda moment: moment.isoformat() + "Z")


@given(
    st.lists(st.sampled_from(TIMES) | st.floats() | st.integers() | times_as_text | st.text(max_size=25), max_size=6)
)
@settings(max_examples=300)
def test_a_column_of_times_is_its_times_one_by_one(column: list[object]) -> None:
    times, ok = nanoseconds(column)
    for place, value in enumerate(column):
        try:
            expected = parse_time(value)
        except DecodeError:
            assert (ok[place], times[place]) == (False, 0)
        else:
            assert (ok[place], times[place]) == (True, expected)


@given(st.integers(EARLIEST, LATEST), st.integers(0, 9))
def test_times_in_text_are_exact(time: int, digits: int) -> None:
    time -= time % 10 ** (9 - digits)
    seconds, fraction = divmod(time, 10**9)
    text = str(np.datetime64(seconds, "s")) + (f".{fraction:09d}"[: digits + 1] if digits else "") + "Z"
    assert parse_time(text) == time
    assert nanoseconds([text])[0].tolist() == [time]


def plain_arrow(
    names: list[str], values: list[float], first: int = 1_700_000_000_000, picks: list[int] | None = None
) -> bytes:
    """Four readings; with ``picks`` the series are places in a dictionary of ``names``."""
    series = pa.array(names, pa.string())
    if picks is not None:
        places = pa.array(picks, pa.int16())
        series = pa.DictionaryArray.from_arrays(places, series, safe=False)  # type: ignore[call-arg]  # not in the stubs
    table = pa.table(
        {
            "series": series,
            "time": pa.array(range(first, first + len(values)), pa.timestamp("ms")),
            "value": pa.array(values, pa.float64()),
            "id": pa.array(range(len(values)), pa.int32()),
        }
    )
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@st.composite
def of_known_layout(draw: st.DrawFn) -> bytes:
    """Of the headers that a decoder knows, now and then with other bytes in or around its columns."""
    names = draw(st.lists(pick("s", "t", "", "ss", "\x07", "\x7f", "é"), min_size=4, max_size=4))
    numbers = draw(st.lists(st.floats(), min_size=4, max_size=4))
    picks = draw(st.none() | st.lists(pick(0, 1, 2, 3, 4, -1, 0x7FFF), min_size=4, max_size=4))
    raw = bytearray(plain_arrow(names, numbers, draw(pick(0, 1_700_000_000_000, LATEST // 10**6, -(2**62))), picks))
    for _ in range(draw(pick(0, 0, 1, 2))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw[: draw(pick(None, None, -1, -8))])


@pytest.mark.kernels
@given(st.lists(of_known_layout(), max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_layout_that_is_known_alters_no_outcome(raws: list[bytes]) -> None:
    decoder = ReadingDecoder(Contract())
    plain = plain_arrow(["s", "t", "s", "t"], [1.0, 2.0, 3.0, 4.0])
    picked = plain_arrow(["s", "t", "u", "v"], [1.0, 2.0, 3.0, 4.0], picks=[1, 0, 3, 1])
    for known in (plain, picked):
        assert len(decoder.decode([Record(0, 0, None, known)]).readings) == 4
    assert decoder._layouts is not None
    assert len(decoder._layouts._known) == 2
    for raw in (plain, picked, *raws):
        records = [Record(7, 0, None, raw)]
        same(decoder.decode(records), ReadingDecoder(Contract()).decode(records))
