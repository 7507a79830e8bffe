from __future__ import annotations

import base64

import orjson
import pytest

from oddtide.streams.codecs.decoded import Record
from tests.unit.decoding import NS, TIME, decode, reading, record

CE = {"ce_specversion": "1.0", "ce_type": "oddtide.Reading", "ce_id": "1", "ce_source": "x"}


def test_a_binary_cloudevent_lends_series_and_time() -> None:
    headers = {**CE, "ce_subject": "pump", "ce_time": TIME, "content-type": "application/json"}
    decoded = decode(record({"value": 1}, key=b"k", headers=headers))
    assert list(decoded.readings.series) == ["pump"]
    assert decoded.readings.times.tolist() == [NS]


def test_the_reading_goes_before_its_cloudevent() -> None:
    headers = {**CE, "ce_subject": "pump", "ce_time": "2020-01-01T00:00:00Z"}
    decoded = decode(record(reading(), headers=headers))
    assert list(decoded.readings.series) == ["s"]
    assert decoded.readings.times.tolist() == [NS]


def structured(**fields: object) -> dict[str, object]:
    return {"specversion": "1.0", "type": "oddtide.Reading", "id": "1", "source": "x", **fields}


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/cloudevents+json; charset=utf-8"}])
def test_a_structured_cloudevent(headers: dict[str, str]) -> None:
    event = structured(subject="pump", time=TIME, data={"value": 1}, datacontenttype="application/json")
    decoded = decode(record(event, headers=headers), record(structured(data=reading()), headers=headers))
    assert list(decoded.readings.series) == ["pump", "s"]
    assert decoded.readings.times.tolist() == [NS, NS]


def test_structured_data_in_base64() -> None:
    event = structured(data_base64=base64.b64encode(orjson.dumps(reading())).decode())
    assert len(decode(record(event)).readings) == 1


def test_a_cloudevent_may_carry_a_batch() -> None:
    batch = {"time": [1_700_000_000, None], "value": [1, 2]}
    decoded = decode(record(batch, headers={**CE, "ce_type": "oddtide.Readings", "ce_time": TIME, "ce_subject": "p"}))
    assert list(decoded.readings.series) == ["p", "p"]
    assert decoded.readings.times.tolist() == [1_700_000_000 * 10**9, NS]


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (reading(), {**CE, "ce_type": "com.acme.Other"}, "unknown_event_type"),
        (reading(), {**CE, "ce_specversion": "0.3"}, "unsupported_specversion"),
        (reading(), {"ce_type": "oddtide.Reading"}, "unsupported_specversion"),
        (reading(), {"ce_specversion": "1.0"}, "unknown_event_type"),
        (structured(type="x", data=reading()), {}, "unknown_event_type"),
        (structured(type=["oddtide.Reading"], data=reading()), {}, "unknown_event_type"),
        (structured(specversion=1.0, data=reading()), {}, "unsupported_specversion"),
        (structured(), {}, "not_an_object"),
        (structured(data="text"), {}, "not_an_object"),
        (structured(data_base64="%%%"), {}, "not_json"),
        (structured(data_base64=1), {}, "not_json"),
        (structured(datacontenttype=1, data={}), {}, "unknown_content_type"),
        (structured(datacontenttype="text/xml", data="<a/>"), {}, "unknown_content_type"),
        (structured(datacontenttype="application/vnd.apache.arrow.stream", data="x"), {}, "unknown_content_type"),
        (structured(data={"value": 1}, time="yesterday", subject="s"), {}, "invalid_time"),
        (structured(data={"value": 1}, time=TIME, subject=5), {}, "missing_series"),
        ([1], {"content-type": "application/cloudevents+json"}, "not_an_object"),
        ({"value": 1}, {**CE, "ce_subject": "s"}, "missing_time"),
        (reading(), {"content-type": "text/html"}, "unknown_content_type"),
        (reading(), {"content-type": "application/json; charset=latin-1"}, "wrong_encoding"),
    ],
)  # fmt: skip
def test_cloudevents_and_content_types_that_are_refused(value: object, headers: dict[str, str], reason: str) -> None:
    decoded = decode(record(value, headers=headers))
    assert [refusal.reason for refusal in decoded.refusals] == [reason]
    assert len(decoded.readings) == 0


def test_a_header_that_is_not_utf8_matters_only_where_it_means_something() -> None:
    value = orjson.dumps(reading())
    foreign = Record(0, 0, None, value, [("other", b"\xff"), ("ce_none", None)])  # type: ignore[list-item]  # a client's
    meant = Record(1, 0, None, value, [("ce_type", b"\xff")])
    decoded = decode(foreign, meant)
    assert len(decoded.readings) == 1
    assert [refusal.reason for refusal in decoded.refusals] == ["wrong_encoding"]
