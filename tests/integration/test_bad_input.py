"""Bad input harms nobody: every kind of it through a real Kafka, between good readings.

Each ends in the dead letters with its reason, its original bytes and its coordinates; every good reading is scored;
nothing stalls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pytest

from oddtide.domain.observability.ledger import check_batch, check_succession
from oddtide.domain.quality.events import ReadingRejected
from oddtide.domain.quality.reasons import Reason
from oddtide.streams.results import MAX_VALUE_BYTES, REJECTION_HEADER
from tests.integration.test_ingest import T0, Platform
from tests.integration.test_transport import producing

LARGEST = 6 << 20


@dataclass(frozen=True)
class Bad:
    """A record that must be refused, and why."""

    name: str
    value: bytes | None
    reason: Reason
    key: bytes | None = b"x"
    headers: Sequence[tuple[str, bytes]] = ()


def reading(**fields: object) -> bytes:
    return orjson.dumps({"series": "x", "time": T0, "value": 1.0} | fields)


def raw(value: str) -> bytes:
    return b'{"series":"x","time":%d,"value":%s}' % (T0, value.encode())


def arrow() -> bytes:
    table = pa.table({"series": ["x"] * 50, "time": [T0] * 50, "value": np.arange(50.0)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def cloud_event(**fields: str) -> list[tuple[str, bytes]]:
    sound = {"specversion": "1.0", "id": "1", "type": "oddtide.Reading", "source": "/plant"}
    return [(f"ce_{name}", text.encode()) for name, text in {**sound, **fields}.items()]


COLUMNS = orjson.dumps({"series": "x", "time": [T0, T0 + 1], "value": [1.0]})
BAD = [
    Bad("not JSON", b"{oops", Reason.NOT_JSON),
    Bad("half a record", b'{"series":"x","time":1700000000000,', Reason.NOT_JSON),
    Bad("the other half, which only together would be JSON", b'"value":1}', Reason.NOT_JSON),
    Bad("wrong encoding", '{"series":"ü","time":1,"value":1}'.encode("latin-1"), Reason.WRONG_ENCODING),
    Bad("UTF-16", '{"series":"x"}'.encode("utf-16"), Reason.WRONG_ENCODING),
    Bad("empty", b"", Reason.EMPTY),
    Bad("tombstone", None, Reason.NULL_VALUE),
    Bad("garbage of almost a megabyte", bytes(range(128, 256)) * 8_000, Reason.WRONG_ENCODING),
    Bad("garbage larger than the dead letters take", b"[" * (4 << 20), Reason.TOO_DEEP),
    Bad("deep nesting", b'{"a":' * 100_000, Reason.TOO_DEEP),
    Bad("no series and no key", b'{"time":1700000000000,"value":1}', Reason.MISSING_SERIES, key=None),
    Bad("oversized key", b'{"time":1700000000000,"value":1}', Reason.SERIES_TOO_LONG, key=b"k" * 100_000),
    Bad("oversized series", reading(series="s" * 100_000), Reason.SERIES_TOO_LONG),
    Bad("unknown field", reading(humidity=3), Reason.UNKNOWN_FIELD),
    Bad("string for a number", reading(value="1.0"), Reason.NOT_A_NUMBER),
    Bad("NaN", raw("NaN"), Reason.NOT_FINITE),
    Bad("Infinity", raw("-Infinity"), Reason.NOT_FINITE),
    Bad("huge exponent", raw("1e999"), Reason.NOT_FINITE),
    Bad("1970", reading(time=0), Reason.TIME_TOO_OLD),
    Bad("2200", reading(time="2200-01-01T00:00:00Z"), Reason.TIME_TOO_NEW),
    Bad("no time", orjson.dumps({"series": "x", "value": 1}), Reason.MISSING_TIME),
    Bad("nonsense for a time", reading(time="soon"), Reason.INVALID_TIME),
    Bad("a list", b"[1,2]", Reason.NOT_AN_OBJECT),
    Bad("unequal columns", COLUMNS, Reason.UNEQUAL_COLUMNS),
    Bad("truncated Arrow", arrow()[:-30], Reason.INVALID_ARROW),
    Bad("CloudEvent of another type", reading(), Reason.UNKNOWN_EVENT_TYPE, headers=cloud_event(type="com.example.A")),
    Bad("CloudEvent of another version", reading(), Reason.UNSUPPORTED_SPECVERSION,
        headers=cloud_event(specversion="0.3")),
]  # fmt: skip


@pytest.fixture
async def platform(kafka: str, topic_prefix: str, tmp_path: Path) -> Platform:
    subject = Platform(kafka, topic_prefix, tmp_path)
    await subject.create(**{"max.message.bytes": str(LARGEST)})
    return subject


async def test_every_kind_of_bad_input_between_good_readings(platform: Platform) -> None:
    sent: list[Bad | None] = []
    async with producing(platform.kafka, max_request_size=LARGEST) as producer:
        for bad in BAD:
            await producer.send(platform.topic, bad.value, key=bad.key, headers=list(bad.headers), partition=0)
            await producer.send(platform.topic, reading(time=T0 + len(sent)), key=b"x", partition=0)
            sent += [bad, None]
    async with platform.working():
        ledger = await platform.until(len(sent))

    assert [check_batch(batch) for batch in ledger] == [[]] * len(ledger)
    assert all(not check_succession(*pair) for pair in zip([None, *ledger[:-1]], ledger, strict=True))
    good = [offset for offset, bad in enumerate(sent) if bad is None]
    assert [int(ident.split("/")[4]) for ident in await platform.verdict_ids()] == good

    letters = await platform.records(platform.catalogue.name("deadletters"))
    events = [msgspec.json.decode(dict(r.headers)[REJECTION_HEADER], type=ReadingRejected) for r in letters]
    wanted = [(offset, bad) for offset, bad in enumerate(sent) if bad is not None]
    assert {bad.name: event.reason for (_, bad), event in zip(wanted, events, strict=True)} == {
        bad.name: bad.reason.value for _, bad in wanted
    }
    for letter, event, (offset, bad) in zip(letters, events, wanted, strict=True):
        assert (event.topic, event.partition, event.offset) == (platform.topic, 0, offset), bad.name
        assert event.detail
        assert len(event.detail) < 400, bad.name
        assert letter.value == (bad.value if bad.value is None else bad.value[:MAX_VALUE_BYTES]), bad.name
        assert event.truncated == (len(bad.value or b"") > MAX_VALUE_BYTES)
        assert [each for each in letter.headers if each[0] != REJECTION_HEADER] == list(bad.headers)


async def test_of_duplicate_keys_the_last_wins(platform: Platform) -> None:
    await platform.push([b'{"series":"a","series":"b","time":1700000000000,"value":1,"value":2}'])
    async with platform.working():
        await platform.until(1)
    (verdict,) = await platform.verdicts()
    assert (verdict.series, verdict.value) == ("b", 2.0)


async def test_one_bad_row_of_a_batch_is_refused_alone(platform: Platform) -> None:
    await platform.push([orjson.dumps({"series": "x", "time": [T0, T0 + 1, T0 + 2], "value": [1, "two", 3]}), arrow()])
    async with platform.working():
        ledger = await platform.until(2)
    assert sum(batch.scored for batch in ledger) == 52
    (letter,) = await platform.records(platform.catalogue.name("deadletters"))
    event = msgspec.json.decode(dict(letter.headers)[REJECTION_HEADER], type=ReadingRejected)
    assert [(row.row, row.reason) for row in event.rows] == [(1, "not_a_number")]
    assert [(verdict.offset, verdict.row) for verdict in await platform.verdicts()][:3] == [(0, 0), (0, 2), (1, 0)]
