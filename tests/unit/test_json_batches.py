from __future__ import annotations

import numpy as np
import pytest

from oddtide.streams.codecs.columns import MAX_ROWS
from oddtide.streams.codecs.decoded import Refusal
from tests.unit.decoding import NS, OPTIONAL, SEVERAL, TIME, decode, record, refused


def test_a_batch_of_one_series() -> None:
    decoded = decode(record({"series": "s", "time": [1, 2.5, TIME], "value": [1, 2.5, 3], "labels": {"a": "b"}}))
    readings = decoded.readings
    assert list(readings.series) == ["s"] * 3
    assert readings.times.tolist() == [10**9, 2_500_000_000, NS]
    assert readings.values.tolist() == [[1.0], [2.5], [3.0]]
    assert readings.offsets.tolist() == [7, 7, 7]
    assert readings.rows.tolist() == [0, 1, 2]
    assert list(readings.labels) == [{"a": "b"}] * 3


def test_a_batch_over_many_series_with_features_and_labels() -> None:
    batch = {
        "series": ["x", None, "z"], "time": [1, 2, 3], "labels": [None, {"a": "b"}, {}],
        "features": {"a": [1, 2, 3], "b": [None, 5, 6.5]},
    }  # fmt: skip
    readings = decode(record(batch, key=b"y"), contract=SEVERAL).readings
    assert list(readings.series) == ["x", "y", "z"]
    np.testing.assert_array_equal(readings.values, [[1, np.nan], [2, 5], [3, 6.5]])
    assert list(readings.labels) == [None, {"a": "b"}, None]


def test_an_optional_feature_may_have_no_column() -> None:
    batch = {"series": "s", "time": [1, 2], "features": {"a": [1, None]}}
    decoded = decode(record(batch), contract=OPTIONAL)
    np.testing.assert_array_equal(decoded.readings.values, [[1, np.nan]])
    assert [(r.row, r.reason) for r in decoded.refusals] == [(1, "missing_feature")]


def test_bad_rows_are_refused_alone_with_their_series() -> None:
    batch = {
        "series": ["a", "b", 3, "d", "", "f", "g" * 600, "h"],
        "time": [1, "?", 3, 4, 5, None, 7, 8],
        "value": [1, 2, 3, "x", 5, 6, 7, 8],
        "labels": [None, None, None, None, None, None, None, {"a": 1}],
    }
    decoded = decode(record(batch, key=b"fallback"))
    assert decoded.readings.rows.tolist() == [0]
    assert [Refusal(7, r.row, r.reason, "", r.series) for r in decoded.refusals] == [
        Refusal(7, 1, "invalid_time", "", "b"),
        Refusal(7, 2, "invalid_series", "", ""),
        Refusal(7, 3, "not_a_number", "", "d"),
        Refusal(7, 4, "invalid_series", "", ""),
        Refusal(7, 5, "missing_time", "", "f"),
        Refusal(7, 6, "series_too_long", "", "g" * 100),
        Refusal(7, 7, "invalid_labels", "", "h"),
    ]


def test_a_batch_whose_common_part_is_bad_refuses_every_row() -> None:
    decoded = decode(record({"series": "s", "time": [1, 2], "value": [1, 2], "labels": {"a": 1}}))
    assert [(r.row, r.reason) for r in decoded.refusals] == [(0, "invalid_labels"), (1, "invalid_labels")]


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ({"series": "s", "time": [1, 2], "value": [1]}, "unequal_columns"),
        ({"series": ["s"], "time": [1, 2], "value": [1, 2]}, "unequal_columns"),
        ({"series": "s", "time": [1, 2], "value": [1, 2], "labels": [{}]}, "unequal_columns"),
        ({"series": "s", "time": 1, "value": [1, 2]}, "unequal_columns"),
        ({"series": "s", "time": [1, 2], "value": 1}, "unequal_columns"),
        ({"series": ["s"], "time": 1, "value": 1}, "invalid_series"),
        ({"series": "s", "time": [], "value": []}, "empty"),
        ({"series": "s", "time": [1], "value": [1], "unit": "K"}, "unknown_field"),
        ({"series": "s", "time": [1], "features": {"unit": [1]}}, "unknown_field"),
        ({"series": "s", "time": [1], "value": [1], "features": {"value": [1]}}, "invalid_features"),
        ({"series": "s", "time": [1], "features": 3}, "invalid_features"),
        ({"series": "s", "time": [1] * (MAX_ROWS + 1), "value": [1] * (MAX_ROWS + 1)}, "too_large"),
    ],
)  # fmt: skip
def test_batches_refused_as_a_whole(batch: dict[str, object], reason: str) -> None:
    assert refused(batch) == reason


def test_a_list_in_a_column_is_no_number() -> None:
    decoded = decode(record({"series": "s", "time": [1, 2], "value": [1, [2]]}))
    assert [(r.row, r.reason) for r in decoded.refusals] == [(1, "not_a_number")]


def test_a_null_column_is_an_absent_one() -> None:
    decoded = decode(record({"series": "s", "time": [1], "features": {"a": [1], "b": None}}), contract=SEVERAL)
    np.testing.assert_array_equal(decoded.readings.values, [[1, np.nan]])


def test_a_batch_of_times_alone_misses_its_feature_in_each_row() -> None:
    decoded = decode(record({"series": "s", "time": [1, 2]}))
    assert [(r.row, r.reason) for r in decoded.refusals] == [(0, "missing_feature"), (1, "missing_feature")]
