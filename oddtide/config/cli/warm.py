"""``oddtide warm``: let a stream's detectors learn history before, or besides, live readings."""

from __future__ import annotations

import hashlib
from pathlib import Path

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit_one
from oddtide.config.cli.produce import file_options, names_in, send, target
from oddtide.domain.errors import NotFoundError, OddtideError, UsageError

__all__ = ["warm"]

_CHUNK = 1 << 20


@command(
    "warm",
    output=True,
    examples=[
        ("oddtide warm last-month.csv", "learn a month; no reading of it raises an alarm"),
        ("oddtide warm plant.csv --stream plant --series pump --time at", "of another stream, columns named"),
        ("oddtide warm last-month.csv", "once more: what was loaded is skipped, what is missing is loaded"),
    ],
)
@click.argument("file", metavar="FILE")
@click.option("--stream", "stream", help="The stream to warm.  [default: the first one declared]")
@file_options
@pass_cli
def warm(
    cli: Cli,
    file: str,
    stream: str | None,
    series: str,
    name: str,
    time_: str,
    value: str,
    features: str,
    labels: str,
    rate: float | None,
    limit: int | None,
    skip: int,
) -> None:
    """Load the history in FILE (CSV or JSON lines, gzip too) into a stream: it is learnt, and raises no alarm.

    They go through the log like any others, so every worker and every replay learns the same. Each partition remembers
    how far it has come with FILE (by its content): after an interruption just call it again. Load a series' history
    before its live readings; what the contract refuses goes to the dead letters.
    """
    from oddtide.adapters.files.tables import TableOptions

    composition = cli.composition()
    where = target(composition, stream, None)
    options = TableOptions(
        time=time_, series=series, value=value, features=names_in(features), labels=names_in(labels), name=name
    )
    source = _digest(file, options)
    run = send(composition, where, file, options, rate=rate, limit=limit, skip=skip, source=source)
    emit_one({**run.summary(), "source": f"{source:016x}"}, output=cli.output)
    if run.refused:
        raise OddtideError(f"Of {file} {run.refused} row(s) are no readings and were not sent.")


def _digest(file: str, options: object) -> int:
    """Which source of history this is: the file's content, and how it is read."""
    if file == "-":
        raise UsageError(
            "History is not read from standard input.",
            remedy="Write it into a file: loading it again must find the same rows in the same order.",
        )
    digest = hashlib.blake2b(repr(options).encode(), digest_size=8)
    try:
        with Path(file).open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror}.", remedy="Check the path.") from None
    return int.from_bytes(digest.digest(), "big")
