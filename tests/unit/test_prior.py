"""The population prior: the first reading of a new series is judged, and honestly so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import msgspec
import numpy as np
import orjson
import pytest

from oddtide.config.stream_settings import StreamSettings
from oddtide.domain.detection.ensemble import Combined
from oddtide.domain.detection.ports import DetectorSpec, Scores
from oddtide.domain.detection.prior import PopulationPrior
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.detection.threshold import ThresholdRule
from oddtide.domain.errors import StateMismatchError
from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.domain.readings import FloatArray
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.snapshot import decode_snapshot, encode_snapshot, restore, take
from oddtide.streams.ports import Toolkit

T0 = 1_700_000_000_000
TOOLKIT = Toolkit(detector=partial(build_detector, families={}), monitors=lambda policy: pytest.fail("light only"))
PLAN = StreamPlan("s", "t", detectors=(DetectorSpec("ewma", {"warm_up": 20}),), profile_every=0, prior=True)


def judged(prior: PopulationPrior, first: int, values: FloatArray, untaught: bool = False) -> FloatArray:
    """(n,) p-values of one reading (n, d) each of ``n`` series, in slots from ``first`` on; none is known yet."""
    n, d = values.shape
    prior.grow(first + n)
    nothing = Scores(np.zeros(n), np.ones(n), np.zeros((n, d)), np.zeros(n, dtype=np.int64))
    combined = Combined(nothing, np.zeros(n, dtype=np.int64), np.full(n, 20))
    slots, every = np.arange(first, first + n), np.ones(n, dtype=np.bool_)
    found = prior.fill(slots, values, combined, every, every if untaught else None, 1)
    told = found.scores.p_value < 1
    assert (found.driver == told).all()
    np.testing.assert_allclose(found.scores.contributions.sum(axis=1), found.scores.score)
    return found.scores.p_value


@pytest.mark.parametrize("kind", ["levels", "scales", "walk"])
def test_p_values_of_new_series_are_honest(kind: str) -> None:
    rng, series, ages = np.random.default_rng(4), 1_200, 12
    values = rng.normal(size=(series, ages, 1)) * (np.exp(rng.normal(size=(series, 1, 1))) if kind == "scales" else 1.0)
    values = (values.cumsum(axis=1) if kind == "walk" else values) + rng.normal(size=(series, 1, 1)) * 30
    prior, p_values = PopulationPrior(["value"]), np.ones((series, ages))
    for first in range(0, series, 100):
        for age in range(ages):
            p_values[first : first + 100, age] = judged(prior, first, values[first : first + 100, age])
    assert (p_values[0] == 1).all()  # of whom nobody came before
    late = p_values[300:]
    for age in range(ages):
        for level, most in ((0.2, 1.25), (0.05, 1.5)):
            assert (late[:, age] <= level).mean() <= level * most
    assert (late[:, 0] <= 0.2).mean() >= 0.15


@pytest.mark.kernels
def test_what_is_unlike_the_others_is_found_at_once() -> None:
    rng, prior = np.random.default_rng(5), PopulationPrior(["a", "b"])
    for first in range(0, 200, 50):
        for _ in range(3):
            judged(prior, first, rng.normal(size=(50, 2)))
    level = judged(prior, 200, np.array([[0.1, 40.0], [0.1, 0.2], [np.nan, -0.4]]))
    assert level[0] < 1e-4
    assert level[1:].min() > 0.01
    step = judged(prior, 200, np.array([[0.0, 40.5], [25.0, 0.0], [0.3, np.nan]]))
    assert step[1] < 1e-4
    assert min(step[0], step[2]) > 0.01
    again = judged(prior, 300, np.array([[1e308, -1e308], [np.nan, np.nan]]), untaught=True)
    assert again[0] < 1e-4
    assert again[1] == 1.0
    assert np.isfinite(judged(prior, 300, np.array([[-1e308, 1e308], [5e-324, 0.0]]))).all()


def log(series: int, readings: int) -> list[Record]:
    rng, records = np.random.default_rng(6), list[Record]()
    for first in range(0, series, 10):
        for _ in range(readings):
            for each in range(first, first + 10):
                value = float(rng.normal()) + (500.0 if each == series - 1 else 0.0)
                body = {"series": f"s{each}", "time": T0 + len(records), "value": value}
                records.append(Record(len(records), T0, None, orjson.dumps(body)))
    return records


def said(subject: PartitionProcessor, batches: Sequence[Sequence[Record]]) -> list[bytes]:
    return [msgspec.json.encode(verdict) for batch in batches for verdict in subject.fold(batch).verdicts]


def processor(plan: StreamPlan = PLAN) -> PartitionProcessor:
    return PartitionProcessor(plan, TOOLKIT, application="app", partition=0)


def test_the_first_reading_of_a_series_has_a_score_and_says_how_young_it_is() -> None:
    records, subject = log(100, 30), processor()
    verdicts = list(subject.fold(records).verdicts)
    odd = next(verdict for verdict in verdicts if verdict.series == "s99")
    assert (odd.detector, odd.model_version, odd.maturity, odd.seen, odd.needed) == ("prior", "prior/1", 0.0, 0, 20)
    assert odd.p_value < 1e-3
    assert odd.score == pytest.approx(-np.log10(odd.p_value))
    alone = list(processor(replace(PLAN, prior=False)).fold(records).verdicts)
    for with_prior, without in zip(verdicts, alone, strict=True):
        assert (without.p_value == 1) == (without.maturity < 1)
        if without.maturity == 1:  # whom a detector knows it judges, as if there were no prior
            assert (with_prior.detector, with_prior.p_value) == ("ewma", without.p_value)


def test_neither_batches_nor_a_snapshot_alter_what_is_said() -> None:
    records = log(80, 5)
    whole = processor()
    expected = said(whole, [records])
    first = processor()
    begun = said(first, [[record] for record in records[:330]])
    other = processor()
    snapshot = decode_snapshot(b"".join(bytes(part) for part in encode_snapshot(take(first, build="b"))))
    restore(snapshot, other)
    assert begun + said(other, [records[330:331], records[331:]]) == expected
    assert other.hash == whole.hash


def test_it_goes_on_under_another_plan_with_it_and_its_state_must_be_whole() -> None:
    assert "prior" in PLAN.kept_by(replace(PLAN, profile_every=5))
    assert "prior" not in PLAN.kept_by(replace(PLAN, prior=False))
    assert "prior" not in PLAN.kept_by(replace(PLAN, contract=Contract(features=(FeatureRule("x"),))))
    assert StreamSettings.model_validate({"prior": True}).plan("p").prior
    assert "prior" not in StreamSettings().plan("p").content()
    with pytest.raises(StateMismatchError):
        PopulationPrior(["value"]).load({})


def test_a_threshold_on_the_detectors_score_is_not_asked_of_the_prior() -> None:
    records = log(80, 5)  # no series is known to the detector yet
    verdicts = list(processor(replace(PLAN, threshold=ThresholdRule(0.0, 0.5))).fold(records).verdicts)
    assert any(verdict.detector == "prior" and verdict.own_score >= 0.5 for verdict in verdicts)
    assert not any(verdict.is_anomaly for verdict in verdicts)
    by_p = list(processor(replace(PLAN, threshold=ThresholdRule(1e-2))).fold(records).verdicts)
    assert any(verdict.is_anomaly and verdict.detector == "prior" for verdict in by_p)
