"""The results as Markdown tables, or as plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.kit import table
from benchmarks.quality.discoveries import RULES
from benchmarks.quality.folding import RANKS, Rank, bytes_per_series
from benchmarks.quality.nulls import ALPHAS, BAND, NOMINAL, POWERS
from benchmarks.quality.runs import Result, figure_name
from oddtide.domain.errors import OddtideError

__all__ = ["as_values", "fdr_table", "nulls_table", "quality_table"]

_ONE_VALUE, _MANY = ("nab", "ucr"), ("skab", "smap_msl")
_TELEMETRY = 25
_RANKED_BY: dict[Rank, str] = {"p_value": "p-value", "score": "score"}


def _score(figure: float) -> str:
    return f"{figure:.1f}"


def _share(figure: float) -> str:
    return f"{figure:.3f}"


#: Heading, part, figure, its look.
_COLUMNS: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    ("NAB, threshold from other folds", "nab", "nab", _score),
    ("(best threshold)", "nab", "nab_best", _score),
    ("UCR accuracy", "ucr", "ucr", _share),
    ("SKAB VUS-PR", "skab", "skab", _share),
    ("SMAP/MSL VUS-PR", "smap_msl", "smap_msl", _share),
    ("ADBench ROC-AUC", "adbench", "roc_auc", _share),
    ("ADBench AP", "adbench", "average_precision", _share),
    ("ADBench in batch, ROC-AUC", "adbench_batch", "roc_auc", _share),
    ("AP", "adbench_batch", "average_precision", _share),
)


def quality_table(results: Sequence[Result]) -> str:
    """For each detector a line for each way of ranking, a column a data set that was run; speed and memory beside."""
    mine = [result for result in results if result.task.part not in ("nulls", "fdr")]
    parts = {result.task.part for result in mine}
    columns = [column for column in _COLUMNS if column[1] in parts]
    header = ["detector", "ranked by", *(column[0] for column in columns), "readings/s, one value",
              "readings/s, many", "bytes a series, one value", f"{_TELEMETRY} values"]  # fmt: skip
    lines = []
    for detector in dict.fromkeys(result.task.detector for result in mine):
        found = {result.task.part: result for result in mine if result.task.detector == detector}
        speeds = [_speed(found[part] for part in several if part in found) for several in (_ONE_VALUE, _MANY)]
        costs = [*speeds, *(_memory(detector, count) for count in (1, _TELEMETRY))]
        for rank, called in _RANKED_BY.items():
            cells = [_cell(found[part], figure_name(figure, rank), look) for _, part, figure, look in columns]
            lines.append([f"`{detector}`", called, *cells, *(costs if rank == RANKS[0] else [""] * len(costs))])
    return table(header, lines)


def nulls_table(results: Sequence[Result]) -> str:
    """A line for each detector and kind of null: realised shares beside the nominal ones, and power."""
    header = ["detector", "null", *(f"p <= {alpha:g}" for alpha in ALPHAS),
              f"power at {NOMINAL:g}: {' / '.join(POWERS)}", f"in a band of {BAND:g}", "readings/s"]  # fmt: skip
    lines = []
    for result in results:
        if result.task.part == "nulls":
            cells = [_cell(result, f"p<={alpha:g}", "{:.1e}".format) for alpha in ALPHAS]
            power = " / ".join(_cell(result, f"power, {kind}", _share) for kind in POWERS)
            held = _cell(result, "coverage", _share)
            lines.append([f"`{result.task.detector}`", result.task.kind, *cells, power, held, _speed([result])])
    return table(header, lines)


def fdr_table(results: Sequence[Result]) -> str:
    """A line for each detector and kind of stream: the share of a rule's alarms that is false / of injections found."""
    rules = ["shipped", *RULES]
    lines = []
    for result in results:
        if result.task.part == "fdr":
            cells = [
                f"{_cell(result, f'{rule}: false', _share)} / {_cell(result, f'{rule}: power', _share)}"
                for rule in rules
            ]
            cells.insert(1, _cell(result, "shipped: false_but_wakes", _share))
            lines.append([f"`{result.task.detector}`", result.task.kind, *cells])
    return table(["detector", "stream", rules[0], "false, without wakes", *rules[1:]], lines)


def as_values(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Each result as JSON has it; a figure that there is none of is null."""
    return [
        {
            "detector": result.task.detector, "part": result.task.part, "kind": result.task.kind,
            "alarms": asdict(result.task.alarms), "limit": result.task.limit,
            "files": result.files, "refused": result.refused, "readings": result.readings, "seconds": result.seconds,
            "problem": result.problem,
            **{name: None if math.isnan(figure) else figure for name, figure in result.figures.items()},
        }
        for result in results
    ]  # fmt: skip


def _cell(result: Result, figure: str, look: Callable[[float], str]) -> str:
    value = result.figures.get(figure, math.nan)
    if result.problem:
        return "failed"
    refused = f" ({result.refused} of {result.files} refused)" if result.refused else ""
    return "-" if math.isnan(value) else f"{look(value)}{refused}"


def _speed(results: Iterable[Result]) -> str:
    known = [result for result in results if result.seconds and not result.problem]
    seconds = sum(result.seconds for result in known)
    return f"{sum(result.readings for result in known) / seconds:,.0f}" if known else "-"


def _memory(detector: str, features: int) -> str:
    try:
        return f"{bytes_per_series(detector, features):,}"
    except OddtideError:
        return "-"
