"""``oddtide replay``: history computed anew, to verify what was published or to try other settings on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit, note
from oddtide.domain.errors import CheckFailedError, CommandRefusedError, UsageError

if TYPE_CHECKING:
    from oddtide.streams.replay.verifying import Verification

__all__ = ["replay"]


@command(
    "replay",
    output=True,
    config=False,
    examples=[
        ("oddtide replay --verify", "is everything published what this log gives? exit code 6 where not"),
        ("oddtide replay --verify --from 2026-01-31 --partition 2", "a part of it"),
    ],
)
@click.option("--verify", "mode", flag_value="verify", help="Compare with the ledger's hashes.")
@click.option("--stream", help="The stream; needed where there are several.")
@click.option("--from", "start", metavar="OFFSET|TIME", help="Judge from here on.  [default: the oldest reading]")
@click.option("--to", "stop", metavar="OFFSET|TIME", help="End before it.  [default: the newest reading]")
@click.option(
    "-p", "--partition", "partitions", type=click.IntRange(min=0), multiple=True, help="Only this; may be repeated."
)
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="The settings file (default: oddtide.toml here)."
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="So many processes.  [default: the cores, where it is worth it]"
)
@pass_cli
def replay(
    cli: Cli,
    mode: str | None,
    stream: str | None,
    start: str | None,
    stop: str | None,
    partitions: tuple[int, ...],
    config: Path | None,
    jobs: int | None,
) -> None:
    """Read the log again, compute every verdict anew, and write nothing.

    --verify compares the running hash, and the counts, at every ledger record. Exit code 6 names the first reading
    whose verdict differs; 1 says that this cannot be verified here (another build or processor, another
    configuration, a log that no longer holds the beginning) and why.
    """
    if mode is None:
        raise UsageError("Say what to do: --verify.", remedy="`oddtide replay --help` shows examples.")
    if config is not None:
        cli.config = config
    _verify(cli, stream, start, stop, partitions, jobs)


def _verify(
    cli: Cli, stream: str | None, start: str | None, stop: str | None, partitions: tuple[int, ...], jobs: int | None
) -> None:
    from oddtide.config.histories import place, ranges, select, verify

    begin, end = place(start), place(stop)
    composition = cli.composition()
    with composition.admin() as admin:
        chosen = select(composition, admin, stream, partitions)
        admin.describe(composition.catalogue().ledger_of(chosen.topic))
    found = verify(composition, chosen, ranges(composition, chosen, begin, end), jobs=jobs)
    columns = [
        "partition", "status", "from", "to", "compared", "equal", "unverifiable", "readings", "readings_per_second",
        "started",
    ]  # fmt: skip
    emit([_row(each) for each in found], output=cli.output, columns=columns)
    _judge(found, cli.output)


def _row(result: Verification) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(result)
    row["readings_per_second"] = round(result.readings_per_second)
    return row


def _judge(found: list[Verification], output: str) -> None:
    for each in found:
        for text in each.notes:
            note(f"{each.topic}/{each.partition}: {text}")
    different = [each for each in found if each.status == "different"]
    if different:
        raise CheckFailedError(" ".join(_difference(each) for each in different))
    foreign = [each for each in found if each.status == "not_verifiable"]
    if foreign:
        reasons = sorted({reason for each in foreign for reason in each.reasons})
        raise CommandRefusedError(
            f"Not verifiable here: {sum(each.unverifiable for each in foreign)} of "
            f"{sum(each.compared for each in found)} batches ({'; '.join(reasons)}).",
            remedy="Nothing was found to differ; verify it with the build and the settings that the ledger names.",
        )
    if output == "table":
        compared = sum(each.compared for each in found)
        note(f"{compared} batches verified, every hash equal" if compared else "nothing to verify: no ledger record")


def _difference(result: Verification) -> str:
    row = "" if result.row is None else f" row {result.row}"
    batch = "" if result.batch is None else f" (batch {result.batch[0]} to {result.batch[1]})"
    return (
        f"{result.topic}/{result.partition} differs first at offset {result.offset}{row}{batch}: {result.detail}; "
        f"hash {result.ledger_hash} in the ledger, {result.computed_hash} computed."
    )
