"""``oddtide pipelines``: the published configuration of streams; what a change would do, and making it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from oddtide.config.cli.bus import now, publish, who
from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import Row, emit, emit_one, note
from oddtide.domain.errors import CheckFailedError, NotFoundError, UsageError

if TYPE_CHECKING:
    from oddtide.config.composition import Composition
    from oddtide.config.publishing import Proposal
    from oddtide.domain.observability.controls import PipelinePublished

__all__ = ["pipelines", "publish_all"]

_STREAMS = click.option("--stream", "streams", multiple=True, help="Only this stream; may be repeated.")
_NOTE = click.option("--note", "text", default="", help="A remark to keep with it.")


@group("pipelines", examples=[("oddtide pipelines diff", "what the settings would change")])
def pipelines() -> None:
    """What decides verdicts, as published: changed settings take effect only when they are published."""


@command(
    "list",
    parent=pipelines,
    output=True,
    examples=[("oddtide pipelines list", "every version ever published, the ones to be in force marked")],
)
@_STREAMS
@pass_cli
def list_(cli: Cli, streams: Sequence[str]) -> None:
    """List the published versions, by when they were published last."""
    from oddtide.config.publishing import published

    composition = cli.composition()
    known = published(composition)
    rows = [
        {
            "stream": event.stream,
            "version": event.version,
            "in_force": event is known.newest(event.stream),
            "published": event.time,
            "by": event.by,
            "replaces": event.replaces or None,
            "note": event.note,
        }
        for stream in (streams or known.streams())
        for event in known.versions(stream)
    ]
    emit(rows, output=cli.output, empty="nothing published yet; the first worker publishes what its settings say")


@command(
    "show",
    parent=pipelines,
    output=True,
    examples=[
        ("oddtide pipelines show", "the one in force"),
        ("oddtide pipelines show 3f09c2a17b44 --toml", "an older one, to be put into a settings file"),
    ],
)
@click.argument("version", required=False)
@click.option("--stream", help="Its stream; only needed where there are several.")
@click.option("--toml", is_flag=True, help="Only the stream's section, as TOML.")
@pass_cli
def show(cli: Cli, version: str | None, stream: str | None, toml: bool) -> None:
    """Show a published VERSION (default: the one in force): its whole plan and the settings that it was made of."""
    from oddtide.config.publishing import toml_of

    event = _find(cli.composition(), version, stream)
    if toml:
        click.echo(toml_of({"name": event.stream, **event.settings}), nl=False)
    else:
        emit_one(msgspec.to_builtins(event), output=cli.output)


@command(
    "diff",
    parent=pipelines,
    output=True,
    examples=[
        ("oddtide pipelines diff", "what the settings here would change"),
        ("oddtide pipelines diff --check", "exit code 6 where they differ"),
    ],
)
@_STREAMS
@click.option("--check", is_flag=True, help="End with exit code 6 where anything differs.")
@pass_cli
def diff(cli: Cli, streams: Sequence[str], check: bool) -> None:
    """Show how the settings differ from what is published."""
    from oddtide.config.publishing import proposals

    composition = cli.composition()
    found = proposals(composition, streams, by=who(), time=now(composition))
    emit(_changes(found), output=cli.output, empty="the settings say what is published")
    if check and any(each.event for each in found):
        different = ", ".join(each.stream for each in found if each.event)
        raise CheckFailedError(
            f"The settings differ from what is published: {different}.", remedy="`oddtide pipelines publish`."
        )


@command(
    "publish",
    parent=pipelines,
    output=True,
    examples=[
        ("oddtide pipelines publish", "show the changes, ask, publish"),
        ("oddtide pipelines publish --yes --note 'wider threshold'", "without asking, e.g. in a deployment"),
    ],
)
@_STREAMS
@_NOTE
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_cli
def publish_(cli: Cli, streams: Sequence[str], text: str, yes: bool) -> None:
    """Put the settings in force: running workers take them up before each partition's next batch.

    Detectors that have not changed go on with what they know; the others warm up anew. The stream's topic and its
    partitions cannot change.
    """
    from oddtide.config.publishing import proposals

    composition = cli.composition()
    found = [each for each in proposals(composition, streams, by=who(), time=now(composition), note=text) if each.event]
    if found and not yes:
        _ask(found)
    _publish(composition, found)
    rows = [
        {"stream": each.stream, "version": each.version, "replaces": each.replaces or None, "keeps": list(each.keeps)}
        for each in found
    ]
    emit(rows, output=cli.output, empty="nothing to publish: the settings say what is published")


def publish_all(composition: Composition) -> None:
    """Publish whatever the settings have changed, without asking, and say what that was."""
    from oddtide.config.publishing import proposals

    found = proposals(composition, (), by=who(), time=now(composition))
    _tell(found)
    _publish(composition, found)


def _publish(composition: Composition, found: Sequence[Proposal]) -> None:
    from oddtide.streams.controls import pipeline_key
    from oddtide.streams.envelope import derive_id

    for event in (each.event for each in found):
        if event is not None:
            key = pipeline_key(event)
            publish(composition, "pipelines", event, key=key, id=derive_id("pipeline", key, event.time))


def _tell(found: Sequence[Proposal]) -> None:
    for each in found:
        for change in each.changes:
            note(f"{each.stream}: {change.key}: {_shown(change.before)} -> {_shown(change.after)}")
        if each.replaces and each.event:
            note(f"{each.stream}: goes on with its state: {', '.join(each.keeps)}")


def _ask(found: Sequence[Proposal]) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            f"Publishing would change {', '.join(each.stream for each in found)}, and nobody can be asked here.",
            remedy="Look at `oddtide pipelines diff`, then say --yes.",
        )
    _tell(found)
    click.confirm("Publish?", abort=True, err=True)


def _changes(found: Sequence[Proposal]) -> list[Row]:
    return [
        {
            "stream": each.stream,
            "key": change.key,
            "published": _shown(change.before),
            "settings": _shown(change.after),
        }
        for each in found
        for change in each.changes
    ]


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)


def _find(composition: Composition, version: str | None, stream: str | None) -> PipelinePublished:
    from oddtide.config.publishing import published

    known = published(composition)
    streams = [stream] if stream else known.streams()
    events = [event for name in streams for event in known.versions(name)]
    wanted = version or ""
    matching = [
        event
        for event in events
        if (event.version.startswith(wanted) if version else event is known.newest(event.stream))
    ]
    if not matching:
        raise NotFoundError(
            f"No pipeline {version or 'in force'!r} was published{f' for {stream}' if stream else ''}.",
            remedy="`oddtide pipelines list` shows those that were.",
        )
    if len(matching) > 1:
        names = ", ".join(f"{event.version} of {event.stream}" for event in matching)
        raise UsageError(f"That could be {names}.", remedy="Name more of the version, or --stream.")
    return matching[0]
