"""``oddtide demo``: everything at once on real data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit_line, note, plain, to_json

if TYPE_CHECKING:
    from oddtide.config.demo.account import Summary
    from oddtide.domain.detection.events import AnomalyDetected
    from oddtide.domain.quality.events import ReadingRejected

__all__ = ["demo"]

_SHOWN_A_SERIES = 15
_PREFIX = "oddtide"


@command(
    "demo",
    output=True,
    examples=[
        ("oddtide demo", "until Ctrl-C; fetches Kafka (43 MB) on the first run"),
        ("oddtide demo --exit-after 30", "ends by itself, 30 seconds after everything is up"),
        ("oddtide demo --keep", "leaves Kafka and the worker running, to look around"),
        ("oddtide demo --output jsonl", "detections as JSON lines, the summary last"),
    ],
)
@click.option("--exit-after", type=click.FloatRange(min=0), metavar="SECONDS", help="End so long after all is up.")
@click.option("--keep", is_flag=True, help="Leave Kafka and the worker running afterwards.")
@click.option("--data", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(".oddtide/demo"),
              show_default=True, metavar="FOLDER", help="Where its data lie; a later run goes on there.")  # fmt: skip
@pass_cli
def demo(cli: Cli, exit_after: float | None, keep: bool, folder: Path) -> None:
    """Start a real Kafka and a worker, push real data, and show what is found.

    The data: WaterFlow (a water pipe with four documented anomalies) and Shuttle (nine sensors, labelled), which ship
    with river, at speed; then this machine's own metrics, every second. Ends on Ctrl-C with a summary. Its Kafka and
    worker end with it; the log stays in the folder, and another run adds to it under names of its own.
    """
    from oddtide.config.demo import run_demo

    screen = _Screen(cli.output)
    summary = run_demo(folder, screen, exit_after=exit_after, keep=keep)
    screen.finish(summary, keep=keep)


class _Screen:
    """Detections on stdout as they come, everything else on stderr. Of a busy series the first are shown; all count."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._shown: Counter[str] = Counter()
        self._kept: list[AnomalyDetected] = []

    def note(self, text: str) -> None:
        """What is going on."""
        note(text)

    def detection(self, found: AnomalyDetected) -> None:
        """One line each; for programs, all of them."""
        if self._output == "jsonl":
            emit_line(found)
        elif self._output == "json":
            self._kept.append(found)
        else:
            self._shown[found.series] += 1
            if self._shown[found.series] <= _SHOWN_A_SERIES:
                click.echo(f"{found.time}  {found.series}  {found.reason}")
            elif self._shown[found.series] == _SHOWN_A_SERIES + 1:
                note(f"More of {found.series} are found, and only counted from here on.")

    def rejection(self, refused: ReadingRejected) -> None:
        """One line each."""
        note(f"rejected: {refused.reason}: {refused.detail} [{refused.topic} {refused.partition}:{refused.offset}]")

    def finish(self, summary: Summary, *, keep: bool) -> None:
        """The summary, and what to try next."""
        if self._output == "jsonl":
            emit_line({"type": "summary", **summary.as_dict()})
        elif self._output == "json":
            click.echo(to_json({"detections": plain(self._kept), "summary": summary.as_dict()}, indent=True))
        else:
            click.echo("")
            for line in summary.lines():
                click.echo(line)
        for line in _next_steps(summary.folder, keep=keep):
            note(line)


def _next_steps(folder: str, *, keep: bool) -> list[str]:
    config = f"--config {folder}/{_PREFIX}.toml"
    lines = ["", "Try next:"]
    if not keep:
        lines.append(f"  {_PREFIX} up --detach {config}")
    return [
        *lines,
        f"  {_PREFIX} status {config}",
        f"  {_PREFIX} tail detections -o beginning -e {config}",
        f"  {_PREFIX} deadletters list {config}",
        f"  {_PREFIX} down {config}",
        f"  {_PREFIX} detect YOUR.csv",
    ]
