"""Bursts of edges: the statistic against the paper's formula and against plain sums, silence, and what is found."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oddtide.domain.detection import label_hashes
from oddtide.domain.detection.label_hashes import LabelHashes
from oddtide.domain.detection.midas import Midas, MidasSettings
from oddtide.domain.detection.ports import DetectorSpec, Rows, Scores
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.errors import ConfigurationError, UsageError
from oddtide.domain.readings import FloatArray, IntArray, Labels, LabelsColumn
from oddtide.streams.pipeline.planned_work import advance

pytestmark = pytest.mark.kernels
SECOND = 1_000_000_000
Ends = list[tuple[str, str]]


def graph(seed: int, n: int, *, nodes: int = 40, rate: float = 1.0) -> tuple[Ends, FloatArray]:
    """Edges among nodes of unequal popularity, and when (s)."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, nodes + 1)
    ends = rng.choice(nodes, size=(n, 2), p=weights / weights.sum()).tolist()
    return [(f"host {a}", f"host {b}") for a, b in ends], np.cumsum(rng.exponential(1.0 / rate, n))


def labelled(ends: Ends) -> list[Labels | None]:
    return [{"source": a, "target": b} for a, b in ends]


def as_rows(labels: list[Labels | None], times: FloatArray) -> Rows:
    n = len(labels)
    stamps: IntArray = (times * SECOND).astype(np.int64)
    return Rows(np.zeros(n, dtype=np.int64), stamps, np.ones((n, 1)), LabelsColumn.of(labels))


def told(rows: Rows, **parameters: Any) -> Scores:
    detector = Midas(("value",), MidasSettings(**parameters))
    detector.grow(1)
    return detector.advance(rows)


def by_the_paper(ends: Ends, times: FloatArray, tick: float) -> list[float]:
    """MIDAS with exact counts: the largest of edge, source and target, where there are too many."""
    current: dict[Any, int] = defaultdict(int)
    total: dict[Any, int] = defaultdict(int)
    scores, first, newest = [], int(times[0] // tick), int(times[0] // tick)
    for (source, target), time in zip(ends, times.tolist(), strict=True):
        if int(time // tick) > newest:
            newest = int(time // tick)
            current.clear()
        t, best = newest - first + 1, 0.0
        for thing in ((source, target), ("from", source), ("to", target)):
            current[thing, True] += 1
            total[thing] += 1
            a, s = current[thing, True], total[thing]
            if t > 1 and a > s / t:
                best = max(best, (a - s / t) ** 2 * t**2 / (s * (t - 1)))
        scores.append(best)
    return scores


def by_sums(ends: Ends, times: FloatArray, chosen: MidasSettings) -> list[float]:
    """What the module says, each count summed up anew from all edges before."""
    keep = 1.0 - 1.0 / chosen.memory
    past: dict[Any, list[tuple[int, float]]] = defaultdict(list)
    scores, first = [], int(times[0] // chosen.tick)
    for (source, target), time in zip(ends, times.tolist(), strict=True):
        now, best = int(time // chosen.tick), 0.0
        age = sum(keep**i for i in range(now - first + 1))
        mean_of, spread_of = (sum((chosen.decay**k) ** i for i in range(now - first + 1)) for k in (1, 2))
        for thing in ((source, target, "edge"), ("from", source), ("to", target)):
            a = 1.0 + sum(chosen.decay ** (now - then) for then, _ in past[thing])
            mean = (1.0 + sum(weight * keep ** (now - then) for then, weight in past[thing])) / age
            excess, score = a - mean * mean_of, 0.0
            if excess > 0.0 and age > 1.0:
                score = excess**2 * age / ((mean * spread_of + chosen.floor) * (age - 1.0))
            past[thing].append((now, min(1.0, chosen.tame / score) if score else 1.0))
            best = max(best, score)
        scores.append(best)
    return scores


def test_with_exact_counts_it_is_midas() -> None:
    ends, times = graph(1, 900)
    parameters: dict[str, Any] = {"decay": 0.0, "memory": 0, "floor": 0.0, "tame": 0.0, "width": 1 << 16, "warm_up": 60}
    scores = told(as_rows(labelled(ends), times), **parameters)
    np.testing.assert_allclose(scores.score[60:], by_the_paper(ends, times, 60.0)[60:], rtol=1e-9)
    assert (scores.score[60:] > 0).any()


def test_counts_fade_and_are_tamed_as_told() -> None:
    ends, times = graph(2, 400)
    ends[300:330] = [("host 3", "host 9")] * 30
    parameters: dict[str, Any] = {"tick": 20.0, "memory": 9, "tame": 3.0, "width": 1 << 16, "warm_up": 60}
    scores = told(as_rows(labelled(ends), times), **parameters)
    np.testing.assert_allclose(scores.score[60:], by_sums(ends, times, MidasSettings(**parameters))[60:], rtol=1e-9)


def test_a_burst_of_edges_is_found_among_others_in_little_memory() -> None:
    ends, times = graph(3, 9_000, nodes=300)
    at = 7_000
    ends[at:at] = [("host 50", f"host {i}") for i in range(100, 140)]  # one node scans forty
    times = np.insert(times, at, times[at] + np.linspace(0.0, 2.0, 40))
    scores = told(as_rows(labelled(ends), times), width=256)
    strange = np.flatnonzero(scores.p_value <= 1e-6)
    assert len(strange) > 15
    assert ((strange >= at) & (strange < at + 60)).all()  # some others came at the same time
    assert (scores.p_value[500:] <= 1e-3).mean() < 0.02
    assert (scores.p_value[:500] == 1.0).all()


def test_what_is_tame_decides_whether_a_burst_becomes_usual() -> None:
    ends, times = graph(4, 2_000)
    for at in (1_000, 1_500):
        ends[at : at + 50] = [("host 30", "host 31")] * 50
    rows = as_rows(labelled(ends), times)
    wild, tame = (told(rows, tame=limit, tick=100.0).score[1_549] for limit in (0.0, 20.0))
    assert tame > 1.5 * wild


def test_late_edges_count_in_the_newest_tick() -> None:
    ends, times = graph(5, 800)
    late = times.copy()
    late[600:620] -= 500.0
    then = times.copy()
    then[600:620] = np.maximum.accumulate(late)[600:620]
    rows = labelled(ends)
    np.testing.assert_array_equal(told(as_rows(rows, late)).score, told(as_rows(rows, then)).score)


def test_a_reading_without_both_labels_is_no_edge() -> None:
    ends, times = graph(6, 700)
    whole = labelled(ends)
    one: Labels = {"source": "host 1", "hall": "3"}
    mixed = [None if i % 7 == 3 else one if i % 7 == 5 else each for i, each in enumerate(whole)]
    edges = np.array([i % 7 not in (3, 5) for i in range(700)])
    scores = told(as_rows(mixed, times), warm_up=60)
    only = told(as_rows([each for each, edge in zip(mixed, edges, strict=True) if edge], times[edges]), warm_up=60)
    for name in ("score", "p_value", "seen"):
        np.testing.assert_array_equal(getattr(scores, name)[edges], getattr(only, name))
    assert (scores.score[~edges] == 0.0).all()
    assert (scores.p_value[~edges] == 1.0).all()
    assert (scores.seen[~edges] < 60).all()
    silent = told(replace(as_rows(whole, times), labels=None))
    assert (silent.seen == 0).all()
    assert (silent.p_value == 1.0).all()


def test_labels_have_other_names_where_told() -> None:
    ends, times = graph(7, 300)
    renamed: list[Labels | None] = [{"from": a, "to": b} for a, b in ends]
    one = told(as_rows(renamed, times), source="from", target="to", warm_up=60)
    np.testing.assert_array_equal(one.score, told(as_rows(labelled(ends), times), warm_up=60).score)
    assert (one.score > 0).any()


@pytest.mark.parametrize("wrong", [{"target": "source"}, {"source": ""}, {"tick": 0.0}, {"memory": 1}, {"widht": 9}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        build_detector(DetectorSpec("midas", wrong), ("value",), families={})


def test_labels_of_other_rows_are_refused() -> None:
    ends, times = graph(8, 4)
    rows = as_rows(labelled(ends), times)
    with pytest.raises(UsageError, match="3 labels for 4 rows"):
        told(replace(rows, labels=LabelsColumn.of(labelled(ends[:3]))))


def test_numbers_of_labels_are_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    column = LabelsColumn.of([{"a": "Zürich", "b": ""}, None, {"a": "x", "b": "Zürich"}])
    numbers, there = LabelHashes(("a", "b"), 0).of(column, 3)
    assert there.tolist() == [True, False, True]
    assert numbers[0, 0] == numbers[2, 1] == 0x5F2E64823E2CDB66
    assert (numbers[1] == 0).all()
    assert (LabelHashes(("a", "b"), 1).of(column, 3)[0][0] != numbers[0]).all()
    monkeypatch.setattr(label_hashes, "_REMEMBERED", 1)
    np.testing.assert_array_equal(LabelHashes(("a", "b"), 0).of(column, 3)[0], numbers)


def test_what_is_not_learnt_is_scored_row_by_row_all_the_same() -> None:
    ends, times = graph(10, 300)
    rows = as_rows(labelled(ends), times)
    suppressed = (np.arange(300) % 50) < 15

    def made() -> Midas:
        detector = Midas(("value",), MidasSettings(warm_up=50))
        detector.grow(1)
        return detector

    whole, single = made(), made()
    at_once = advance(whole, rows, suppressed)
    one_by_one = [advance(single, rows.take(np.array([i])), suppressed[i : i + 1]).score[0] for i in range(300)]
    np.testing.assert_array_equal(at_once.score, one_by_one)
    assert (at_once.score > 0).any()
