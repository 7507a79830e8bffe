"""The page of ``oddtide compare``: a table, what it looks like, and the readings themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from oddtide.config.report.parts import NONE, Html, document, legend, note, number, section, table
from oddtide.config.report.plots import Curve, Lane, colour, curves, dots, mark, scatter, timeline
from oddtide.domain.readings import FloatArray

__all__ = ["FileRow", "Panel", "Picture", "comparison_page"]

_NOTES_SHOWN = 20
#: A file's name, how many of its readings are compared, and a figure for each detector.
FileRow = tuple[str, int, Sequence[float]]
#: What is said of pairs, and a figure for each pair.
Pairs = tuple[str, Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Panel:
    """One series: its values, where labelled stretches lie and each detector's detections (0 .. 1), its ends."""

    name: str
    values: FloatArray
    truth: Sequence[tuple[float, float]]
    lanes: Sequence[Lane]
    ends: tuple[str, str]


@dataclass(frozen=True)
class Picture:
    """What is drawn. Lists are parallel to ``names``, the detectors; ``hidden`` series are not drawn."""

    names: Sequence[str]
    measures: Sequence[tuple[str, Sequence[float]]]
    curves: Sequence[Curve]
    speeds: Sequence[float]
    panels: Sequence[Panel]
    hidden: int
    labelled: bool
    files: Sequence[FileRow]
    trained: Sequence[str]
    levels: Sequence[tuple[str, float]]


def comparison_page(
    drawn: Picture,
    *,
    name: str,
    headline: str,
    best: tuple[str, float] | None,
    notes: Sequence[str],
    figures: Sequence[Mapping[str, Any]],
    pairs: Sequence[Pairs],
    quiet_s: float,
) -> str:
    """A whole document; everything from the data is escaped."""
    praise = ""
    if best is not None:
        praise = f" <b>{escape(best[0])}</b> ranks the anomalies best (average precision {number(best[1])})."
    rows = [list(row.values()) for row in figures]
    parts = [
        f'<h1>Detectors side by side</h1><p class="soft">{escape(name)}</p>',
        f'<p class="lead">{escape(headline)}.{praise}</p>',
        *(note(text) for text in notes[:_NOTES_SHOWN]),
        section("The figures", table(list(figures[0]), rows, "A dash: not known, or it never had enough readings")),
        *([section("Quality", _quality(drawn))] if best is not None else []),
        section("The readings", _readings(drawn)),
        *([section("Agreement", _agreement(drawn, pairs))] if len(drawn.names) > 1 else []),
        *([section("File by file", _files(drawn))] if drawn.files else []),
        section("How this was measured", _method(drawn, quiet_s)),
    ]
    return document(f"Detectors on {name}", parts)


def _quality(drawn: Picture) -> str:
    marks = [(mark(shape, 6, 6, colour(shape)), title) for shape, (title, _) in enumerate(drawn.measures)]
    title, values = drawn.measures[0]
    cost = list(zip(drawn.names, drawn.speeds, values, strict=True))
    return (
        f"{dots(drawn.names, drawn.measures)}{legend(marks)}<h3>Precision and recall</h3>"
        f"{curves(drawn.curves, 'recall', 'precision')}"
        '<p class="soft">Over every threshold; a ring where the detections were made.</p>'
        f"<h3>Quality and cost</h3>{scatter(cost, 'readings a second and core', title)}"
    )


def _readings(drawn: Picture) -> str:
    panels = "".join(
        f"<h3>{escape(each.name)}</h3>{timeline(each.values, each.truth, each.lanes, each.ends)}"
        for each in drawn.panels
    )
    rest = f" {number(drawn.hidden)} more series are not drawn." if drawn.hidden else ""
    shade = " Shaded: labelled anomalies." if drawn.labelled else ""
    return f'{panels}<p class="soft">The series with most detections and anomalies first.{shade}{rest}</p>'


def _agreement(drawn: Picture, pairs: Sequence[Pairs]) -> str:
    return "".join(
        table(
            ["", *drawn.names],
            [[name, *map(_share, row)] for name, row in zip(drawn.names, matrix, strict=True)],
            caption,
            "detector",
        )
        for caption, matrix in pairs
    )


def _share(value: float) -> Any:
    if math.isnan(value):
        return NONE
    return Html(f'<span class="share" style="--w:{max(value, 0.0) * 60:.0f}%">{value:.2f}</span>')


def _files(drawn: Picture) -> str:
    rows = [[name, compared, *figures] for name, compared, figures in drawn.files]
    measure = "Average precision" if drawn.labelled else "Alarms"
    return table(["file", "compared", *drawn.names], rows, f"{measure} on each file")


def _method(drawn: Picture, quiet_s: float) -> str:
    text = (
        "<p>Every detector ran through the pipeline that the workers run and scored each reading before it learnt it. "
        "Compared are the readings that all of them scored in earnest; warm-up does not count. Readings are ranked by "
        "the p-value, equal ones by the detector's own score.</p><p>Precision and recall count single readings, as "
        "they are: a stretch is not taken for found as a whole because one reading in it is. "
        f"Detections of a series at most {number(quiet_s)} seconds apart are one alarm. Readings a second: one "
        "core, scoring and learning alone.</p>"
    )
    if drawn.trained:
        names = ", ".join(map(escape, drawn.trained))
        text += f"<p>Trained before: {names}, on the first readings of each file, which are not compared.</p>"
    levels = ", ".join(f"{escape(name)} {number(level)}" for name, level in drawn.levels)
    return f'{text}<p class="soft">Detections at p-values down to: {levels}.</p>'
