"""``oddtide doctor``: everything that oddtide stands on, checked; what is wrong comes with its remedy."""

from __future__ import annotations

from typing import Any

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit
from oddtide.domain.errors import CheckFailedError

__all__ = ["doctor"]


@command(
    "doctor",
    output=True,
    examples=[
        ("oddtide doctor", "exit code 0, or 6 where something fails"),
        ("oddtide doctor --output json | jq '.[] | select(.state != \"ok\")'", "only what is not well"),
    ],
)
@pass_cli
def doctor(cli: Cli) -> None:
    """Check Java, Kafka, topics, the database, disk, ports and the clock. Changes nothing that stays."""
    from oddtide.config.checks import run_checks

    results = run_checks(cli.composition())
    rows: list[dict[str, Any]] = [
        {"check": each.name, "state": each.state, "found": each.found, "remedy": each.remedy or None}
        for each in results
    ]
    emit(rows, output=cli.output)
    failed = [each for each in results if each.state == "fail"]
    if failed:
        names = ", ".join(each.name for each in failed)
        raise CheckFailedError(f"{len(failed)} of {len(results)} checks failed: {names}.", remedy=failed[0].remedy)
