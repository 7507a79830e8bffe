"""``oddtide feedback``: what people say about detections. "Accepted" alters verdicts, the other labels do not."""

from __future__ import annotations

from typing import Literal

import rich_click as click

from oddtide.config.cli.bus import now, publish, who
from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import emit, emit_one, note
from oddtide.domain.errors import NotFoundError, UsageError

__all__ = ["feedback"]

_Label = Literal["confirmed", "dismissed", "accepted"]


@group("feedback", examples=[("oddtide feedback dismiss 8c1d… --note 'pump test'", "that was no anomaly")])
def feedback() -> None:
    """Labels from people: confirmed, dismissed, accepted as the new normal. Each can be withdrawn."""


_NOTE = click.option("--note", "text", default="", help="A remark to keep with it.")
_SERIES = click.option(
    "--series", default="", help="The verdict's series; only needed where the read models do not know the verdict."
)


@command("confirm", parent=feedback, output=True, examples=[("oddtide feedback confirm 8c1d…", "it was one")])
@click.argument("verdict")
@_NOTE
@_SERIES
@pass_cli
def confirm(cli: Cli, verdict: str, text: str, series: str) -> None:
    """Say that the detection with the id VERDICT was right."""
    _give(cli, verdict, "confirmed", text, series)


@command("dismiss", parent=feedback, output=True, examples=[("oddtide feedback dismiss 8c1d…", "it was none")])
@click.argument("verdict")
@_NOTE
@_SERIES
@pass_cli
def dismiss(cli: Cli, verdict: str, text: str, series: str) -> None:
    """Say that the detection with the id VERDICT was wrong."""
    _give(cli, verdict, "dismissed", text, series)


@command("accept", parent=feedback, output=True, examples=[("oddtide feedback accept 8c1d…", "normal from now on")])
@click.argument("verdict")
@_NOTE
@_SERIES
@pass_cli
def accept(cli: Cli, verdict: str, text: str, series: str) -> None:
    """Say that what VERDICT found is the new normal: its series' detectors forget the past and warm up anew.

    It takes effect with the next batch of the verdict's partition, and is in its ledger. Withdrawing it before then
    prevents it; afterwards the past is gone and withdrawing is only a remark.
    """
    from oddtide.streams.pipeline.verdicts import place_of_verdict

    if place_of_verdict(verdict) is None:
        raise UsageError(
            f"{verdict!r} is no verdict's id, and the id says in which partition the series lies.",
            remedy="Copy it from `oddtide tail detections`: <application>/<stream>/<topic>/<partition>/<offset>/…",
        )
    _give(cli, verdict, "accepted", text, series)


@command("withdraw", parent=feedback, output=True, examples=[("oddtide feedback withdraw 77aa…", "it no longer holds")])
@click.argument("feedback_id", metavar="FEEDBACK")
@_NOTE
@_SERIES
@pass_cli
def withdraw(cli: Cli, feedback_id: str, text: str, series: str) -> None:
    """Take back an earlier FEEDBACK (its id). What an accepted level has made detectors forget does not come back."""
    from oddtide.domain.observability.events import FeedbackWithdrawn
    from oddtide.streams.envelope import derive_id

    composition = cli.composition()
    if not series:
        with composition.read_models() as queries:
            found = next((row for row in queries.feedback(limit=10_000) if row["id"] == feedback_id), None)
        if found is None:
            raise NotFoundError(
                f"There is no feedback {feedback_id!r}.", remedy="`oddtide feedback list` shows all, or name --series."
            )
        series = str(found["series"])
    event = FeedbackWithdrawn(feedback=feedback_id, by=who(), time=now(composition), note=text)
    publish(composition, "feedback", event, key=series, id=derive_id("withdrawn", feedback_id))
    emit_one({"withdrawn": feedback_id, "series": series}, output=cli.output)


@command("list", parent=feedback, output=True, examples=[("oddtide feedback list", "what was said, newest first")])
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@pass_cli
def list_(cli: Cli, limit: int) -> None:
    """List feedback."""
    with cli.composition().read_models() as queries:
        emit(queries.feedback(limit=limit), output=cli.output, empty="no feedback")


def _give(cli: Cli, verdict: str, label: _Label, text: str, series: str) -> None:
    from oddtide.domain.observability.events import FeedbackGiven
    from oddtide.streams.envelope import derive_id

    composition = cli.composition()
    if not series:
        with composition.read_models() as queries:
            found = queries.detection(verdict)
        if found is None:
            raise NotFoundError(
                f"There is no detection {verdict!r} in the read models.",
                remedy="Copy its id from `oddtide tail detections`, or name --series.",
            )
        series = str(found["series"])
    time, by = now(composition), who()
    ident = derive_id("feedback", verdict, label, by, time)
    event = FeedbackGiven(id=ident, verdict=verdict, label=label, by=by, time=time, note=text, series=series)
    publish(composition, "feedback", event, key=series, id=ident)
    emit_one({"id": ident, "verdict": verdict, "label": label, "series": series, "by": by}, output=cli.output)
    if label == "accepted":
        note("its series is learnt anew from the partition's next batch on")
    note(f"take it back with: oddtide feedback withdraw {ident}")
