"""``oddtide projections``: the read models, how far they are, and making them anew."""

from __future__ import annotations

import sys
from typing import Any

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import emit, note
from oddtide.domain.errors import CheckFailedError, NotFoundError

__all__ = ["projections"]


@group("projections", examples=[("oddtide projections rebuild", "throw the read models away and fold them anew")])
def projections() -> None:
    """Read models: folds of the log, which can be thrown away and rebuilt to the same content."""


@command("status", parent=projections, output=True, examples=[("oddtide projections status", "how far each one is")])
@pass_cli
def status(cli: Cli) -> None:
    """Show each group of projections: how far it is, what it holds, who folds."""
    composition = cli.composition()
    with composition.read_models() as models:
        answers = models.projections()
        holder = models.projector_holder()
        hashes = {answer["projection"]: models.content_hash(answer["projection"]) for answer in answers}
    rows: list[dict[str, Any]] = [
        {
            "projection": answer["projection"],
            "parts": answer["parts"],
            "folded": sum(place["position"] for place in answer["positions"]),
            "rows": sum(answer["rows"].values()),
            "hash": hashes[answer["projection"]],
            "folded_by": holder,
            "positions": answer["positions"],
            "tables": answer["rows"],
        }
        for answer in answers
    ]
    emit(rows, output=cli.output, columns=["projection", "parts", "folded", "rows", "hash", "folded_by"])


@command(
    "rebuild",
    parent=projections,
    output=True,
    examples=[
        ("oddtide projections rebuild", "all of them; exit code 6 where one differs from what it was"),
        ("oddtide projections rebuild mlops", "one group"),
    ],
)
@click.argument("name", required=False)
@pass_cli
def rebuild(cli: Cli, name: str | None) -> None:
    """Empty the group NAME (default: every one) and fold it again from the beginning of the log.

    No worker may fold meanwhile. Notifications are not sent again. The content must be what it was.
    """
    from oddtide.adapters.storage.projections import GROUPS
    from oddtide.config.rebuilding import rebuild as fold_again

    if name is not None and name not in GROUPS:
        raise NotFoundError(f"There is no group of projections {name!r}.", remedy=f"There are: {', '.join(GROUPS)}.")
    composition = cli.composition()
    found = [fold_again(composition, each, _progress(each)) for each in GROUPS if name in (None, each)]
    rows: list[dict[str, Any]] = [
        {
            "projection": each.projection,
            "records": each.records,
            "same": each.same,
            "hash_before": each.before,
            "hash_after": each.after,
            "log_cut": list(each.cut),
        }
        for each in found
    ]
    emit(rows, output=cli.output)
    different = [each for each in found if not each.same]
    if different:
        cut = [place for each in different for place in each.cut]
        names = ", ".join(each.projection for each in different)
        why = f"The log no longer holds the beginning of {', '.join(cut)}." if cut else "Please report it."
        raise CheckFailedError(f"Rebuilt, {names} holds something else than before.", remedy=why)


def _progress(name: str) -> Any:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{name}: {done} of {total} records ", err=True, nl=done >= total)

    note(f"rebuilding {name} ...")
    return show
