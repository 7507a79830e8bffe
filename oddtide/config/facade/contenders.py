"""What comes of comparing detectors: a line for each, and how far they agree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from oddtide.config.facade.contender import Contender
from oddtide.config.facade.picturing import picture
from oddtide.config.facade.trials import Trial
from oddtide.domain.errors import UsageError

__all__ = ["Comparison", "Matrix"]

#: A figure for each pair of contenders.
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Comparison:
    """Contenders in the order they were named, over ``compared`` of ``readings`` readings; ``anomalies`` is how many
    of those are labelled anomalies, in ``stretches`` (None: no labels).

    ``overlap`` and ``correlation`` hold for each pair of contenders which share of the detections of either both made
    (Jaccard), and the rank correlation of their scores (Spearman); NaN where there is nothing to compare. ``files`` has
    the same for every file, where there are several; ``days`` are days of event time, counted in hours with readings.
    Printing it prints a table, :meth:`to_html` makes a page of it.
    """

    contenders: tuple[Contender, ...]
    readings: int
    compared: int
    anomalies: int | None
    stretches: int | None
    series: int
    days: float
    quiet_s: float
    overlap: Matrix
    correlation: Matrix
    name: str = ""
    notes: tuple[str, ...] = ()
    files: tuple[Comparison, ...] = ()
    trials: tuple[Trial, ...] = field(default=(), repr=False, compare=False)

    @property
    def best(self) -> Contender:
        """The one with the highest average precision. Raises ``UsageError`` without labels."""
        known = [each for each in self.contenders if not math.isnan(each.average_precision)]
        if not known:
            raise UsageError("There are no labels to tell the best by.", remedy="Give labels, or compare by eye.")
        return max(known, key=lambda each: each.average_precision)

    def summary(self) -> dict[str, Any]:
        """Everything but the readings, as plain values; NaN is None."""
        plain = {
            name: getattr(self, name)
            for name in ("name", "readings", "compared", "anomalies", "stretches", "series", "days", "quiet_s")
        }
        agreement = [
            {"detectors": [one.detector, other.detector], "overlap": _known(self.overlap[i][j]),
             "correlation": _known(self.correlation[i][j])}
            for i, one in enumerate(self.contenders) for j, other in enumerate(self.contenders) if i < j
        ]  # fmt: skip
        return {
            **plain,
            "contenders": [{name: _known(value) for name, value in asdict(each).items()} for each in self.contenders],
            "agreement": agreement,
            "notes": list(self.notes),
            "files": [each.summary() for each in self.files],
        }

    def to_html(self) -> str:
        """One page with tables and plots, whole in itself: no script, nothing loaded from anywhere."""
        from oddtide.config.report.comparison import comparison_page

        pairs = (
            ("Detections that both made, as a share of those that either made", self.overlap),
            ("Rank correlation of what they say of every reading (1: the same order)", self.correlation),
        )
        files = [(each.name, each.compared, each.contenders) for each in self.files]
        labelled = bool(self.anomalies)
        best = self.best if labelled and any(each.compared for each in self.contenders) else None
        return comparison_page(
            picture(self.contenders, self.trials, files, labelled=self.anomalies is not None),
            name=self.name, headline=self.headline, notes=self.notes,
            best=None if best is None else (best.detector, best.average_precision),
            figures=self.table(), pairs=pairs, quiet_s=self.quiet_s,
        )  # fmt: skip

    def table(self) -> list[dict[str, Any]]:
        """What a person wants to see of each contender, in columns; without labels and times fewer of them."""
        hidden = (
            {"compared"} if self.anomalies is not None else {"AP", "ROC-AUC", "VUS-PR", "precision", "recall", "found"}
        )
        if all(math.isnan(each.alarms_per_day) for each in self.contenders):
            hidden = hidden | {"alarms/day"}
        rows = [dict(_shown(each, self.stretches)) for each in self.contenders]
        return [{name: cell for name, cell in row.items() if name not in hidden} for row in rows]

    @property
    def headline(self) -> str:
        """How much was compared, in a line."""
        truth = "no labels"
        if self.anomalies is not None:
            ending = "" if self.stretches == 1 else "es"
            truth = f"{self.anomalies:,} labelled anomalies in {self.stretches:,} stretch{ending}"
        return f"{self.compared:,} of {self.readings:,} readings of {self.series:,} series compared, {truth}"

    def __str__(self) -> str:
        rows = self.table()
        lines = [list(rows[0]), *([_cell(cell) for cell in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join([self.headline, *("  ".join(_aligned(line, widths)).rstrip() for line in lines)])


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _shown(each: Contender, stretches: int | None) -> Iterator[tuple[str, Any]]:
    yield "detector", each.detector
    yield "AP", _rounded(each.average_precision, 3)
    yield "ROC-AUC", _rounded(each.roc_auc, 3)
    yield "VUS-PR", _rounded(each.vus_pr, 3)
    yield "precision", _rounded(each.precision, 3)
    yield "recall", _rounded(each.recall, 3)
    yield "found", f"{each.found}/{stretches}" if each.compared else None
    yield "detections", each.detections if each.compared else None
    yield "alarms", each.alarms if each.compared else None
    yield "alarms/day", _rounded(each.alarms_per_day, 2)
    yield "alarms/1000", _rounded(each.alarms_per_1000, 2)
    yield "agreement", _rounded(each.agreement, 2)
    yield "readings/s", round(each.readings_per_s)
    yield "bytes/series", each.bytes_per_series
    yield "warm-up", each.trained or each.warm_up


def _rounded(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else round(value, digits)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
