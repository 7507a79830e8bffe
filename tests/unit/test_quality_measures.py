"""The measures of ``make bench-quality``: cases made by hand, and other people's scorers where those lie beside."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.quality.measures import spans_of, ucr_hit, vus_pr
from benchmarks.quality.nab import Alerts, alerts_of, best_score, cross_validated
from oddtide.config.facade.ranking import average_precision, roc_auc

_TOOLS = Path(__file__).parents[3] / "shared" / "tools"
beside_the_tools = pytest.mark.skipif(not _TOOLS.is_dir(), reason=f"the scorers to compare with are not in {_TOOLS}")


def tool(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, _TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(seed: int, rows: int = 1_500) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Anomalies that meet, touch both ends and last one row; scores with many ties."""
    random = np.random.default_rng(seed)
    truth = np.zeros(rows, dtype=np.bool_)
    truth[:20] = truth[-5:] = truth[300] = truth[330:340] = truth[700:800] = True
    return truth, np.round(random.exponential(size=rows) + truth * random.random(rows), 1)


# --- VUS-PR -----------------------------------------------------------------------------------------------------------


@beside_the_tools
@pytest.mark.parametrize("seed", range(5))
def test_the_measures_are_those_of_the_reference(seed: int) -> None:
    truth, scores = made(seed)
    reference = tool("metrics")
    assert vus_pr(truth, scores) == pytest.approx(reference.vus(truth, scores)[1], abs=1e-12)
    assert roc_auc(truth, scores) == pytest.approx(reference.auc_roc(truth, scores), abs=1e-12)
    assert average_precision(truth, scores) == pytest.approx(reference.auc_pr(truth, scores), abs=1e-12)


def test_vus_is_high_where_the_order_is_perfect_and_the_label_rate_where_there_is_none() -> None:
    truth = np.zeros(2_000, dtype=np.bool_)
    truth[500:900] = True
    rows = np.arange(2_000)
    near = np.where(truth, 2.0, 1.0 / (1.0 + np.minimum(abs(rows - 500), abs(rows - 899))))
    assert vus_pr(truth, near) > 0.95
    assert vus_pr(truth, np.zeros(2_000)) < 0.25
    assert vus_pr(truth, -near) < vus_pr(truth, np.zeros(2_000)) + 0.1


def test_vus_depends_on_the_order_alone() -> None:
    truth, scores = made(7)
    assert vus_pr(truth, np.exp(scores)) == vus_pr(truth, scores)


def test_without_anomalies_there_is_no_vus() -> None:
    assert math.isnan(vus_pr(np.zeros(10, dtype=np.bool_), np.arange(10.0)))


def test_spans_are_first_and_last_rows() -> None:
    assert spans_of(np.array([1, 1, 0, 1, 0, 0, 1], dtype=np.bool_)) == ((0, 1), (3, 3), (6, 6))
    assert spans_of(np.zeros(3, dtype=np.bool_)) == ()


# --- UCR --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("highest", "hit"), [(1_400, True), (1_399, False), (1_650, True), (1_651, False)])
def test_ucr_looks_for_the_highest_score_within_100_rows(highest: int, hit: bool) -> None:
    scores = np.full(3_000, 0.5)
    scores[highest] = 1.0
    assert ucr_hit(scores, (1_500, 1_550), 1_000) is hit


def test_ucr_does_not_count_the_training_part() -> None:
    scores = np.zeros(3_000)
    scores[10], scores[1_520] = 9.0, 1.0
    assert ucr_hit(scores, (1_500, 1_550), 1_000)


def test_a_silent_detector_misses_even_an_anomaly_at_the_beginning() -> None:
    assert not ucr_hit(np.zeros(3_000), (1_001, 1_010), 1_000)
    assert not ucr_hit(np.zeros(0), (0, 1), 0)


# --- NAB --------------------------------------------------------------------------------------------------------------

_WINDOW = (50, 59)


def with_alerts(*rows: int) -> Alerts:
    scores = np.zeros(100)
    scores[list(rows)] = 1.0
    return alerts_of(scores, (_WINDOW,))


def at_one(file: Alerts) -> float:
    """The file's score where the threshold is 1."""
    return 100.0 * float(file.gains[file.scores >= 1.0].sum()) / (file.windows + file.open)


def test_an_alert_on_a_windows_first_row_is_perfect_and_silence_nothing() -> None:
    assert at_one(with_alerts(50)) == pytest.approx(100.0)
    assert at_one(with_alerts()) == 0.0
    assert best_score([with_alerts(50)]) == pytest.approx(100.0)


def test_only_the_first_alert_of_a_window_counts_and_later_ones_are_worth_less() -> None:
    assert at_one(with_alerts(50, 51, 59)) == pytest.approx(100.0)
    worths = [at_one(with_alerts(row)) for row in range(50, 60)]
    assert worths == sorted(worths, reverse=True)
    assert worths[-1] > 50.0  # found late is better than missed


def test_alerts_outside_cost_more_the_further_from_the_window_before() -> None:
    assert at_one(with_alerts(20)) == pytest.approx(-5.5)  # none before it: all of 0.11, of two points
    costs = [at_one(with_alerts(row)) for row in range(60, 100)]
    assert costs == sorted(costs, reverse=True)
    assert -5.5 < costs[0] < 0.0
    assert costs[-1] == pytest.approx(-5.5)


def test_the_first_rows_are_not_scored() -> None:
    assert at_one(with_alerts(0, 14)) == 0.0
    early = alerts_of(np.ones(100), ((2, 8),))
    assert (early.windows, early.open) == (1, 0)
    assert math.isnan(best_score([alerts_of(np.ones(100), ())]))


def test_the_threshold_comes_from_the_other_folds() -> None:
    """Two files on different scales: what is best for one raises no alert, or no end of them, on the other."""
    small, large = np.zeros(100), np.full(100, 5.0)
    small[50], large[50] = 1.0, 10.0
    files = [alerts_of(small, (_WINDOW,)), alerts_of(large, (_WINDOW,))]
    assert best_score(files) > 45.0
    silent_and_loud = (0.0 + 2.0 - 0.11 * 75) / 4.0  # 75 rows of `large` lie outside, some of them near the window
    assert 100.0 * silent_and_loud < cross_validated(files) < 0.0
    same = [alerts_of(small, (_WINDOW,)), alerts_of(small, (_WINDOW,))]
    assert cross_validated(same) == pytest.approx(best_score(same)) == pytest.approx(100.0)


def test_one_file_has_no_other_folds() -> None:
    assert math.isnan(cross_validated([with_alerts(50)]))


@beside_the_tools
def test_nab_is_that_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", _times_only())
    reference = tool("nab_score")
    random = np.random.default_rng(3)
    series, scores, mine = [], {}, []
    for number, windows in enumerate([(), ((40, 80),), ((300, 340), (345, 400), (900, 999)), ((140, 160),), ((5, 9),)]):
        times = np.datetime64("2020-01-01", "ns") + np.arange(1_000) * np.timedelta64(5, "m")
        series.append(reference.Series(str(number), times, [(times[a], times[b]) for a, b in windows]))
        scores[str(number)] = np.round(random.exponential(size=1_000), 2)
        for first, last in windows:
            scores[str(number)][first : last + 1] += 2.0
        mine.append(alerts_of(scores[str(number)], windows))
    expected = reference.score(series, scores)["standard"]["score"]
    assert best_score(mine) == pytest.approx(expected, abs=1e-9)
    for folds in (2, 3, 5):
        expected = reference.cross(series, scores, folds)["standard"]
        assert cross_validated(mine, folds) == pytest.approx(expected, abs=1e-9)


def _times_only() -> ModuleType:
    """What the reference asks of pandas, which is no dependency of ours."""
    pandas: Any = ModuleType("pandas")
    pandas.Series = np.array
    pandas.to_datetime = lambda column: SimpleNamespace(to_numpy=column.astype)
    pandas.Timestamp = lambda moment: SimpleNamespace(value=int(moment.astype("datetime64[ns]").astype(np.int64)))
    stand_in: ModuleType = pandas
    return stand_in
