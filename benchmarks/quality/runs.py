"""What is run: a detector on a data set, or on one kind of null; each a task that any process can take."""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

from benchmarks.quality.batch import score_table
from benchmarks.quality.cases import BATCH, Case, load_cases
from benchmarks.quality.discoveries import measure_discoveries
from benchmarks.quality.folding import (
    NO_RULES,
    RANKS,
    Folded,
    LooksAheadError,
    Rank,
    check_causality,
    fold,
    ranked,
    ranked_alarms,
    silence,
)
from benchmarks.quality.measures import ucr_hit, vus_pr
from benchmarks.quality.nab import Alerts, alerts_of, best_score, cross_validated
from benchmarks.quality.nulls import measure_null
from oddtide.config.facade.ranking import average_precision, roc_auc
from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.errors import ConfigurationError, OddtideError
from oddtide.domain.readings import FloatArray

__all__ = ["Result", "Task", "figure_name", "run_all", "run_task"]

#: Which files of a data set, in order, a detector is run on again with another future.
_CHECKED = (0, 7, 13)
_COMPILES_ON = 200
_SECONDS_BETWEEN_NOTES = 15.0


@dataclass(frozen=True)
class Task:
    """``part`` is a data set, or ``nulls`` or ``fdr`` with its ``kind``. ``limit``: at most so many files, series of a
    null, or readings a series of ``fdr``. ``alarms`` are rules that only what measures alarms, NAB, is concerned by."""

    detector: str
    part: str
    folder: Path
    kind: str = ""
    limit: int = 0
    alarms: AlarmRules = NO_RULES


@dataclass
class Result:
    """``figures`` by name; ``problem`` is why there are none, or why they do not count. Of ``files``, ``refused`` are
    those that the detector cannot take: they count as if it had been silent, so that refusing gains nothing.
    ``readings`` are those that were folded."""

    task: Task
    figures: dict[str, float] = field(default_factory=dict)
    files: int = 0
    readings: int = 0
    seconds: float = 0.0
    problem: str = ""
    refused: int = 0


def run_task(task: Task) -> Result:
    """Run it. What a detector raises is its ``problem``: the others are measured all the same."""
    result = Result(task)
    try:
        if task.part == "nulls":
            _run_null(task, result)
        elif task.part == "fdr":
            _run_discoveries(task, result)
        else:
            _run_cases(task, result)
    except (LooksAheadError, OddtideError) as error:
        result.problem = str(error)
    except Exception as error:
        traceback.print_exc()
        result.problem = repr(error)
    return result


def _run_null(task: Task, result: Result) -> None:
    found = measure_null(task.detector, task.kind, *([task.limit] if task.limit else []))
    result.figures = {f"p<={alpha:g}": share for alpha, share in found.realised.items()}
    result.figures |= {f"power, {kind}": share for kind, share in found.power.items()}
    result.figures |= {"coverage": found.coverage, "mature": found.mature}
    result.readings, result.seconds = found.readings, found.seconds


def _run_discoveries(task: Task, result: Result) -> None:
    found, result.readings, result.seconds = measure_discoveries(
        task.detector, task.kind, *([task.limit] if task.limit else [])
    )
    for rule, figures in found.items():
        result.figures |= {f"{rule}: {name}": float(figure) for name, figure in asdict(figures).items()}


def _run_cases(task: Task, result: Result) -> None:
    figures: list[dict[str, float]] = []
    alerts: dict[Rank, list[Alerts]] = {rank: [] for rank in RANKS}
    for case, folded in _folded(task, result):
        if task.part == "nab":
            for rank, files in alerts.items():
                files.append(alerts_of(ranked_alarms(folded, rank), case.spans))
        else:
            figures.append(_by_rank({rank: _measured(task.part, case, ranked(folded, rank)) for rank in RANKS}))
    if task.part == "nab":
        result.figures = _by_rank({rank: _nab(files) for rank, files in alerts.items()})
    else:
        result.figures = {name: _mean([each[name] for each in figures]) for name in figures[0]}


def _nab(files: Sequence[Alerts]) -> dict[str, float]:
    return {
        "nab": cross_validated(files), "nab_two_folds": cross_validated(files, 2), "nab_best": best_score(files)
    }  # fmt: skip


def _by_rank(figures: Mapping[Rank, Mapping[str, float]]) -> dict[str, float]:
    return {figure_name(name, rank): figure for rank, found in figures.items() for name, figure in found.items()}


def figure_name(name: str, rank: Rank) -> str:
    """What a figure is called by what readings are ranked by: ``ucr``, ``ucr_by_score``."""
    return name if rank == RANKS[0] else f"{name}_by_{rank}"


def _folded(task: Task, result: Result) -> Iterator[tuple[Case, Folded]]:
    """Cases with what the pipeline said of them. The first rows of the first are folded once before, which compiles."""
    noted, refusal = time.monotonic(), None
    for number, case in enumerate(load_cases(task.part, task.folder, task.limit)):
        result.files += 1
        try:
            if task.part == BATCH:
                folded = score_table(task.detector, case)
            else:
                if not number:
                    fold(task.detector, case.head(_COMPILES_ON), task.alarms)
                folded = fold(task.detector, case, task.alarms)
        except ConfigurationError as error:
            folded, refusal = silence(len(case)), error
            result.refused += 1
        else:
            if number in _CHECKED and task.part != BATCH:
                check_causality(task.detector, case, folded, task.alarms)
            result.readings += len(case)
            result.seconds += folded.seconds
        if time.monotonic() > noted + _SECONDS_BETWEEN_NOTES:
            noted = time.monotonic()
            print(f"  {task.detector} on {task.part}: {result.files} files", file=sys.stderr, flush=True)
        yield case, folded
    if refusal is not None and result.refused == result.files:
        raise refusal


def _measured(part: str, case: Case, scores: FloatArray) -> dict[str, float]:
    if part == "ucr":
        return {"ucr": float(ucr_hit(scores, case.spans[0], case.scored_from))}
    truth, scores = case.truth[case.scored_from :], scores[case.scored_from :]
    if part in {"adbench", BATCH}:
        return {"roc_auc": roc_auc(truth, scores), "average_precision": average_precision(truth, scores)}
    return {part: vus_pr(truth, scores)}


def _mean(figures: Sequence[float]) -> float:
    """Over files that have the figure: one without an anomaly has none."""
    known = [figure for figure in figures if not math.isnan(figure)]
    return sum(known) / len(known) if known else math.nan


def run_all(tasks: Sequence[Task], jobs: int, note: Callable[[str], None]) -> list[Result]:
    """Every task's result, in the order of the tasks; ``jobs`` processes at a time, this one alone for 1."""
    if jobs <= 1:
        return [_noted(run_task(task), note) for task in tasks]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(run_task, task) for task in tasks]
        for done in as_completed(running):
            _noted(done.result(), note)
        return [each.result() for each in running]


def _noted(result: Result, note: Callable[[str], None]) -> Result:
    task = result.task
    done = f"{result.readings:,} readings folded in {result.seconds:.1f} s of processor time"
    note(f"{task.detector} on {task.part}{task.kind and f' ({task.kind})'}: {result.problem or done}")
    return result
