"""``oddtide planned-work``: when and on what people will work, so that nobody is woken for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import rich_click as click

from oddtide.config.cli.bus import now, publish, who
from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import emit, emit_one, note
from oddtide.domain.errors import DecodeError, NotFoundError, UsageError

if TYPE_CHECKING:
    from oddtide.config.composition import Composition
    from oddtide.domain.observability.controls import PlannedWorkDeclared

__all__ = ["planned_work"]

_ROLE = "plannedwork"
_PATTERNS = 100
_NOTE = click.option("--note", "text", default="", help="A remark to keep with it.")


@group(
    "planned-work",
    examples=[("oddtide planned-work add --to 2026-03-01T18:00:00Z --reason valves", "from now on, on every series")],
)
def planned_work() -> None:
    """Planned work: meanwhile readings are scored, but they are neither detections nor learnt."""


@command(
    "add",
    parent=planned_work,
    output=True,
    examples=[
        ("oddtide planned-work add --series 'a*' --to 2026-03-01T18:00Z --reason valves", "from now on"),
        ("oddtide planned-work add --from 2026-03-01 --to 2026-03-02 --reason audit", "a day, every series"),
    ],
)
@click.option("--stream", help="The stream; only needed where there are several.")
@click.option("--series", "patterns", multiple=True, metavar="PATTERN", help="Series, with * ? [...]; may be repeated.")
@click.option("--from", "begin", default="now", show_default=True, metavar="TIME", help="First moment, RFC 3339.")
@click.option("--to", "end", required=True, metavar="TIME", help="The moment after the last.")
@click.option("--reason", required=True, help="What is done; people see it.")
@pass_cli
def add(cli: Cli, stream: str | None, patterns: Sequence[str], begin: str, end: str, reason: str) -> None:
    """Declare planned work on a stream, or on the series of it that match a pattern.

    What counts is the time in the readings. It takes effect with each partition's next batch: readings that were scored
    before stay as they were.
    """
    from oddtide.domain.observability.controls import PlannedWindow, PlannedWorkDeclared
    from oddtide.domain.readings import rfc3339
    from oddtide.streams.envelope import derive_id

    composition = cli.composition()
    name, (first, last) = _stream(composition, stream), (_moment(composition, text) for text in (begin, end))
    if first >= last:
        raise UsageError(f"From {rfc3339(first)} to {rfc3339(last)} is no span.", remedy="Let --to be after --from.")
    if len(patterns) > _PATTERNS:
        raise UsageError(f"{len(patterns)} patterns are too many.", remedy=f"Give {_PATTERNS} at most, or wider ones.")
    time, by = now(composition), who()
    ident = derive_id("planned work", name, *patterns, first, last, by, time)
    window = PlannedWindow(
        id=ident, from_time=rfc3339(first), to_time=rfc3339(last), series=tuple(patterns), reason=reason
    )
    event = PlannedWorkDeclared(stream=name, window=window, by=by, time=time)
    publish(composition, _ROLE, event, key=name, id=ident)
    emit_one(_row(event), output=cli.output)
    note(f"cancel it with: oddtide planned-work cancel {ident[:8]}")


@command("list", parent=planned_work, output=True, examples=[("oddtide planned-work list", "what was not cancelled")])
@click.option("--stream", help="Only of this stream.")
@click.option("--all", "every", is_flag=True, help="Also what is over.")
@pass_cli
def list_(cli: Cli, stream: str | None, every: bool) -> None:
    """List planned work that was not cancelled and is not over."""
    from oddtide.domain.readings import parse_rfc3339

    composition = cli.composition()
    moment = composition.clock()
    rows = [
        _row(event)
        for event in _declared(composition)
        if stream in (None, event.stream) and (every or parse_rfc3339(event.window.to_time) > moment)
    ]
    emit(
        rows, output=cli.output, empty="no planned work" if every else "no planned work; --all also lists what is over"
    )


@command(
    "cancel",
    parent=planned_work,
    output=True,
    examples=[("oddtide planned-work cancel 4f2a", "any unique beginning will do")],
)
@click.argument("work")
@_NOTE
@pass_cli
def cancel(cli: Cli, work: str, text: str) -> None:
    """Cancel planned WORK (its id), with each partition's next batch. What was scored under it stays as it is."""
    from oddtide.domain.observability.controls import PlannedWorkCancelled
    from oddtide.streams.envelope import derive_id

    composition = cli.composition()
    found = [event for event in _declared(composition) if event.window.id.startswith(work)]
    if len(found) != 1:
        problem = f"{len(found)} of them begin with {work!r}." if found else f"There is no planned work {work!r}."
        raise NotFoundError(problem, remedy="`oddtide planned-work list --all` shows them.")
    stream, ident = found[0].stream, found[0].window.id
    event = PlannedWorkCancelled(work=ident, stream=stream, by=who(), time=now(composition), note=text)
    publish(composition, _ROLE, event, key=stream, id=derive_id("cancelled", ident))
    emit_one({"cancelled": ident, "stream": stream, "reason": found[0].window.reason}, output=cli.output)


def _declared(composition: Composition) -> list[PlannedWorkDeclared]:
    from oddtide.config.publishing import events_of
    from oddtide.domain.observability.controls import PlannedWorkCancelled, PlannedWorkDeclared

    declared: dict[str, PlannedWorkDeclared] = {}
    for event in events_of(composition, _ROLE):
        if isinstance(event, PlannedWorkDeclared):
            declared[event.window.id] = event
        elif isinstance(event, PlannedWorkCancelled):
            declared.pop(event.work, None)
    return list(declared.values())


def _row(event: PlannedWorkDeclared) -> dict[str, object]:
    window = event.window
    return {
        "work": window.id,
        "stream": event.stream,
        "series": list(window.series) or ["*"],
        "from": window.from_time,
        "to": window.to_time,
        "reason": window.reason,
        "by": event.by,
    }


def _stream(composition: Composition, name: str | None) -> str:
    names = [stream.name for stream in composition.settings.streams]
    if name is None and len(names) > 1:
        raise UsageError(f"Which stream? There are {', '.join(names)}.", remedy="Say --stream.")
    if name is not None and name not in names:
        raise NotFoundError(f"There is no stream {name!r}.", remedy=f"There are: {', '.join(names)}.")
    return name or names[0]


def _moment(composition: Composition, text: str) -> int:
    from oddtide.streams.codecs.times import parse_time

    if text == "now":
        return composition.clock()
    try:
        return parse_time(text)
    except DecodeError as error:
        raise UsageError(f"{text!r} is no time: {error.detail}.", remedy="E.g. 2026-03-01T18:00:00Z.") from None
