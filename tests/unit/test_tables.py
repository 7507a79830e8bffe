"""Tables of readings: what is inferred, what is refused, and that no row stops the run."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest

from oddtide.adapters.files.tables import RawRow, RefusedRow, Row, TableOptions, TableRow, open_table
from oddtide.domain.errors import NotFoundError, StorageUnavailableError, UsageError

DAY = 86_400 * 10**9


def rows_of(text: str | bytes, options: TableOptions | None = None) -> list[Row]:
    raw = text.encode() if isinstance(text, str) else text
    with open_table(io.BytesIO(raw), options) as table:
        return list(table)


def readings(text: str | bytes, options: TableOptions | None = None) -> list[TableRow]:
    rows = rows_of(text, options)
    assert all(isinstance(row, TableRow) for row in rows), rows
    return [row for row in rows if isinstance(row, TableRow)]


def refused(text: str | bytes, options: TableOptions | None = None) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in rows_of(text, options) if isinstance(row, RefusedRow)]


def test_timestamp_and_value_need_no_options() -> None:
    rows = readings("timestamp,value\n1970-01-02 00:00:00,1.5\n1970-01-03T00:00:00Z,-2e3\n")
    assert [(row.time, dict(row.values), row.line) for row in rows] == [
        (DAY, {"value": 1.5}, 2),
        (2 * DAY, {"value": -2000.0}, 3),
    ]


@pytest.mark.parametrize("name", ["timestamp", "Time", "ts", "DATE", "datetime"])
def test_time_columns_are_known_by_name(name: str) -> None:
    assert readings(f"value,{name}\n1,1970-01-02\n")[0].time == DAY


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_told_by_the_header(delimiter: str) -> None:
    text = "time,series,value\n2020-01-01,a,1\n".replace(",", delimiter)
    assert readings(text)[0][1:4:2] == ("a", {"value": 1.0})


def test_semicolons_bring_the_decimal_comma() -> None:
    assert readings("time;value\n2020-01-01;1,5\n")[0].values == {"value": 1.5}


def test_other_numeric_columns_become_features_and_truth_does_not() -> None:
    rows = readings("time,a,b,name,anomaly,changepoint\n2020-01-01,1,,x,0,0\n2020-01-02,2,3,y,1,0\n")
    assert [dict(row.values) for row in rows] == [{"a": 1.0}, {"a": 2.0, "b": 3.0}]


def test_a_single_numeric_column_is_the_value() -> None:
    assert readings("Time,Water flow [l/s]\n2022-03-20T11:00:00+01:00,100.59\n")[0].values == {"value": 100.59}


def test_a_value_column_stands_alone_and_that_is_said() -> None:
    with open_table(io.BytesIO(b"time,value,other\n2020-01-01,1,2\n")) as table:
        assert table.features == ("value",)
        assert "'other'" in table.notes[0]


def test_named_columns_override_inference() -> None:
    options = TableOptions(time="when", series="who", features=("y", "x"), labels=("site",))
    row = readings("when,who,x,y,site\n1577836800,pump,1,2,north\n", options)[0]
    assert row == TableRow(2, "pump", 1_577_836_800 * 10**9, {"y": 2.0, "x": 1.0}, {"site": "north"})


def test_a_misspelt_column_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean 'value'"):
        rows_of("time,value\n1,2\n", TableOptions(value="vlaue"))


def test_value_and_features_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="Both"):
        rows_of("time,value\n1,2\n", TableOptions(value="value", features=("value",)))


def test_without_a_time_column_rows_are_numbered_and_that_is_said() -> None:
    with open_table(io.BytesIO(b"value\n1\n2\n")) as table:
        assert "no time column" in table.notes[0]
        first, second = table
    assert isinstance(first, TableRow)
    assert isinstance(second, TableRow)
    assert second.time - first.time == 10**9


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("2020-01-01,5\n2020-01-02,6\n", "looks like data"),
        ("time,value,value\n", "two columns named 'value'"),
        ("time,name\n2020-01-01,x\n", "no column of numbers"),
    ],
)
def test_what_is_no_table_says_why(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        rows_of(text)


def test_rows_that_do_not_parse_are_refused_with_line_and_reason() -> None:
    text = (
        "time,series,value\n2020-01-01,a,1\nnever,a,1\n2020-01-01,a,abc\n2020-01-01,a,NaN\n2020-01-01,a,1e999\n"
        "2020-01-01,a\n2020-01-01,,1\n,a,1\n2020-01-01,a,\n\n2020-01-01,a,1_000\n1500-01-01,a,1\n2020-01-01,a,2\n"
    )
    assert refused(text) == [
        (3, "invalid_time"),
        (4, "not_a_number"),
        (5, "not_finite"),
        (6, "not_finite"),
        (7, "wrong_columns"),
        (8, "missing_series"),
        (9, "missing_time"),
        (10, "missing_feature"),
        (12, "not_a_number"),
        (13, "invalid_time"),
    ]
    assert len(rows_of(text)) == 12


def test_bytes_that_are_not_utf8_refuse_their_row_only() -> None:
    text = b"time,series,value\n2020-01-01,\xff,1\n2020-01-02,b,2\n"
    assert refused(text) == [(2, "wrong_encoding")]


def test_a_cell_without_end_is_refused_and_the_rest_goes_on() -> None:
    text = "time,series,value\n" + '2020-01-01,"' + "x" * 200_000 + '",1\n2020-01-02,b,2\n'
    rows = rows_of(text)
    assert isinstance(rows[0], RefusedRow)
    assert rows[0].reason == "not_csv"
    assert isinstance(rows[-1], TableRow)


@pytest.mark.parametrize(
    ("cell", "nanoseconds"),
    [
        ("1577836800", 1_577_836_800_000_000_000),
        ("1577836800.25", 1_577_836_800_250_000_000),
        ("1577836800123", 1_577_836_800_123_000_000),
        ("1577836800123456", 1_577_836_800_123_456_000),
        ("1577836800123456789", 1_577_836_800_123_456_789),
        ("2020-01-01 01:00:00+01:00", 1_577_836_800_000_000_000),
        ("2020-01-01T00:00:00.123456789Z", 1_577_836_800_123_456_789),
        ("2020-01-01T00:00:00.5", 1_577_836_800_500_000_000),
        ("2020/01/01", 1_577_836_800_000_000_000),
    ],
)
def test_times_as_people_write_them(cell: str, nanoseconds: int) -> None:
    assert readings(f"time,value\n{cell},1\n")[0].time == nanoseconds


def test_byte_order_mark_blank_lines_and_a_missing_last_line_end() -> None:
    rows = readings(b"\xef\xbb\xbf\n\r\ntime,value\r\n2020-01-01,1\r\n\r\n2020-01-02,2")
    assert [row.line for row in rows] == [4, 6]


def test_gzip_is_told_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "pump.csv"
    path.write_bytes(gzip.compress(b"time,value\n2020-01-01,1\n"))
    with open_table(path) as table:
        assert [row.series for row in table if isinstance(row, TableRow)] == ["pump"]


def test_a_truncated_gzip_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "pump.csv.gz"
    path.write_bytes(gzip.compress(b"time,value\n" + b"2020-01-01,1\n" * 1000)[:-20])
    with pytest.raises(UsageError, match="damaged"), open_table(path) as table:
        list(table)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        open_table(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="folder"):
        open_table(tmp_path)


def test_json_readings_pass_through_untouched() -> None:
    lines = ['{"series":"a","time":1577836800,"value":"5"}', '{"time":1,"value":2}', "broken"]
    assert rows_of("\n".join(lines)) == [
        RawRow(1, "a", lines[0].encode()),
        RawRow(2, "input", lines[1].encode()),
        RawRow(3, "input", lines[2].encode()),
    ]


def test_features_of_json_readings_are_collected() -> None:
    text = '{"series":"a","time":1,"features":{"x":1}}\n{"series":"a","time":2,"features":{"y":1}}\n'
    with open_table(io.BytesIO(text.encode())) as table:
        assert table.features == ("x", "y")


def test_other_json_objects_are_mapped_like_csv() -> None:
    lines = ['{"ts":1577836800,"temp":1,"hum":2.5,"ok":true}', '{"ts":"2020-01-02","temp":null,"hum":3}', "5"]
    text = "\n".join([*lines, '{"ts":1,"temp":[]}'])
    rows = rows_of(text)
    assert isinstance(rows[0], TableRow)
    assert rows[0].values == {"temp": 1.0, "hum": 2.5}
    assert isinstance(rows[1], TableRow)
    assert rows[1].values == {"hum": 3.0}
    assert refused(text) == [(3, "not_json"), (4, "not_a_number")]


def test_batches_end_where_the_next_row_is_not_there_yet() -> None:
    class Pipe(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return self.readline()

    with open_table(Pipe(b"time,value\n2020-01-01,1\n2020-01-02,2\n")) as table:
        assert [len(batch) for batch in table.batches()] == [1, 1]
    with open_table(io.BytesIO(b"value\n" + b"1\n" * 10)) as table:
        assert [len(batch) for batch in table.batches(4)] == [4, 4, 2]


def test_a_file_that_cannot_be_looked_ahead_in_or_read_says_so(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"time,value\n2020-01-01,1\n")
    os.close(write)
    with os.fdopen(read, "rb") as raw, open_table(raw) as table:
        assert len(list(table)) == 1

    class Broken(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            raise OSError("gone")

    with pytest.raises(StorageUnavailableError, match="gone"):
        open_table(Broken(b"time,value\n"))


def test_an_endless_line_is_no_table() -> None:
    with pytest.raises(UsageError, match="more than 16 MiB"):
        open_table(io.BytesIO(b"x" * (17 << 20)))


def test_json_without_any_number_is_no_table() -> None:
    with pytest.raises(UsageError, match="no column of numbers"):
        rows_of('{"a":"x"}\n{"b":null}\n')


def test_a_row_of_json_that_is_blank_is_passed_over() -> None:
    assert [row.line for row in rows_of('{"ts":1,"x":1}\n\n{"ts":2,"x":2}\n')] == [1, 3]
    assert [row.line for row in rows_of('{"time":1,"value":1}\n\n{"time":2,"value":2}\n')] == [1, 3]


@pytest.mark.parametrize(
    "content",
    [b"\x93\xb5o\xaa,x\n1,2\n", "timestamp,value\n".encode("utf-16"), b"\x00\x01,\x02\n", b"gr\xf6\xdfe\n1\n"],
)
def test_what_is_no_text_is_said_to_be_none_without_showing_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="UTF-8 text but with b'") as caught:
        open_table(path)
    assert str(caught.value).isprintable()
