from __future__ import annotations

import numpy as np
import orjson
import pytest

from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.domain.quality.reasons import Reason
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.readings import ReadingDecoder
from oddtide.streams.codecs.refusing import show
from tests.unit.decoding import NS, OPTIONAL, SEVERAL, TIME, decode, reading, record, refused

# --- readings that are taken -----------------------------------------------------------------------------------------


def test_a_bare_reading() -> None:
    decoded = decode(record(reading(labels={"hall": "3"})))
    readings = decoded.readings
    assert list(readings.series) == ["s"]
    assert readings.times.tolist() == [NS]
    assert readings.values.tolist() == [[1.5]]
    assert readings.offsets.tolist() == [7]
    assert readings.rows.tolist() == [0]
    assert readings.arrivals.tolist() == [10**9]
    assert list(readings.labels) == [{"hall": "3"}]
    assert (decoded.records, decoded.first, decoded.next, decoded.refusals) == (1, 7, 8, [])


def test_features_by_name_missing_ones_as_nan() -> None:
    decoded = decode(
        record(reading(value=None, features={"b": 2, "a": 1})),
        record(reading(value=None, features={"a": 3.5})),
        record(reading(value=None, features={"a": 4, "b": None})),
        contract=SEVERAL,
    )
    np.testing.assert_array_equal(decoded.readings.values, [[1, 2], [3.5, np.nan], [4, np.nan]])


def test_value_names_the_only_feature_of_a_stream() -> None:
    contract = Contract((FeatureRule("temperature"),))
    decoded = decode(
        record(reading()), record({"series": "s", "time": TIME, "features": {"temperature": 2}}), contract=contract
    )
    assert decoded.readings.values.tolist() == [[1.5], [2.0]]


def test_the_series_falls_back_to_the_key() -> None:
    decoded = decode(record({"time": TIME, "value": 1}, key="pümp".encode()), record(reading(series=None), key=b"k2"))
    assert list(decoded.readings.series) == ["pümp", "k2"]


def test_the_series_in_the_reading_goes_before_the_key() -> None:
    assert list(decode(record(reading(), key=b"other")).readings.series) == ["s"]


def test_of_duplicate_keys_the_last_wins() -> None:
    decoded = decode(record(b'{"series":"a","series":"s","time":1,"time":1700000000,"value":1,"value":2}'))
    assert list(decoded.readings.series) == ["s"]
    assert decoded.readings.values.tolist() == [[2.0]]


def test_an_id_is_ignored_and_so_are_headers_of_others() -> None:
    decoded = decode(record(reading(id="x")), record(reading(), headers={"traceparent": "00-1"}))
    assert len(decoded.readings) == 2


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=UTF-8", "text/plain",
                                          "application/octet-stream", "application/vnd.acme+json"])  # fmt: skip
def test_content_types_that_mean_or_allow_json(content_type: str) -> None:
    assert len(decode(record(reading(), headers={"Content-Type": content_type})).readings) == 1


def test_whole_numbers_beyond_64_bits_are_doubles() -> None:
    decoded = decode(record(b'{"series":"s","time":1700000000,"value":18446744073709551616}'),
                     record(b'{"series":"s","time":1700000000,"value":-9223372036854775809}'))  # fmt: skip
    assert decoded.readings.values.tolist() == [[2.0**64], [-(2.0**63)]]


def test_no_records_are_no_readings() -> None:
    decoded = decode(contract=SEVERAL)
    assert decoded.readings.values.shape == (0, 2)
    assert (decoded.records, decoded.first, decoded.next) == (0, 0, 0)


def test_a_timestamp_beyond_64_bits_of_nanoseconds_is_clamped() -> None:
    records = [Record(0, stamp, b"s", orjson.dumps(reading())) for stamp in (2**63 - 1, -(2**63), -1)]
    latest = (2**63 - 1) // 10**6 * 10**6
    assert decode(*records).readings.arrivals.tolist() == [latest, -latest, -(10**6)]


def test_undeclared_fields_may_be_ignored() -> None:
    contract = Contract(unknown_fields="ignore")
    decoded = decode(
        record(reading(site="x")),
        record({"series": "s", "time": TIME, "features": {"value": 2, "other": "x"}}),
        record({"series": "s", "time": [1, 2], "features": {"value": [3, 4], "other": ["x"]}, "site": 1}),
        record({"series": "s", "time": TIME, "features": {"value": 5, "trace": [1, 2, 3]}}),
        contract=contract,
    )
    assert decoded.readings.values.tolist() == [[1.5], [2.0], [3.0], [4.0], [5.0]]
    assert decoded.refusals == []


# --- what is refused -------------------------------------------------------------------------------------------------

_DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\x00" * 1_000_000, "not_json"),
        (b"{", "not_json"),
        (b"{'series':'s'}", "not_json"),
        (b'{"series":"s","time":1700000000,"value":1}{}', "not_json"),
        (b'{"series":"s","time":1700000000,"value":01}', "not_json"),
        (b'{"a\x00":1}', "not_json"),
        (b'{"series":"\\ud800","time":1700000000,"value":1}', "not_json"),
        (b"\xff\xfe{\x00}\x00", "wrong_encoding"),
        (b'\xef\xbb\xbf{"series":"s","time":1700000000,"value":1}', "wrong_encoding"),
        (b'{"series":"\xff","time":1700000000,"value":1}', "wrong_encoding"),
        (b'{"series":"\xed\xa0\x80","time":1700000000,"value":1}', "wrong_encoding"),
        (_DEEP, "too_deep"),
        (b'{"series":' + _DEEP + b"}", "too_deep"),
        (b'{"series":' + b"[" * 1000 + b"]" * 1000 + b',"time":1,"value":1}', "invalid_series"),
        (b'{"series":"s","time":1700000000,"value":{"a":' + b"[" * 1000 + b"]" * 1000 + b"}}", "not_a_number"),
        (b"3", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b'[{"series":"s","time":1700000000,"value":1}]', "not_an_object"),
        (b'{"series":"s","time":1700000000,"value":1e999}', "not_finite"),
        (b'{"series":"s","time":1700000000,"value":-1e999}', "not_finite"),
        (b'{"series":"s","time":1700000000,"value":NaN}', "not_finite"),
        (b'{"series":"s","time":1700000000,"value":Infinity}', "not_finite"),
        (b'{"series":"s","time":1700000000,"value":-Infinity}', "not_finite"),
        (b'{"series":"\xc3\xbc","time":1700000000,"value":NaN}', "not_finite"),
        (b'{"series":"s","time":1700000000,"value":1' + b"0" * 400 + b"}", "not_finite"),
        (reading(series=7), "invalid_series"),
        (reading(series=""), "invalid_series"),
        (reading(series="a\x00b"), "invalid_series"),
        (reading(series="a\x1b[31m"), "invalid_series"),
        (reading(series=True), "invalid_series"),
        (reading(series="x" * 513), "series_too_long"),
        (reading(series="ü" * 257), "series_too_long"),
        (reading(series=None), "missing_series"),
        ({"time": TIME, "value": 1}, "missing_series"),
        ({"series": "s", "value": 1}, "missing_time"),
        (reading(time=None), "missing_time"),
        (reading(time="1700000000"), "invalid_time"),
        (reading(time=True), "invalid_time"),
        (reading(time={}), "invalid_time"),
        (b'{"series":"s","time":9223372036854775808,"value":1}', "invalid_time"),
        ({"series": "s", "time": TIME}, "missing_feature"),
        (reading(value=None), "missing_feature"),
        (reading(value="1.5"), "not_a_number"),
        (reading(value=True), "not_a_number"),
        (reading(value={}), "not_a_number"),
        (reading(features={"value": 1}), "invalid_features"),
        (reading(value=None, features=3), "invalid_features"),
        (reading(value=None, features={}), "missing_feature"),
        (reading(value=None, features={"pressure": 1}), "unknown_field"),
        (reading(extra=1), "unknown_field"),
        (reading(labels=[]), "invalid_labels"),
        (reading(labels={"a": 1}), "invalid_labels"),
        (reading(labels={"a": "x\x00"}), "invalid_labels"),
        (reading(labels={"a\x00": "x"}), "invalid_labels"),
        (reading(labels={str(i): "x" for i in range(33)}), "invalid_labels"),
    ],
)  # fmt: skip
def test_bad_records_and_their_reasons(value: object, reason: str) -> None:
    assert refused(value) == reason


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ({"b": 1}, "missing_feature"),
        ({"a": None, "b": 1}, "missing_feature"),
        ({"a": 1, "b": "x"}, "not_a_number"),
        ({"a": 1, "b": False}, "not_a_number"),
        ({"a": 1, "b": 2, "c": 3}, "unknown_field"),
    ],
)
def test_several_features_and_their_reasons(features: dict[str, object], reason: str) -> None:
    assert refused(reading(value=None, features=features), contract=SEVERAL) == reason


def test_value_is_unknown_to_a_stream_of_several_features() -> None:
    assert refused(reading(), contract=SEVERAL) == "unknown_field"


def test_a_reading_without_any_feature_is_refused_though_none_is_required() -> None:
    assert refused(reading(value=None, features={"a": None}), contract=OPTIONAL) == "missing_feature"


def test_a_key_that_is_not_utf8_is_refused_only_when_it_is_needed() -> None:
    assert refused({"time": TIME, "value": 1}, key=b"\xff") == "invalid_series"
    assert len(decode(record(reading(), key=b"\xff")).readings) == 1


def test_an_oversized_key() -> None:
    assert refused({"time": TIME, "value": 1}, key=b"x" * 100_000) == "series_too_long"


def test_two_records_that_together_are_valid_json_stay_two_broken_ones() -> None:
    whole = b'{"series":"s","time":1700000000,"value":1},{"series":"x","time":1700000000,"value":2}'
    decoded = decode(record(whole[:60], offset=1), record(whole[60:], offset=2), record(reading(), offset=3))
    assert [refusal.offset for refusal in decoded.refusals] == [1, 2]
    assert decoded.readings.offsets.tolist() == [3]


def test_good_and_bad_records_keep_their_order() -> None:
    decoded = decode(
        record(reading(), offset=1),
        record({"series": "s", "time": [1, 2], "value": [1, "x"]}, offset=2),
        record(b"?", offset=3),
        record(reading(id=1), offset=4),
        record(reading(time="?"), offset=5),
        record(reading(labels={"a": "b"}), offset=9),
    )
    readings = decoded.readings
    assert readings.offsets.tolist() == [1, 2, 4, 9]
    assert list(readings.labels) == [None, None, None, {"a": "b"}]
    assert [(r.offset, r.row, r.reason) for r in decoded.refusals] == [
        (2, 1, "not_a_number"), (3, -1, "not_json"), (5, -1, "invalid_time"),
    ]  # fmt: skip
    assert (decoded.first, decoded.next, decoded.records) == (1, 10, 6)


def test_anything_can_be_shown_briefly() -> None:
    assert show(object()) == "object"
    assert show("x" * 1_000) == repr("x" * 60) + "… (1000 long)"
    assert show(10**70) == "1" + "0" * 59


def test_every_reason_explains_itself() -> None:
    for reason in Reason:
        assert reason == reason.value
        assert reason.meaning.endswith(".")
        assert "\n" not in reason.meaning


def test_labels_are_bounded_in_number_and_length() -> None:
    contract = Contract(max_labels=2, max_label_length=5)
    base = {"series": "x", "time": 1_700_000_000, "value": 1.0}
    for labels, good in [
        ({"a": "12345"}, True),
        ({"a": "123456"}, False),
        ({"abcdef": "1"}, False),
        ({"a": "1", "b": "2", "c": "3"}, False),
    ]:
        decoded = ReadingDecoder(contract).decode([Record(0, -1, None, orjson.dumps({**base, "labels": labels}))])
        assert (len(decoded.readings) == 1) is good
        assert [refusal.reason for refusal in decoded.refusals] == ([] if good else ["invalid_labels"])
