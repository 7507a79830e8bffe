"""The compiled path for plain JSON: what it takes it reads as the exact path does, and it takes what is plain."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.streams.codecs import json_scan
from oddtide.streams.codecs.decimals import to_doubles
from oddtide.streams.codecs.decoded import Decoded, Record
from oddtide.streams.codecs.fast import FastPath
from oddtide.streams.codecs.json_reading import Rules
from oddtide.streams.codecs.readings import ReadingDecoder
from oddtide.streams.codecs.record_block import RecordBlock

pytestmark = pytest.mark.kernels

ONE = Contract(max_series_bytes=12, max_labels=2, max_label_length=4)
RENAMED = Contract((FeatureRule("temp"),), unknown_fields="ignore")
SEVERAL = Contract((FeatureRule("a"), FeatureRule("b", required=False), FeatureRule("ä", required=False)))
contracts = st.sampled_from([ONE, RENAMED, SEVERAL])


def pick(*choices: str) -> st.SearchStrategy[str]:
    return st.sampled_from(choices)


space = pick("", "", "", " ", "\n\t ", "\r", "\x0b")
digits = st.integers(0, 10**19).map(str)
plain_number = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers(-(2**63), 2**63).map(str)
number = plain_number | st.builds(
    "{}{}{}{}".format, pick("", "-", "+"), digits | pick("0", "00", "01", "", "12345678", "123456781234567"),
    pick("", ".", ".0", ".5", ".12345678", ".0000000000000000001", ".30000000000000004"),
    pick("", "", "e5", "E-7", "e+22", "e", "e-400", "e00001", "e0400", "e9999"),
)  # fmt: skip
letters = 'abcdefgh\x7f\x1f\\"\x00éß€\U0001f600'
string = st.text(letters, max_size=13).map(lambda text: f'"{text}"')
escaped = string | pick(r'"\u0061"', r'"a\n"', r'"\ud800"', '"')
moment = st.builds(
    '"{}{}{}{}"'.format,
    pick(
        "2026-01-31", "2024-02-29", "2023-02-29", "1677-12-31", "2262-01-01", "2000-13-01", "20x0-01-01", "12a5-01-01"
    ),
    pick("T", " ", "t", ""),
    pick("12:00:00", "23:59:59", "24:00:00", "12:00:60", "12:00", "12:60:00", ""),
    pick(
        "", "Z", "z", ".5Z", ".123456789Z", ".1234567891Z", ".Z", "+01:00", "-23:59", "+0100", "+24:00", "Z ", "+1:00"
    ),
)
time = moment | number | pick("1700000000", "1700000000123", "1700000000123456789", "1.5e9", "null", "true", '"now"')


def member(key: str, value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds('"{}"{}:{}{}{}'.format, st.just(key), space, space, value, space)


def object_of(members: st.SearchStrategy[str], least: int = 0) -> st.SearchStrategy[str]:
    inside = st.lists(members, min_size=least, max_size=4).map(",".join)
    return st.builds("{{{}{}}}".format, space, inside)


features = object_of(st.one_of(*(member(name, number | pick("null", "nul")) for name in ("a", "b", "ä", "temp", "c"))))
labels = object_of(st.builds("{}:{}".format, string, string | pick("1", "null"))) | pick("[]", "null")
value = number | pick("null", "nul", "[1]", "true", '"1"')
members = st.one_of(
    member("series", string | escaped), member("time", time), member("value", value), member("labels", labels),
    member("features", features), member("id", string), member("valu", number), member("value9", number),
    member("type", string),
)  # fmt: skip
wild = object_of(members, least=2)


@st.composite
def likely(draw: st.DrawFn) -> str:
    """A reading that is plain but for a few of its parts."""
    found = [
        draw(member("series", pick('"s"', '"pump-1"', '"pümp"') | string)),
        draw(member("time", pick("1700000000123", '"2026-01-31T12:00:00.25Z"', "1700000000.5") | time)),
        draw(member("value", plain_number) | member("features", features) | member("value", value)),
    ]
    found += draw(st.just([]) | st.lists(member("labels", labels), max_size=1) | st.lists(members, max_size=1))
    return f"{draw(space)}{{{draw(space)}{','.join(draw(st.permutations(found)))}}}{draw(space)}"


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    raw = bytearray(draw(likely() | likely() | wild).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(raw)))
        raw[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=2) | st.sampled_from([b'"', b"}", b"1"]))
    return bytes(raw)


def records(raws: Sequence[bytes], headers: Sequence[tuple[str, bytes]] = ()) -> list[Record]:
    """Whose keys lie between the values, and would complete many a broken one."""
    keys = (b'"}', b"9", b'9,"value":1}', b"}", b"e5", b"\x80\x80")
    return [Record(i, 0, keys[i % len(keys)], raw, headers) for i, raw in enumerate(raws)]


def same(one: Decoded, other: Decoded) -> None:
    assert list(one.readings.series) == list(other.readings.series)
    for name in ("times", "offsets", "rows"):
        np.testing.assert_array_equal(getattr(one.readings, name), getattr(other.readings, name))
    assert one.readings.values.tobytes() == other.readings.values.tobytes()
    rows = len(one.readings)
    assert list(one.readings.labels or [None] * rows) == list(other.readings.labels or [None] * rows)
    assert one.refusals == other.refusals


@given(st.lists(documents(), max_size=5), contracts)
@settings(max_examples=600, deadline=None)
@example([b'{"series":"s","time":1,"value":1'], ONE)
@example([b'{"series":"s","time":1,"value":1', b"}"], ONE)
@example([b'{"series":"s","time":1,"value":-0}', b'{"series":"s","time":1,"value":-0.0}'], ONE)
@example(
    [b'{"series":"s","time":1,"features":{"a":null,"a":2}}', b'{"series":"s","time":1,"features":{"b":1}}'], SEVERAL
)
@example([b'{"series":"s","time":1,"features":{"a":', b"null  "], SEVERAL)
@example([b'{"series":"s","time":1,"features":{"a":1,"a":null}}', b'{"series":"s","time":1,"features":{}}'], SEVERAL)
@example([b'{"series":"s","time":1,"value":1,"labels":{"a":"b","a":"c","a":"d"}}'], ONE)
@example([b'{"series":"\xed\xa0\x80","time":1,"value":1}', b'{"series":"\xf4\x90\x80\x80","time":1,"value":1}'], ONE)
@example([b'{"series":"\xe0\x9f\xbf","time":1,"value":1}', b'{"series":"\xf0\x8f\xbf\xbf","time":1,"value":1}'], ONE)
def test_it_reads_what_the_exact_path_reads(raws: list[bytes], contract: Contract) -> None:
    fast = ReadingDecoder(contract).decode(records(raws))
    # A header that means nothing sends a record down the exact path.
    same(fast, ReadingDecoder(contract).decode(records(raws, [("x", b"")])))


PLAIN = {
    ONE: [
        b'{"series":"pump-1","time":1700000000123,"value":1.5,"labels":{"a":"b","c":"d"}}',
        b' { "value" : -17 , "labels" : { } , "time" : "2026-01-31T12:00:00Z" , "series" : "p\xc3\xbcmp" } ',
        b'{"time":1700000000.25,"value":6.02214076e23,"series":"\xe2\x82\xac\xf0\x9f\x98\x80"}',
        b'{"series":"s","time":"2026-01-31 12:00:00.123456789+01:00","value":0.30000000000000004}',
    ],
    SEVERAL: [
        b'{"series":"s","time":1700000000123456789,"features":{"a":1,"b":2.5,"\xc3\xa4":-3e-7}}',
        b'{"series":"s","time":1,"features":{"\xc3\xa4":null,"a":12345678901234567}}',
    ],
}


@pytest.mark.parametrize("contract", PLAIN, ids=["one feature", "several"])
def test_it_takes_what_is_plain(contract: Contract) -> None:
    block, odd = FastPath(Rules.of(contract)).decode(RecordBlock.of(records(PLAIN[contract])))
    assert odd.tolist() == []
    assert block.records.tolist() == list(range(len(PLAIN[contract])))


@given(st.lists(documents(), max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_what_shares_the_bytes_never_matters(raws: list[bytes], data: st.DataObject) -> None:
    block = RecordBlock.of(records([*raws, *PLAIN[ONE]]))
    start = data.draw(st.integers(0, len(block)))
    stop = data.draw(st.integers(start, len(block)))
    alone = RecordBlock.of(list(block[start:stop]))
    same(ReadingDecoder(ONE).decode(block[start:stop]), ReadingDecoder(ONE).decode(alone))


@given(st.lists(st.tuples(st.integers(-(10**18), 10**18), st.integers(-360, 320)), min_size=1, max_size=20))
@settings(max_examples=300, deadline=None)
@example([(9007199254740993, 0), (9007199254740993, 1), (4503599627370497, -1), (1, 22), (1, 23), (1, -22), (1, -23)])
@example([(17976931348623157, 292), (17976931348623159, 292), (22250738585072014, -324), (5, -324), (0, 400)])
def test_decimals_become_the_nearest_double(numbers: list[tuple[int, int]]) -> None:
    mantissas = np.array([mantissa for mantissa, _ in numbers], dtype=np.int64)
    exponents = np.array([exponent for _, exponent in numbers], dtype=np.int64)
    bits, sure = np.empty(len(numbers), dtype=np.uint64), np.ones(len(numbers), dtype=np.bool_)
    to_doubles(mantissas, exponents, json_scan.MISSING, bits, bits.view(np.float64), sure)
    for (mantissa, exponent), found, known in zip(numbers, bits.tolist(), sure.tolist(), strict=True):
        expected = float(f"{mantissa}e{exponent}")
        if known:
            assert struct.unpack("<Q", struct.pack("<d", expected))[0] == found
        else:
            assert expected == 0 or not 1e-300 < abs(expected) < 1e300


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=300, deadline=None)
def test_what_programs_print_takes_the_fast_path(number: float) -> None:
    if number != 0 and not 1e-300 < abs(number) < 1e300:
        return
    for text in (repr(number).encode(), orjson.dumps(number)):
        raw = b'{"series":"s","time":1700000000,"value":%b}' % text
        block, odd = FastPath(Rules.of(Contract())).decode(RecordBlock.of([Record(0, 0, None, raw)]))
        assert odd.tolist() == ([0] if number == 0 and math.copysign(1, number) < 0 else [])
        assert odd.tolist() != [] or block.values.tobytes() == np.float64(number).tobytes()
