"""The laws of the fold: nothing lost, batches never matter, the future never matters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddtide.adapters.river.drift import adwin
from oddtide.domain.detection.alarm_budget import BudgetRule
from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.detection.threshold import ThresholdRule
from oddtide.domain.drift.events import DetectorAdapted, DriftDetected
from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.errors import StateMismatchError
from oddtide.domain.observability.ledger import check_batch, check_succession
from oddtide.domain.profiling.events import ProfileUpdated
from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.pipeline.frames import encode_frames, expand_frame
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.ports import Toolkit

TOOLKIT = Toolkit(detector=partial(build_detector, families={}), monitors=adwin)
T0 = 1_700_000_000_000
PLANS = {
    "light": StreamPlan("s", "t", detectors=(DetectorSpec("ewma", {"warm_up": 5}),), profile_every=7),
    "deep": StreamPlan(
        "s",
        "t",
        contract=Contract(
            features=(FeatureRule("a", required=False, minimum=-50, maximum=50), FeatureRule("b")),
            order="skip",
            duplicates="skip",
        ),
        detectors=(DetectorSpec("ewma", {"warm_up": 5}), DetectorSpec("half_space_trees", {"trees": 3, "height": 3})),
        threshold=ThresholdRule(p_value=0.05),
        alarms=AlarmRules("above", min_effect=0.5, min_duration=2, refractory=3),
        alarm_budget=BudgetRule(0.2, memory=50),
        drift=DriftPolicy(delta=0.3, warning_delta=0.5, adaptation="reset"),
        profile="deep",
        profile_every=5,
    ),
}


def processor(plan: StreamPlan) -> PartitionProcessor:
    return PartitionProcessor(plan, TOOLKIT, application="app", partition=1)


def fold(plan: StreamPlan, batches: Sequence[Sequence[Record]]) -> tuple[list[Outcome], PartitionProcessor]:
    subject = processor(plan)
    return [subject.fold(batch) for batch in batches if batch], subject


def said(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Everything that outcomes say, batches joined."""
    return {
        "verdicts": [msgspec.json.encode(verdict) for outcome in outcomes for verdict in outcome.verdicts],
        "events": sorted((e.role, e.id, msgspec.json.encode(e.event)) for outcome in outcomes for e in outcome.events),
        "dead": [msgspec.json.encode(letter.event) for outcome in outcomes for letter in outcome.dead],
    }


GOOD = {
    "light": lambda series, time, a, b: {"series": series, "time": time, "value": a},
    "deep": lambda series, time, a, b: {"series": series, "time": time, "features": {"a": a, "b": b}},
}
NUMBERS = st.floats(-100, 100, width=32) | st.sampled_from([0.0, 1.0, 60.0])


def values(kind: str) -> st.SearchStrategy[bytes | None]:
    good = st.builds(
        GOOD[kind], st.sampled_from("xyz"), st.integers(T0, T0 + 40), NUMBERS, NUMBERS
    ).map(orjson.dumps)  # fmt: skip
    odd = st.sampled_from([None, b"", b"{", b"[1]", b'{"series":"x"}', b'{"series":"x","time":1,"value":1}', b"\xff"])
    return st.one_of(good, good, good, good, odd)


@st.composite
def logs(draw: st.DrawFn, kind: str) -> list[Record]:
    offset, records = draw(st.integers(0, 5)), []
    for value in draw(st.lists(values(kind), min_size=1, max_size=60)):
        records.append(Record(offset, T0, b"k", value))
        offset += draw(st.sampled_from([1, 1, 1, 2]))
    return records


def cuts(draw: Callable[..., Any], records: list[Record]) -> list[list[Record]]:
    places = sorted(draw(st.sets(st.integers(0, len(records)))))
    return [records[i:j] for i, j in zip([0, *places], [*places, len(records)], strict=True)]


@pytest.mark.parametrize("kind", ["light", "deep"])
@given(data=st.data())
@settings(max_examples=60)
def test_how_a_log_is_cut_into_batches_never_matters(kind: str, data: st.DataObject) -> None:
    records = data.draw(logs(kind))
    whole, one = fold(PLANS[kind], [records])
    parts, other = fold(PLANS[kind], cuts(data.draw, records))
    assert said(parts) == said(whole)
    assert (one.hash, one.position, one.series) == (other.hash, other.position, other.series)


@pytest.mark.parametrize("kind", ["light", "deep"])
@given(data=st.data())
@settings(max_examples=60)
def test_every_reading_is_accounted_for(kind: str, data: st.DataObject) -> None:
    outcomes, subject = fold(PLANS[kind], cuts(data.draw, data.draw(logs(kind))))
    previous = None
    for outcome in outcomes:
        batch = outcome.completed
        assert check_batch(batch) == []
        assert check_succession(previous, batch) == []
        assert batch.scored == len(outcome.verdicts)
        assert sum(batch.rejected.values()) == sum(letter.event.rejected for letter in outcome.dead)
        assert all(letter.record is not None for letter in outcome.dead)
        previous = batch
    assert previous is None or previous.to_offset == subject.position


@pytest.mark.parametrize("kind", ["light", "deep"])
@given(data=st.data())
@settings(max_examples=30)
def test_the_future_never_matters(kind: str, data: st.DataObject) -> None:
    past = data.draw(logs(kind))
    future = [record._replace(offset=record.offset + past[-1].offset + 1) for record in data.draw(logs(kind))]
    alone, _ = fold(PLANS[kind], [past])
    together, _ = fold(PLANS[kind], [[*past, *future]])
    first = said(alone)["verdicts"]
    assert said(together)["verdicts"][: len(first)] == first


@given(data=st.data())
@settings(max_examples=30)
def test_frames_hold_what_the_columns_say(data: st.DataObject) -> None:
    outcomes, _ = fold(PLANS["deep"], [data.draw(logs("deep"))])
    verdicts = outcomes[0].verdicts
    assert [each for frame in encode_frames(verdicts) for each in expand_frame(frame)] == list(verdicts)


def steps(count: int, level: float) -> list[dict[str, Any]]:
    noise = np.random.default_rng(3).normal(0, 1, 2 * count)
    return [
        {"series": "x", "time": T0 + i, "features": {"b": float(noise[i] + (level if i >= count else 0))}}
        for i in range(2 * count)
    ]


def test_a_drift_resets_the_detectors_of_its_series_and_says_so() -> None:
    records = [Record(i, T0, None, orjson.dumps(row)) for i, row in enumerate(steps(300, 40.0))]
    outcomes, _ = fold(PLANS["deep"], [records])
    events = [published.event for published in outcomes[0].events]
    drifts = [event for event in events if isinstance(event, DriftDetected) and event.watched == "value:b"]
    adapted = [event for event in events if isinstance(event, DetectorAdapted)]
    assert any(300 <= drift.readings < 400 for drift in drifts)
    assert {event.detector for event in adapted} == {"ewma", "half_space_trees"}
    assert adapted[0].causation in {event.id for event in events if isinstance(event, DriftDetected)}
    after = adapted[0].offset + 1
    assert outcomes[0].verdicts.verdict(after).seen == 0


def test_profiles_come_at_exact_counts() -> None:
    rows = [{"series": "ab"[i % 2], "time": T0 + i, "value": float(i)} for i in range(40)]
    records = [Record(i, T0, None, orjson.dumps(row)) for i, row in enumerate(rows)]
    outcomes, _ = fold(PLANS["light"], [records])
    profiles = [p.event for p in outcomes[0].events if isinstance(p.event, ProfileUpdated)]
    assert [(event.series, event.readings) for event in profiles] == [("a", 7), ("b", 7), ("a", 14), ("b", 14)]
    assert profiles[0].features["value"].maximum == 12.0


def held(subject: PartitionProcessor, plan: StreamPlan, seats: Sequence[int]) -> PartitionProcessor:
    """A processor that goes on from ``subject``'s state, its series in other slots."""
    other = processor(plan)
    order = np.array([seat for seat in seats if seat < subject.series], dtype=np.int64)
    whole = {name: state for name, state in subject.save()[1].items() if name.endswith("of the partition")}
    other.load(subject._series.names(order), subject.extract(order) | whole)
    other.start_at(subject.position, subject.hash)
    return other


@pytest.mark.parametrize("kind", ["light", "deep"])
@given(data=st.data())
@settings(max_examples=40)
def test_a_state_taken_out_and_put_elsewhere_has_the_same_future(kind: str, data: st.DataObject) -> None:
    records = data.draw(logs(kind))
    half = data.draw(st.integers(0, len(records)))
    whole, one = fold(PLANS[kind], [records[:half], records[half:]])
    first, subject = fold(PLANS[kind], [records[:half]])
    other = held(subject, PLANS[kind], data.draw(st.permutations(range(3))))
    assert said([*first, *[other.fold(records[half:])]]) == said(whole) if half < len(records) else True
    assert other.hash == one.hash


def test_a_state_of_another_plan_is_refused() -> None:
    light, deep = processor(PLANS["light"]), processor(PLANS["deep"])
    with pytest.raises(StateMismatchError, match="drift"):
        light.insert(np.arange(0), deep.extract(np.arange(0)))
    assert deep.bytes_per_slot > light.bytes_per_slot > 100


def test_the_hash_tells_series_apart() -> None:
    """Scores alone would not: of a series' first readings they are all the same."""
    hashes = set()
    for series in ("a", "b", "ab", "a-rather-long-name", "a-rather-long-nbme"):
        record = Record(0, T0, None, orjson.dumps({"series": series, "time": T0, "value": 1.0}))
        hashes.add(fold(PLANS["light"], [[record]])[1].hash)
    assert len(hashes) == 5
