from __future__ import annotations

import pytest

from oddtide.config.cli.filters import parse_filter
from oddtide.domain.errors import UsageError

ROW = {
    "series": "pump-1",
    "score": 3.5,
    "count": 3,
    "is_anomaly": True,
    "time": "2026-01-02T00:00:00Z",
    "missing": None,
    "features": {"flow": {"value": 1.5}},
    "key": {"value:flow": 2},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("series=pump-1", True),
        ("series = pump-1 ", True),
        ("series=pump", False),
        ("series!=pump", True),
        ("score=3.5", True),
        ("count=3.0", True),
        ("is_anomaly=true", True),
        ("is_anomaly=1", False),
        ("score>3", True),
        ("score>=3.5", True),
        ("score<3.5", False),
        ("score<=3.5", True),
        ("score>abc", False),
        ("time>=2026-01-01", True),
        ("time<2026-01-01", False),
        ("time>2026", True),
        ("series~^pump-[0-9]$", True),
        ("series!~2$", True),
        ("series~2$", False),
        ("features.flow.value>1", True),
        ("features.pressure.value>1", False),
        ("series.flow=1", False),
        ("nothing=1", False),
        ("nothing!=1", True),
        ("nothing>1", False),
        ("nothing~.", False),
        ("nothing!~.", True),
        ("missing=None", False),
        ("key.value:flow=2", True),
        ("series=", False),
        ("value==999", False),
    ],
)
def test_conditions(text: str, expected: bool) -> None:
    assert parse_filter(text)(ROW) is expected


@pytest.mark.parametrize(
    "text", ["", "series", "=3", "3=series", "a b=1", "a~(", "__import__('os')", "a<<3", "a>", "a>=="]
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(UsageError):
        parse_filter(text)
