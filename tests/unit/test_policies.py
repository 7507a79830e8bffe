"""What docs/policies.md says: each of its sentences names the test here that holds it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest

from oddtide.domain.detection.events import Verdict
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.detection.threshold import ThresholdRule
from oddtide.domain.quality.contract import Contract, FeatureRule, OrderPolicy
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.ports import Toolkit

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"
T0 = 1_700_000_000_000
TOOLKIT = Toolkit(detector=partial(build_detector, families={}), monitors=lambda policy: pytest.fail("light only"))
#: Those that look at the order of readings and not at their times; few, small and quick to mature.
BY_ORDER = (
    DetectorSpec("ewma", {"warm_up": 8}),
    DetectorSpec("half_space_trees", {"window": 16, "height": 4, "trees": 4, "calibration": 64}),
    DetectorSpec("loda", {"window": 8, "cuts": 10, "memory": 20, "calibration": 64}),
    DetectorSpec("mahalanobis", {"reference": 24, "warm_up": 12, "calibration": 64}),
    DetectorSpec("neighbours", {"samples": 12, "horizon": 24, "rows": "unordered"}),
    DetectorSpec("discord", {"shingle": 4, "scales": 2, "history": 24, "calibration": 64}),
    DetectorSpec("random_cut_forest", {"trees": 3, "samples": 12, "horizon": 24, "calibration": 64}),
    DetectorSpec("spot", {"depth": 5, "calibration": 25, "peaks": 12, "patience": 4}),
    DetectorSpec("range", {"warm_up": 30, "memory": 40}),
    DetectorSpec("counts", {"warm_up": 10}),
)
PLAN = StreamPlan("s", "t", detectors=BY_ORDER[:1], threshold=ThresholdRule(1e-4), profile_every=0)
NOISE = np.random.default_rng(1).normal(10.0, 1.0, 60).tolist()


def log(values: Sequence[float], times: Sequence[int] | None = None) -> list[bytes]:
    seconds = times if times is not None else range(len(values))
    return [
        orjson.dumps({"series": "a", "time": T0 + 1_000 * at, "value": value})
        for at, value in zip(seconds, values, strict=True)
    ]


def fold(bodies: Sequence[bytes], plan: StreamPlan = PLAN) -> Outcome:
    subject = PartitionProcessor(plan, TOOLKIT, application="app", partition=0)
    return subject.fold([Record(i, -1, None, body) for i, body in enumerate(bodies)])


def told(outcome: Outcome) -> list[Any]:
    """What the verdicts say, their times and places left out."""
    return [msgspec.structs.replace(verdict, time="", id="", offset=0) for verdict in outcome.verdicts]


@pytest.mark.parametrize("spec", BY_ORDER, ids=[spec.kind for spec in BY_ORDER])
def test_by_order(spec: DetectorSpec) -> None:
    plan = replace(PLAN, detectors=(spec,))
    even = fold(log(NOISE), plan)
    steps = np.random.default_rng(2).integers(1, 90_000, len(NOISE))
    steps[40] = 86_400 * 400  # a gap of more than a year
    assert told(fold(log(NOISE, np.cumsum(steps).tolist()), plan)) == told(even)


def test_after_a_gap() -> None:
    before, verdict = list(fold(log([*NOISE, 10.0], [*range(60), 10**6])).verdicts)[-2:]
    assert (verdict.maturity, verdict.is_anomaly) == (1.0, False)
    assert verdict.lower is not None
    assert before.lower is not None
    assert abs(verdict.lower - before.lower) < 0.5


@pytest.mark.parametrize(
    ("policy", "scored", "skipped", "rejected"),
    [("accept", 61, {}, {}), ("skip", 60, {"late": 1}, {}), ("reject", 60, {}, {"late": 1})],
)
def test_late(policy: OrderPolicy, scored: int, skipped: dict[str, int], rejected: dict[str, int]) -> None:
    contract = Contract(order=policy)
    bodies = log([*NOISE[:30], 50.0, *NOISE[30:]], [*range(30), 3, *range(30, 60)])
    outcome = fold(bodies, replace(PLAN, contract=contract))
    counts = outcome.completed
    assert (counts.scored, counts.skipped, counts.rejected) == (scored, skipped, rejected)
    if policy == "accept":
        assert list(outcome.verdicts)[30].is_anomaly  # judged when it comes, by what was known then
    else:
        assert [v.score for v in outcome.verdicts] == [v.score for v in fold(log(NOISE)).verdicts]


@pytest.mark.parametrize(
    ("policy", "scored", "skipped", "rejected"),
    [("accept", 61, {}, {}), ("skip", 60, {"duplicate": 1}, {}), ("reject", 60, {}, {"duplicate": 1})],
)
def test_duplicates(policy: OrderPolicy, scored: int, skipped: dict[str, int], rejected: dict[str, int]) -> None:
    contract = Contract(duplicates=policy)
    bodies = log([*NOISE[:30], 50.0, *NOISE[30:]], [*range(30), 29, *range(30, 60)])
    outcome = fold(bodies, replace(PLAN, contract=contract))
    counts = outcome.completed
    assert (counts.scored, counts.skipped, counts.rejected) == (scored, skipped, rejected)
    if policy == "accept":
        assert list(outcome.verdicts)[30].is_anomaly
    else:
        assert [v.score for v in outcome.verdicts] == [v.score for v in fold(log(NOISE)).verdicts]


def test_an_older_duplicate_is_late() -> None:
    plan = replace(PLAN, contract=Contract(order="skip", duplicates="reject"))
    counts = fold(log([1.0, 2.0, 1.0], [0, 1, 0]), plan).completed
    assert (counts.skipped, counts.rejected) == ({"late": 1}, {})


@pytest.mark.parametrize("spec", BY_ORDER, ids=[spec.kind for spec in BY_ORDER])
def test_constant(spec: DetectorSpec) -> None:
    verdicts = list(fold(log([5.0] * 90), replace(PLAN, detectors=(spec,))).verdicts)
    assert all(verdict.p_value > 1e-2 and not verdict.is_anomaly for verdict in verdicts)
    assert_finite(verdicts)


def test_constant_and_then_not() -> None:
    verdicts = list(fold(log([5.0] * 60 + [5.1])).verdicts)
    assert [verdict.is_anomaly for verdict in verdicts[-2:]] == [False, True]


TWO = replace(PLAN, contract=Contract(features=(FeatureRule("a"), FeatureRule("b", required=False))))


def two(*pairs: tuple[float | None, float | None]) -> list[bytes]:
    return [
        orjson.dumps({"series": "s", "time": T0 + i, "features": {"a": a, **({} if b is None else {"b": b})}})
        for i, (a, b) in enumerate(pairs)
    ]


def test_missing_features() -> None:
    full = [(10.0 + i % 3, 5.0 + i % 2) for i in range(40)]
    holes = [(a, None if i in (30, 31) else b) for i, (a, b) in enumerate(full)]
    verdicts = list(fold(two(*holes), TWO).verdicts)
    gone, after = verdicts[30].features["b"], verdicts[32].features["b"]
    assert (gone.value, gone.contribution) == (None, 0.0)
    assert verdicts[30].features["a"].value == 10.0
    assert after.lower == gone.lower  # nothing was learnt of it in between
    null = orjson.dumps({"series": "s", "time": T0, "features": {"a": 1.0, "b": None}})
    absent = orjson.dumps({"series": "s", "time": T0, "features": {"a": 1.0}})
    assert told(fold([null], TWO)) == told(fold([absent], TWO))


def test_required_features() -> None:
    counts = fold([*two((None, 1.0), (1.0, None)), b'{"series": "s", "time": 1, "features": {}}'], TWO).completed
    assert (counts.scored, counts.rejected) == (1, {"missing_feature": 2})


@pytest.mark.parametrize("raw", ["NaN", "Infinity", "-Infinity", '"NaN"', "1e999"])
def test_no_number(raw: str) -> None:
    counts = fold([f'{{"series": "s", "time": {T0}, "value": {raw}}}'.encode()]).completed
    assert counts.scored == 0
    assert sum(counts.rejected.values()) == 1


def test_no_nan_leaves() -> None:
    """Of all of them at once, on data that asks for it."""
    plan = replace(TWO, detectors=BY_ORDER, threshold=ThresholdRule(0.5))
    extremes = [1e300, -1e300, 5e-324, 0.0, 1.0]
    pairs = [(extremes[i % 5], None if i % 7 < 2 else extremes[i % 3]) for i in range(150)]
    outcome = fold(two(*pairs), plan)
    assert outcome.completed.scored == 150
    assert_finite(list(outcome.verdicts))
    for published in outcome.events:
        json.loads(msgspec.json.encode(published.event), parse_constant=pytest.fail)


def assert_finite(verdicts: Sequence[Verdict]) -> None:
    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [each for part in value.values() for each in numbers(part)]
        return [value] if isinstance(value, float) else []

    for verdict in verdicts:
        assert all(map(math.isfinite, numbers(msgspec.to_builtins(verdict))))


def test_the_page_names_every_test_of_it() -> None:
    bullets = re.split(r"^- ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    named = [re.findall(r"\(`(test_\w+)`\)", bullet) for bullet in bullets]
    assert all(len(names) == 1 for names in named)
    here = {name for name in globals() if name.startswith("test_")} - {"test_the_page_names_every_test_of_it"}
    others = ("absence", "counters", "midas", "seasonal")
    sources = [path for name in others for path in PAGE.parents[1].glob(f"tests/*/test_{name}.py")]
    elsewhere = {name for source in sources for name in re.findall(r"def (test_\w+)", source.read_text())}
    mentioned = {names[0] for names in named}
    assert here <= mentioned <= here | elsewhere
