from __future__ import annotations

import numpy as np

from oddtide.domain.drift import DriftPolicy, DriftWatch, Finding, Monitor

NAN = float("nan")


class PageHinkley:
    """Page's test for a rise of the mean (Biometrika 1954): a monitor small enough to check by hand."""

    def __init__(self, threshold: float = 5.0) -> None:
        self.threshold = threshold
        self._begin()

    def _begin(self) -> None:
        self.count, self.mean, self.rise = 0, 0.0, 0.0
        self.drift_detected = self.warning_detected = self.warned = False

    def update(self, value: float) -> None:
        if self.drift_detected:
            self._begin()
        self.count += 1
        self.mean += (value - self.mean) / self.count
        self.rise = max(0.0, self.rise + value - self.mean)
        self.drift_detected = self.rise > self.threshold
        self.warning_detected = self.rise > self.threshold / 2 and not self.warned
        self.warned = self.warned or self.warning_detected

    @property
    def estimate(self) -> float:
        return self.mean


def watch(*features: str) -> DriftWatch:
    return DriftWatch(DriftPolicy(), PageHinkley, features)


def show(watched: DriftWatch, numbers: list[float], slot: int = 0) -> list[tuple[int, Finding]]:
    return [(row, found) for row, x in enumerate(numbers) for found in watched.update(slot, [x], NAN)]


def test_the_monitor_of_these_tests_is_one() -> None:
    assert isinstance(PageHinkley(), Monitor)


def test_a_warning_then_a_drift_with_the_means_before_and_after() -> None:
    findings = show(watch("a"), [0.0] * 20 + [2.0] * 10)
    assert [(row, kind) for row, (_, kind, _, _) in findings] == [(21, "warning"), (22, "drift")]
    watched, _, before, after = findings[1][1]
    assert watched == "value:a"
    assert before is not None
    assert after is not None
    assert 0 < before < after


def test_a_drift_is_not_also_a_warning() -> None:
    ((row, (_, kind, before, _)),) = show(watch("a"), [0.0, 100.0])
    assert (row, kind, before) == (1, "drift", 0.0)


def test_before_the_first_number_there_is_no_mean() -> None:
    class Nervous(PageHinkley):
        def update(self, value: float) -> None:
            super().update(value)
            self.drift_detected = True

    found = DriftWatch(DriftPolicy(), Nervous, ["a"]).update(0, [1.0], 2.0)
    assert found == [("value:a", "drift", None, 1.0), ("score", "drift", None, 2.0)]


def test_an_estimate_that_is_no_number_is_none() -> None:
    class Clueless(PageHinkley):
        @property
        def estimate(self) -> float:
            return NAN

    watched = DriftWatch(DriftPolicy(), Clueless, ["a"])
    watched.update(0, [0.0], NAN)
    assert watched.update(0, [100.0], NAN) == [("value:a", "drift", None, None)]


def test_each_feature_and_the_score_are_watched_apart() -> None:
    watched = watch("a", "b")
    for _ in range(5):
        assert watched.update(0, np.array([0.0, 0.0]), 0.0) == []
    assert [found[:2] for found in watched.update(0, np.array([0.0, 100.0]), 100.0)] == [
        ("value:b", "drift"), ("score", "drift"),
    ]  # fmt: skip


def test_slots_are_apart() -> None:
    watched = watch("a")
    watched.update(0, [0.0], NAN)
    assert watched.update(1, [100.0], NAN) == []
    assert watched.update(0, [100.0], NAN) != []


def test_missing_features_and_scores_of_the_warm_up_are_not_shown() -> None:
    watched = watch("a")
    assert show(watched, [0.0, NAN, float("inf"), NAN, 0.0]) == []
    assert show(watched, [100.0]) == show(watch("a"), [0.0, 0.0, 100.0])[:0] + show(watched, []) + [
        (0, ("value:a", "drift", 0.0, 100.0 / 3))
    ]


def test_reset_begins_anew() -> None:
    watched = watch("a")
    show(watched, [0.0] * 10)
    watched.forget(np.array([0]))
    watched.forget(np.array([5]))
    assert show(watched, [100.0]) == []


def test_saved_state_gives_the_same_future() -> None:
    numbers = np.random.default_rng(0).normal(size=50).tolist() + [3.0] * 20
    whole, first, second = watch("a"), watch("a"), watch("a")
    expected = show(whole, numbers)
    found = show(first, numbers[:40])
    second.insert(np.array([0]), first.extract(np.array([0])))
    show(first, [100.0])
    found += [(row + 40, each) for row, each in show(second, numbers[40:])]
    assert expected
    assert found == expected
