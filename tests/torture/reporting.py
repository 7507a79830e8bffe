"""Reports of a torture run, as a table or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from tests.torture.running import Report

__all__ = ["as_json", "as_table"]

_HEAD = (
    "scenario", "runs", "kills", "of these injected", "in an open transaction", "in a snapshot", "in recovery",
    "frozen", "Kafka killed", "SIGTERMs", "begun from snapshots", "readings", "aborted records", "missing", "repeated",
    "altered", "ledger problems", "hash equal",
)  # fmt: skip


def as_json(reports: Iterable[Report]) -> str:
    """Every report, whole."""
    return orjson.dumps([report.as_dict() for report in reports], option=orjson.OPT_INDENT_2).decode()


def as_table(reports: Sequence[Report]) -> str:
    """A line a scenario and one for all, in Markdown; then every problem in words."""
    names = list(dict.fromkeys(report.scenario for report in reports))
    rows = [_row(name, [report for report in reports if report.scenario == name]) for name in names]
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD)), *map(_line, rows), _line(_row("all", reports))]
    problems = [f"{each.scenario} (seed {each.seed}): {problem}" for each in reports for problem in each.problems]
    return "\n".join([*lines, "", *(problems or ["every promise held" if reports else "nothing was played"])])


def _row(name: str, reports: Sequence[Report]) -> list[object]:
    found = [report.findings for report in reports]
    return [
        name,
        len(reports),
        sum(report.kills for report in reports),
        sum(report.injected for report in reports),
        sum(report.in_transaction for report in reports),
        sum(report.in_snapshot for report in reports),
        sum(report.in_recovery for report in reports),
        sum(report.stops for report in reports),
        sum(report.broker_kills for report in reports),
        sum(report.terminations for report in reports),
        sum(report.snapshots_used for report in reports),
        sum(each.readings for each in found),
        sum(each.aborted for each in found),
        sum(each.missing for each in found),
        sum(each.repeated for each in found),
        sum(each.altered + each.alien for each in found),
        sum(len(each.ledger_problems) for each in found),
        "no" if any(each.differing for each in found) else "yes",
    ]


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
