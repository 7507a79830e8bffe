"""The laws of ``ports.Detector``, for every implementation there is.

Built-in detectors join through the registry, river's through ``available()``, of PyOD's a few of each sort (batch-mates
matter, distances, trees, projections). Whoever needs other parameters to mature quickly has a line in ``QUICK``;
whoever has none is tested with its defaults.
"""

from __future__ import annotations

import functools
import itertools
import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oddtide.adapters.pyod import build as build_pyod
from oddtide.adapters.pyod import train
from oddtide.adapters.river.detectors import build as build_river
from oddtide.adapters.river.models import available as river_models
from oddtide.domain.detection import Adoptable, Detector, DetectorSpec, Rows, Scores, build_detector, known_detectors
from oddtide.domain.detection.registry import Build
from oddtide.domain.errors import StateMismatchError, UsageError
from oddtide.domain.readings import FloatArray, IntArray, LabelsColumn
from oddtide.domain.slots import SlotState

FEATURES = ("flow", "pressure")
FAMILIES: dict[str, Build] = {"river": build_river, "pyod": build_pyod}
QUICK: dict[str, dict[str, object]] = {
    "counts": {"warm_up": 20},
    "discord": {"shingle": 4, "scales": 2, "history": 24, "calibration": 64},
    "ewma": {"warm_up": 8},
    "half_space_trees": {"window": 16, "height": 4, "trees": 4, "calibration": 64},
    "loda": {"window": 8, "cuts": 10, "memory": 20, "calibration": 64},
    "mahalanobis": {"reference": 24, "warm_up": 12, "calibration": 64},
    "midas": {"tick": 40_000.0, "memory": 20, "tame": 4.0, "width": 16, "warm_up": 60, "calibration": 64},
    "neighbours": {"samples": 12, "horizon": 24},
    "random_cut_forest": {"trees": 3, "samples": 12, "horizon": 24, "calibration": 64},
    "seasonal": {"season": "daily", "cycles": 2, "bins": 6, "warm_up": 60},
    "spot": {"depth": 5, "calibration": 25, "peaks": 12, "patience": 4},
    "range": {"warm_up": 30, "memory": 40},
    "river:GaussianScorer": {"warm_up": 10, "grace_period": 10, "calibration": 64},
    "river:HalfSpaceTrees": {"warm_up": 16, "window_size": 16, "n_trees": 3, "height": 4, "calibration": 64},
    "river:LODA": {"warm_up": 10, "n_random_cuts": 5, "calibration": 64},
    "river:LocalOutlierFactor": {"warm_up": 15, "n_neighbors": 4, "calibration": 64},
}
BATCH = ("auto", "ECOD", "COPOD", "IForest", "HBOS", "KNN", "LOF", "PCA", "GMM")
KINDS = [*known_detectors(), *(f"river:{name}" for name in river_models()), *(f"pyod:{name}" for name in BATCH)]


@functools.cache
def artifact(name: str) -> bytes:
    values = np.random.default_rng(3).normal(size=(80, len(FEATURES)))
    values[5, 0] = np.nan
    parameters = {"n_estimators": 10} if name == "IForest" else {}
    return train(name, parameters, values, FEATURES)[0]


def make(kind: str) -> Detector:
    detector = build_detector(DetectorSpec(kind, QUICK.get(kind, {})), FEATURES, families=FAMILIES)
    if isinstance(detector, Adoptable):
        detector.adopt(artifact(kind.partition(":")[2]), "1")
    return detector


@pytest.fixture(params=[pytest.param(k, marks=[] if ":" in k else pytest.mark.kernels) for k in KINDS])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def as_rows(slots: object, values: FloatArray, times: IntArray | None = None) -> Rows:
    """An hour apart unless ``times`` says otherwise: long enough for there to be days."""
    numbers = np.asarray(slots, dtype=np.int64)
    return Rows(
        numbers, np.arange(len(numbers), dtype=np.int64) * 3_600_000_000_000 if times is None else times, values
    )


def series(detector: Detector, *, slots: int = 2, extra: int = 24, seed: int = 0) -> Rows:
    """Interleaved series, long enough to mature, with spikes, a level shift and holes."""
    rng = np.random.default_rng(seed)
    per_slot = detector.warm_up + extra
    n = slots * per_slot
    values = rng.normal(size=(n, len(FEATURES))) + 10.0
    values[rng.random(n) < 0.03] += 8.0
    values[3 * n // 4 :, 0] += 5.0
    values[rng.random(values.shape) < 0.05] = np.nan
    values[n // 2] = np.nan
    if detector.version.startswith("counts/"):  # which has nothing to say of anything else
        values = np.round(values)
    ends = np.random.default_rng(seed).integers(0, 4, size=(n, 2)).tolist()
    labels = LabelsColumn.of({"source": f"host {a}", "target": f"host {b}"} for a, b in ends)
    return replace(as_rows(rng.permutation(np.repeat(np.arange(slots), per_slot)), values), labels=labels)


def part(rows: Rows, where: slice | NDArray[np.bool_]) -> Rows:
    return rows.take(np.arange(len(rows))[where])


def grown(kind: str, slots: int = 2) -> Detector:
    detector = make(kind)
    detector.grow(slots)
    return detector


def columns(scores: Scores) -> Iterator[tuple[str, FloatArray]]:
    for name in ("score", "p_value", "contributions", "seen", "expected", "lower", "upper", "relevance"):
        column = getattr(scores, name)
        if column is not None:
            yield name, column


def assert_same(one: Scores, other: Scores) -> None:
    """Equal to the bit."""
    left, right = dict(columns(one)), dict(columns(other))
    assert left.keys() == right.keys()
    for name, column in left.items():
        np.testing.assert_array_equal(column, right[name], err_msg=name)


def joined(parts: list[Scores]) -> Scores:
    names = dict(columns(parts[0]))
    return Scores(**{name: np.concatenate([getattr(each, name) for each in parts]) for name in names})


def in_cuts(detector: Detector, rows: Rows, cuts: list[int]) -> Scores:
    edges = [0, *sorted(cuts), len(rows)]
    return joined([detector.advance(part(rows, slice(a, b))) for a, b in itertools.pairwise(edges)])


def one_by_one(detector: Detector, rows: Rows) -> Scores:
    parts = []
    for i in range(len(rows)):
        row = part(rows, slice(i, i + 1))
        parts.append(detector.score(row))
        detector.learn(row)
    return joined(parts)


def test_it_is_a_detector(kind: str) -> None:
    detector = make(kind)
    assert isinstance(detector, Detector)
    assert detector.warm_up >= 1
    assert detector.version.startswith(f"{kind}/")
    assert detector.version == make(kind).version


def test_advance_is_score_then_learn_row_by_row(kind: str) -> None:
    rows = series(grown(kind))
    assert_same(grown(kind).advance(rows), one_by_one(grown(kind), rows))


def test_batches_never_matter(kind: str) -> None:
    rows = series(grown(kind), seed=1)
    whole = grown(kind).advance(rows)
    rng = np.random.default_rng(2)
    for _ in range(2):
        cuts = rng.integers(0, len(rows), size=7).tolist()
        assert_same(whole, in_cuts(grown(kind), rows, cuts))


def test_scoring_changes_nothing(kind: str) -> None:
    detector, undisturbed = grown(kind), grown(kind)
    rows = series(detector, seed=3)
    past, future = part(rows, slice(0, len(rows) - 20)), part(rows, slice(len(rows) - 20, len(rows)))
    detector.advance(past)
    undisturbed.advance(past)
    assert_same(detector.score(rows), detector.score(rows))
    assert_same(detector.advance(future), undisturbed.advance(future))


def test_the_future_never_matters(kind: str) -> None:
    rows = series(grown(kind), seed=4)
    half = len(rows) - 15
    values = rows.values.copy()
    values[half:] = values[half:] * -3.0 + 7.0
    known = grown(kind).advance(part(rows, slice(0, half)))
    other = grown(kind).advance(replace(rows, values=values))
    for name, column in columns(known):
        np.testing.assert_array_equal(column, getattr(other, name)[:half], err_msg=name)


def two_halves(kind: str, seed: int) -> tuple[Rows, Rows]:
    rows = series(grown(kind, 3), slots=3, seed=seed)
    half = len(rows) - 45
    return part(rows, slice(0, half)), part(rows, slice(half, len(rows)))


def woken(kind: str, state: SlotState, slots: list[int], room: int) -> Detector:
    detector = grown(kind, room)
    detector.insert(np.array(slots), pickle.loads(pickle.dumps(state)))
    return detector


def test_an_extracted_state_has_the_same_future(kind: str) -> None:
    detector = grown(kind, 3)
    past, future = two_halves(kind, seed=5)
    detector.advance(past)
    state = detector.extract(np.arange(3))
    again = woken(kind, state, [0, 1, 2], 3)
    assert_same(detector.advance(future), again.advance(future))


def test_an_extracted_state_fits_any_slot_among_other_series(kind: str) -> None:
    detector, other = grown(kind, 3), grown(kind, 8)
    past, future = two_halves(kind, seed=19)
    detector.advance(past)
    other.advance(as_rows(past.slots * 3 + 1, past.values[::-1]))  # slots 1, 4, 7 live their own lives
    other.insert(np.array([6, 4]), detector.extract(np.array([2, 0])))
    mine = future.slots != 1
    moved = np.where(future.slots == 2, 6, np.where(future.slots == 0, 4, 1))
    told = other.advance(replace(future, slots=moved))
    for name, column in columns(detector.advance(future)):
        np.testing.assert_array_equal(column[mine], getattr(told, name)[mine], err_msg=name)


def test_an_extracted_state_shares_no_memory(kind: str) -> None:
    detector, undisturbed = grown(kind, 3), grown(kind, 3)
    past, future = two_halves(kind, seed=6)
    for each in (detector, undisturbed):
        each.advance(past)
    state = detector.extract(np.arange(3))
    frozen = pickle.dumps(state)
    again = grown(kind, 3)
    again.insert(np.arange(3), state)
    again.advance(future)
    assert pickle.dumps(state) == frozen
    for value in state.values():
        if isinstance(value, np.ndarray):
            value[...] = 7
        else:
            value.clear()
    assert_same(detector.advance(future), undisturbed.advance(future))


def test_extracted_states_have_a_row_a_slot(kind: str) -> None:
    detector = grown(kind, 3)
    detector.advance(two_halves(kind, seed=20)[0])
    for slots in ([], [2], [1, 0]):
        for value in detector.extract(np.array(slots, dtype=np.int64)).values():
            assert len(value) == len(slots)
            assert isinstance(value, np.ndarray) or all(isinstance(each, bytes) for each in value)
    assert detector.bytes_per_slot >= 0


def test_a_forgotten_series_is_one_never_seen(kind: str) -> None:
    detector = grown(kind, 3)
    rows = series(detector, slots=3, seed=7)
    detector.advance(rows)
    detector.forget(np.array([1, 2]))
    again = series(detector, slots=1, seed=8)
    again = replace(again, slots=np.ones(len(again), dtype=np.int64))
    assert pickle.dumps(detector.extract(np.array([1, 2]))) == pickle.dumps(grown(kind, 3).extract(np.array([1, 2])))
    assert_same(detector.advance(again), grown(kind, 3).advance(again))


def test_a_slot_without_a_past_takes_one_away(kind: str) -> None:
    detector = grown(kind, 3)
    rows = series(detector, slots=3, seed=21)
    detector.advance(rows)
    detector.insert(np.array([1]), grown(kind, 3).extract(np.array([2])))
    again = replace(rows, slots=np.ones(len(rows), dtype=np.int64))
    assert_same(detector.advance(again), grown(kind, 3).advance(again))


def test_series_are_independent(kind: str) -> None:
    rows = series(grown(kind), seed=9)
    together = grown(kind).advance(rows)
    for slot in (0, 1):
        mine = rows.slots == slot
        alone = grown(kind, 6).advance(replace(part(rows, mine), slots=np.full(mine.sum(), 5)))
        for name, column in columns(alone):
            np.testing.assert_array_equal(column, getattr(together, name)[mine], err_msg=name)


def test_growing_keeps_what_was_learnt(kind: str) -> None:
    rows = series(grown(kind), seed=10)
    half = len(rows) // 2
    growing = grown(kind)
    growing.advance(part(rows, slice(0, half)))
    growing.grow(1)
    growing.grow(40)
    other = grown(kind)
    other.advance(part(rows, slice(0, half)))
    assert_same(growing.advance(part(rows, slice(half, None))), other.advance(part(rows, slice(half, None))))
    fresh = as_rows([39, 39], rows.values[:2])
    assert_same(growing.advance(fresh), grown(kind, 40).advance(fresh))


def assert_sound(detector: Detector, rows: Rows, scores: Scores) -> None:
    assert scores.score.shape == scores.p_value.shape == scores.seen.shape == (len(rows),)
    assert scores.contributions.shape == rows.values.shape
    assert np.isfinite(scores.score).all()
    assert (scores.score >= 0).all()
    assert ((scores.p_value > 0) & (scores.p_value <= 1)).all()
    assert np.isfinite(scores.contributions).all()
    assert (scores.contributions >= 0).all()
    np.testing.assert_allclose(scores.contributions.sum(axis=1), scores.score, rtol=1e-9, atol=1e-300)
    immature = scores.seen < detector.warm_up
    assert (scores.score[immature] == 0).all()
    assert (scores.p_value[immature] == 1).all()
    for column in (scores.expected, scores.lower, scores.upper):
        assert column is None or not np.isinf(column).any()
    if scores.expected is not None and scores.lower is not None and scores.upper is not None:
        said = ~np.isnan(scores.lower)
        assert (scores.lower <= scores.expected)[said].all()
        assert (scores.expected <= scores.upper)[said].all()


def test_scores_are_sound(kind: str) -> None:
    detector = grown(kind)
    rows = series(detector, seed=11)
    scores = detector.advance(rows)
    assert_sound(detector, rows, scores)
    missing = np.isnan(rows.values)
    assert (scores.contributions[missing] == 0).all()
    assert (scores.score[missing.all(axis=1)] == 0).all()
    assert (scores.p_value[missing.all(axis=1)] == 1).all()
    assert (scores.score > 0).any()


def test_readings_are_counted(kind: str) -> None:
    detector = grown(kind)
    rows = series(detector, seed=12)
    seen = detector.advance(rows).seen
    if isinstance(detector, Adoptable):
        assert (seen == seen[0]).all()
    else:
        for slot in (0, 1):
            mine, counted = seen[rows.slots == slot], np.arange((rows.slots == slot).sum())
            said = mine >= detector.warm_up
            assert said.any()
            np.testing.assert_array_equal(mine, np.where(said, counted, np.minimum(counted, detector.warm_up - 1)))


def test_constant_series_stay_finite(kind: str) -> None:
    for level in (0.0, 5.0, -1e12):
        detector = grown(kind)
        values = np.full((detector.warm_up + 12, len(FEATURES)), level)
        values[-6, 0] += 1.0 + abs(level) / 10
        rows = as_rows(np.zeros(len(values)), values)
        assert_sound(detector, rows, detector.advance(rows))


@pytest.mark.parametrize("extremes", [[1e300, -1e300, 1.7e308, -1.7e308], [5e-324, 0.0, -1e-310, 1e300]])
def test_huge_and_tiny_magnitudes_stay_finite(kind: str, extremes: list[float]) -> None:
    detector = grown(kind)
    values = np.random.default_rng(13).choice(extremes, size=(detector.warm_up + 12, len(FEATURES)))
    rows = as_rows(np.zeros(len(values)), values)
    assert_sound(detector, rows, detector.advance(rows))
    calm = as_rows(np.zeros(len(values)), np.random.default_rng(14).normal(size=values.shape))
    assert_sound(detector, calm, detector.advance(calm))


def test_no_rows_are_no_trouble(kind: str) -> None:
    detector = grown(kind)
    nothing = as_rows([], np.empty((0, len(FEATURES))))
    assert len(detector.advance(nothing).score) == len(detector.score(nothing).score) == 0
    detector.learn(nothing)


def test_rows_that_do_not_fit_are_refused(kind: str) -> None:
    detector = grown(kind)
    for wrong in (as_rows([2], np.zeros((1, 2))), as_rows([-1], np.zeros((1, 2))), as_rows([0], np.zeros((1, 3)))):
        with pytest.raises(UsageError):
            detector.score(wrong)


def test_a_state_of_something_else_is_refused(kind: str) -> None:
    detector = grown(kind)
    rows = series(detector, seed=15)
    detector.advance(rows)
    before = detector.score(rows)
    slots = np.arange(2)
    state: dict[str, Any] = detector.extract(slots)
    spoilt: list[dict[str, Any]] = [{**state, name: value[:1]} for name, value in state.items()]
    spoilt += [{each: value for each, value in state.items() if each != name} for name in state]
    spoilt += [{**state, name: value[..., None]} for name, value in state.items() if isinstance(value, np.ndarray)]
    spoilt += [{**state, name: [b"spoilt"] * 2} for name in state]
    for each in spoilt or [{"of": np.zeros(2)}]:
        with pytest.raises(StateMismatchError):
            detector.insert(slots, each)
    assert_same(before, detector.score(rows))


def test_memory_is_bounded(kind: str) -> None:
    detector = grown(kind)
    sizes: list[int] = []
    for seed in (16, 17):
        detector.advance(series(detector, seed=seed))
        state = detector.extract(np.arange(2))
        sizes.append(sum(value.nbytes for value in state.values() if isinstance(value, np.ndarray)))
    assert sizes[0] == sizes[1] <= 2 * detector.bytes_per_slot


@pytest.mark.kernels
def test_the_seed_decides() -> None:
    quick = QUICK["half_space_trees"]
    results: list[FloatArray] = []
    for seed in (1, 1, 2):
        detector = build_detector(DetectorSpec("half_space_trees", {**quick, "seed": seed}), FEATURES, families={})
        detector.grow(2)
        results.append(detector.advance(series(detector, seed=18)).score)
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any()
