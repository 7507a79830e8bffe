"""The metrics that the documentation, the alert rules and the dashboard speak of are those that a worker serves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from oddtide.adapters.prometheus import PrometheusMetrics, WorkerInfo
from oddtide.domain.observability.events import PartitionHealth
from oddtide.domain.observability.progress import (
    PartitionProgress,
    RoleProgress,
    SnapshotProgress,
    StreamProgress,
    WorkerProgress,
)
from tests.packaging.tree import ROOT

_NAME = re.compile(r"\boddtide_\w+")


@pytest.fixture(scope="module")
def served() -> set[str]:
    """The names of a worker's samples, and without a histogram's endings."""
    health = PartitionHealth(topic="r", partition=0, position=5, end=9, lag=4)
    held = PartitionProgress("plant", health, snapshots=SnapshotProgress(1))
    stream = StreamProgress("plant", rejected={"x": 1})
    progress = WorkerProgress((stream,), (held,), (RoleProgress("ingest"),))
    text = PrometheusMetrics(lambda: progress, WorkerInfo("w", "h", "b")).render().decode()
    families = list(text_string_to_metric_families(text))
    names = {sample.name for family in families for sample in family.samples}
    histograms = {family.name for family in families if family.type == "histogram"}
    return {name for name in names if name.startswith("oddtide_") and not name.endswith("_created")} | histograms


def expressions() -> Iterator[str]:
    for group in yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads((ROOT / "deploy" / "grafana" / "oddtide.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_rules_and_dashboard_use_what_is_served(served: set[str]) -> None:
    used = {name for expression in expressions() for name in _NAME.findall(expression)}
    assert used - served == set()
    assert len(used) > 10


def test_each_metric_is_explained_to_operators(served: set[str]) -> None:
    explained = set(_NAME.findall((ROOT / "docs" / "operations.md").read_text()))
    plain = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served}
    assert plain == {name for name in explained if name in plain}


def test_every_rule_says_how_grave_it_is_and_what_to_know() -> None:
    (group,) = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
