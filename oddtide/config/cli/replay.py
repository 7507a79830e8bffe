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
    from oddtide.config.histories import Wanted
    from oddtide.streams.replay.verifying import Verification

__all__ = ["replay"]


@command(
    "replay",
    output=True,
    config=False,
    examples=[
        ("oddtide replay --verify", "is everything published what this log gives? exit code 6 where not"),
        ("oddtide replay --verify --from 2026-01-31 --partition 2", "a part of it"),
        ("oddtide replay --config other.toml --diff --html diff.html", "other settings on the same history"),
    ],
)
@click.option("--verify", "mode", flag_value="verify", help="Compare with the ledger's hashes.")
@click.option("--diff", "mode", flag_value="diff", help="Compare with what other settings would have found.")
@click.option("--stream", help="The stream; needed where there are several.")
@click.option("--from", "start", metavar="OFFSET|TIME", help="Judge from here on.  [default: the oldest reading]")
@click.option("--to", "stop", metavar="OFFSET|TIME", help="End before it.  [default: the newest reading]")
@click.option(
    "-p", "--partition", "partitions", type=click.IntRange(min=0), multiple=True, help="Only this; may be repeated."
)
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE",
    help="With --diff the settings to try; with --verify the settings file (default: oddtide.toml here).",
)  # fmt: skip
@click.option(
    "--live", type=click.Choice(["computed", "published"]), default="computed", show_default=True,
    help="With --diff: compute what was live anew and verify it on the way, or read the detections topic.",
)  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="With --diff: write the report here.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=200, show_default=True,
    help="With --diff: differences shown in the table and the report, the strangest first.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 256), help="So many processes.  [default: as many as are worth it]")
@pass_cli
def replay(
    cli: Cli, mode: str | None, stream: str | None, start: str | None, stop: str | None, partitions: tuple[int, ...],
    config: Path | None, live: str, html: Path | None, limit: int, jobs: int | None,
) -> None:  # fmt: skip
    """Read the log again, compute every verdict anew, and write nothing.

    --verify compares the running hash, and the counts, at every ledger record. Exit code 6 names the first reading
    whose verdict differs; 1 says that this cannot be verified here (another build or processor, a log that no longer
    holds the beginning) and why.

    --diff runs the settings of --config beside those in force (oddtide.toml here, $ODDTIDE_CONFIG, or `oddtide --config
    FILE replay ...`) over the same readings: which detections appear, vanish or change, alarms a day, cost. The exit
    code is 0 whatever it finds. Variables ODDTIDE_... override both files.
    """
    from oddtide.config.histories import Wanted

    wanted = Wanted(stream, start, stop, partitions, jobs)
    if mode == "diff":
        from oddtide.config.cli.replay_diff import diff

        diff(cli, wanted, config, published=live == "published", html=html, limit=limit)
        return
    if mode is None or html is not None:
        raise UsageError(
            "--html goes with --diff." if mode else "Say what to do: --verify or --diff.",
            remedy="`oddtide replay --help` shows examples.",
        )
    if config is not None:
        cli.config = config
    _verify(cli, wanted)


def _verify(cli: Cli, wanted: Wanted) -> None:
    from oddtide.config.histories import ranges, select, span, verify

    begin, end = span(wanted)
    composition = cli.composition()
    with composition.admin() as admin:
        chosen = select(composition, admin, wanted.stream, wanted.partitions)
        for name in (composition.catalogue().ledger_of(chosen.topic), composition.catalogue().name("pipelines")):
            admin.describe(name)
    found = verify(composition, chosen, ranges(composition, chosen, begin, end), jobs=wanted.jobs)
    columns = [
        "partition", "status", "from", "to", "compared", "equal", "unverifiable", "readings", "readings_per_second",
        "started",
    ]  # fmt: skip
    emit([_row(each) for each in found], output=cli.output, columns=columns)
    _judge(found, cli.output)
    if (wanted.start or wanted.stop) and not sum(each.compared for each in found):
        raise UsageError(
            f"No ledger record ends between {wanted.start or 'the start'} and {wanted.stop or 'the end'}.",
            remedy="`oddtide ledger show` lists where they do; without --from and --to everything is verified.",
        )


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
        note(
            f"{compared} batches verified, every hash equal"
            if compared
            else "nothing was verified: no ledger record lies there"
        )


def _difference(result: Verification) -> str:
    row = "" if result.row is None else f" row {result.row}"
    batch = "" if result.batch is None else f" (batch {result.batch[0]} to {result.batch[1]})"
    return (
        f"{result.topic}/{result.partition} differs first at offset {result.offset}{row}{batch}: {result.detail}; "
        f"hash {result.ledger_hash} in the ledger, {result.computed_hash} computed."
    )
