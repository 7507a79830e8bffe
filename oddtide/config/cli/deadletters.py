"""``oddtide deadletters``: rejected input, with its reason, as it came; and sending it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import emit, emit_one, note
from oddtide.domain.errors import CommandRefusedError, NotFoundError, UsageError
from oddtide.domain.quality.events import ReadingRejected

if TYPE_CHECKING:
    from oddtide.config.composition import Composition

__all__ = ["deadletters"]


class _Letter(NamedTuple):
    place: str
    record: Any
    about: ReadingRejected


@group("deadletters", examples=[("oddtide deadletters list", "what was rejected, and why")])
def deadletters() -> None:
    """Rejected input: the original bytes, the reason, where it came from. A letter's id is PARTITION:OFFSET."""


_REASON = click.option("--reason", help="Only those with this reason.")
_STREAM = click.option("--stream", help="Only those of this stream.")


@command(
    "list",
    parent=deadletters,
    output=True,
    examples=[
        ("oddtide deadletters list -n 20", "the newest twenty of each partition"),
        ("oddtide deadletters list --reason not_json --output jsonl", "of one kind, for a program"),
    ],
)
@_REASON
@_STREAM
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Newest per partition.")
@pass_cli
def list_(cli: Cli, reason: str | None, stream: str | None, limit: int) -> None:
    """List rejected records."""
    composition = cli.composition()
    letters = (each for each in _read(composition, -limit) if _matches(each, reason, stream))
    columns = ["letter", "reason", "detail", "source", "rejected", "attempt", "time"]
    emit((_row(letter) for letter in letters), output=cli.output, columns=columns, empty="no dead letters")


@command("show", parent=deadletters, output=True, examples=[("oddtide deadletters show 0:12", "everything about one")])
@click.argument("letter")
@click.option("--raw", is_flag=True, help="Only the original bytes, to stdout.")
@pass_cli
def show(cli: Cli, letter: str, raw: bool) -> None:
    """Show one rejected record, LETTER being its PARTITION:OFFSET in the dead-letter topic."""
    found = _one(cli.composition(), letter)
    if raw:
        click.echo(bytes(found.record.value or b""), nl=False)
        return
    emit_one(
        {
            **_row(found),
            "rows": [msgspec.to_builtins(row) for row in found.about.rows],
            "size": found.about.size,
            "truncated": found.about.truncated,
            "sha256": found.about.sha256,
            "key": _text(found.record.key),
            "headers": {name: _text(raw) for name, raw in found.record.headers},
            "value": _text(found.record.value),
        },
        output=cli.output,
    )


@command(
    "retry",
    parent=deadletters,
    output=True,
    examples=[
        ("oddtide deadletters retry 0:12 0:13", "send these two again"),
        ("oddtide deadletters retry --all --reason unknown_field", "after the contract was changed"),
    ],
)
@click.argument("letters", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every one (that --reason and --stream leave).")
@_REASON
@_STREAM
@click.option("--partial", is_flag=True, help="Also records of which other rows were accepted: those count twice then.")
@pass_cli
def retry(
    cli: Cli, letters: tuple[str, ...], every: bool, reason: str | None, stream: str | None, partial: bool
) -> None:
    """Send the original bytes of LETTERS to their topic and partition again, with a count of attempts in a header.

    The letters stay where they are; a record that is refused again becomes a new letter with a higher attempt.
    """
    if bool(letters) == every:
        raise UsageError("Name letters, or give --all.", remedy="`oddtide deadletters list` shows their ids.")
    composition = cli.composition()
    chosen = list(_read(composition, "beginning")) if every else [_one(composition, letter) for letter in letters]
    rows = _resend(composition, [each for each in chosen if _matches(each, reason, stream)], partial)
    emit(rows, output=cli.output, empty="no such dead letters")
    left = sum(1 for row in rows if not row["sent"])
    if left:
        raise CommandRefusedError(f"{left} of {len(rows)} letters were not sent again.", remedy="See the column 'why'.")


def _resend(composition: Composition, letters: list[_Letter], partial: bool) -> list[dict[str, Any]]:
    from oddtide.streams.pipeline.deadletters import ATTEMPT_HEADER
    from oddtide.streams.results import REJECTION_HEADER

    rows = []
    with composition.writer() as writer:
        for place, record, about in letters:
            why, attempt = _hindrance(about, record, partial), about.attempt + 1
            if not why:
                headers = [
                    (name, raw) for name, raw in record.headers if name not in (REJECTION_HEADER, ATTEMPT_HEADER)
                ]
                headers.append((ATTEMPT_HEADER, str(attempt).encode()))
                sent = writer.send(
                    about.topic, record.value, key=record.key, headers=headers, partition=about.partition
                )
                sent.wait()
            target = f"{about.topic}[{about.partition}]"
            rows.append({"letter": place, "sent": not why, "to": target, "attempt": attempt, "why": why or None})
    return rows


def _hindrance(about: ReadingRejected, record: Any, partial: bool) -> str:
    if record.value is None and record.key is None:
        return "it has neither key nor value"
    if about.truncated:
        return f"only the beginning was kept; the whole may still be at {about.topic}[{about.partition}]@{about.offset}"
    if about.rows and not partial:
        return "other rows of this record were accepted and would count twice; --partial sends it all the same"
    return ""


def _read(composition: Composition, start: Any, partitions: list[int] | None = None) -> Iterator[_Letter]:
    from oddtide.streams.results import REJECTION_HEADER

    topic = composition.catalogue().name("deadletters")
    foreign = 0
    with composition.reader() as reader:
        for record in reader.read(topic, partitions=partitions, start=start, stop_at_end=True):
            raw = dict(record.headers).get(REJECTION_HEADER)
            try:
                about = msgspec.json.decode(raw or b"", type=ReadingRejected)
            except msgspec.MsgspecError:
                foreign += 1
                continue
            yield _Letter(f"{record.partition}:{record.offset}", record, about)
    if foreign:
        note(f"{foreign} records of {topic} are no dead letters of ours and are left out")


def _one(composition: Composition, letter: str) -> _Letter:
    partition, colon, offset = letter.partition(":")
    if not (colon and partition.isdigit() and offset.isdigit()):
        raise UsageError(f"{letter!r} is no letter.", remedy="Write PARTITION:OFFSET, e.g. 0:12.")
    topic = composition.catalogue().name("deadletters")
    with composition.admin() as admin:
        begin, end = admin.offsets(topic).get(int(partition), (0, 0))
    if begin <= int(offset) < end:
        for found in _read(composition, {int(partition): int(offset)}, [int(partition)]):
            if found.record.offset == int(offset):
                return found
            break
    raise NotFoundError(f"There is no dead letter {letter!r}.", remedy="`oddtide deadletters list` shows all.")


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else bytes(raw).decode("utf-8", "backslashreplace")


def _matches(letter: _Letter, reason: str | None, stream: str | None) -> bool:
    return reason in (None, letter.about.reason) and stream in (None, letter.about.stream)


def _row(letter: _Letter) -> dict[str, Any]:
    about = letter.about
    return {
        "letter": letter.place,
        "reason": about.reason,
        "detail": about.detail,
        "stream": about.stream,
        "source": f"{about.topic}[{about.partition}]@{about.offset}",
        "rejected": about.rejected,
        "attempt": about.attempt,
        "time": about.time,
    }
