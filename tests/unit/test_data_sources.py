"""River's data sets and this machine's metrics as readings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psutil
import pytest

from oddtide.adapters.host.metrics import HostMetrics
from oddtide.adapters.river.datasets import SHUTTLE_FEATURES, WATER_FLOW_ANOMALIES, shuttle, water_flow
from oddtide.domain.errors import MissingExtraError


def test_water_flow_is_whole_and_its_anomalies_are_where_the_flow_is_not_ordinary() -> None:
    rows = list(water_flow())
    assert len(rows) == 1_268
    assert [known.what.split(":")[0] for known in WATER_FLOW_ANOMALIES] == [
        "low flow", "low flow", "small peak", "low flow",
    ]  # fmt: skip
    inside = [row.values["value"] for row in rows if any(k.first <= row.time <= k.last for k in WATER_FLOW_ANOMALIES)]
    outside = [
        row.values["value"] for row in rows if not any(k.first <= row.time <= k.last for k in WATER_FLOW_ANOMALIES)
    ]
    assert min(outside) > 95
    assert max(inside) == max(row.values["value"] for row in rows)
    assert min(inside) < 25


def test_shuttle_has_nine_features_and_its_truth() -> None:
    rows = list(shuttle(500))
    assert len(rows) == 500
    assert tuple(rows[0].values) == SHUTTLE_FEATURES
    assert rows[1].time - rows[0].time == 10**9
    assert 0 < sum(bool(row.is_anomaly) for row in rows) < 100


def test_they_are_what_river_itself_reads() -> None:
    datasets = pytest.importorskip("river.datasets")
    flows = [(int(row["Time"].timestamp()) * 10**9, flow) for row, flow in datasets.WaterFlow()]
    assert flows == [(row.time, row.values["value"]) for row in water_flow()]
    nine = [(row, bool(label)) for row, label in itertools.islice(datasets.Shuttle(), 100)]
    assert nine == [(row.values, row.is_anomaly) for row in shuttle(100)]


def test_a_data_set_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oddtide.adapters.river.datasets.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="water-flow"):
        next(water_flow())


@pytest.fixture
def seconds() -> Iterator[int]:
    return itertools.count(0, 10**9)


def test_host_metrics_have_rates_from_the_second_sample_on(seconds: Iterator[int]) -> None:
    host = HostMetrics(lambda: next(seconds))
    first, values = host.sample()
    second, more = host.sample()
    assert second - first == 10**9
    assert {"host.cpu", "host.memory", "host.swap", "host.disk", "host.load"} <= set(values)
    assert "host.net.received" not in values
    assert "host.net.received" in more
    assert all(number >= 0 for number in more.values())


def test_host_metrics_leave_out_what_the_machine_does_not_tell(
    seconds: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    host = HostMetrics(lambda: next(seconds))
    host.sample()
    assert not any(name.startswith(("host.net", "host.disk.")) for name in host.sample()[1])


def test_a_clock_that_stands_still_gives_no_rates() -> None:
    host = HostMetrics(lambda: 5)
    host.sample()
    assert "host.net.sent" not in host.sample()[1]
