"""What producers send is what the decoder reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.encoding import encode_columns, encode_reading
from oddtide.streams.codecs.readings import ReadingDecoder
from oddtide.streams.codecs.times import EARLIEST, LATEST

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", min_codepoint=32), min_size=1, max_size=20)
TIMES = st.integers(EARLIEST, LATEST)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def decoder(*names: str) -> ReadingDecoder:
    return ReadingDecoder(Contract(features=tuple(FeatureRule(name, required=False) for name in names)))


@given(NAMES, TIMES, NUMBERS)
def test_a_value_comes_back_to_the_bit(series: str, time: int, value: float) -> None:
    raw = encode_reading(series, time, {"value": value})
    readings = decoder("value").decode([Record(0, 0, None, raw)]).readings
    assert (readings.series[0], readings.times[0], readings.values[0, 0]) == (series, time, value)


@given(
    NAMES,
    TIMES,
    st.dictionaries(st.sampled_from(["a", "b"]), NUMBERS, min_size=1),
    st.dictionaries(NAMES, NAMES, max_size=Contract().max_labels),
)
def test_features_and_labels_come_back(
    series: str, time: int, values: Mapping[str, float], labels: Mapping[str, str]
) -> None:
    raw = encode_reading(series, time, values, labels)
    readings = decoder("a", "b").decode([Record(0, 0, None, raw)]).readings
    found = dict(zip("ab", readings.values[0].tolist(), strict=True))
    assert {name: number for name, number in found.items() if number == number} == values
    assert (readings.labels[0] if readings.labels else None) == (labels or None)


@given(NAMES, st.lists(TIMES, min_size=1, max_size=20))
def test_columns_come_back(series: str, times: list[int]) -> None:
    values = np.arange(len(times), dtype=np.float64) / 3
    raw = encode_columns(series, np.array(times, dtype=np.int64), {"a": values, "b": -values})
    readings = decoder("a", "b").decode([Record(0, 0, None, raw)]).readings
    assert readings.times.tolist() == times
    assert readings.values.tolist() == np.column_stack([values, -values]).tolist()
    assert set(readings.series) == {series}


def test_one_value_travels_as_value_and_early_times_as_text() -> None:
    assert orjson.loads(encode_reading("a", 0, {"value": 1.0})) == {
        "series": "a",
        "time": "1970-01-01T00:00:00Z",
        "value": 1.0,
    }
    batch = orjson.loads(encode_columns("a", np.array([0]), {"value": np.array([np.nan])}))
    assert batch == {"series": "a", "time": ["1970-01-01T00:00:00Z"], "value": [None]}
