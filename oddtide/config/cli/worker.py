"""``oddtide worker``: run a worker, or several."""

from __future__ import annotations

import rich_click as click
from click.exceptions import Exit

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.running import check_start, run_here
from oddtide.config.lagging import ROLES as ALL_ROLES
from oddtide.config.processes import tether
from oddtide.domain.errors import UsageError

__all__ = ["ALL_ROLES", "worker"]


@command(
    "worker",
    examples=[
        ("oddtide worker", "one process with every role; Ctrl-C or SIGTERM ends it in order"),
        ("oddtide worker --instances 4", "four processes here; the other roles run in the first"),
        ("oddtide worker --instances 1", "one, started again at once if it dies"),
        ("oddtide worker --roles ingest", "on further machines: partitions spread by themselves"),
    ],
)
@click.option("--roles", default=",".join(ALL_ROLES), show_default=True, metavar="A,B,...", help="What it does.")
@click.option(
    "--instances", type=click.IntRange(1, 256),
    help="So many processes, supervised: restarted when they die. Only the first has roles other than ingest. "
    "Without it: this process alone.",
)  # fmt: skip
@click.option("--number", type=int, default=0, hidden=True)
@click.option("--again", is_flag=True, hidden=True, help="It only comes back: its supervisor checked at the start.")
@click.option("--tether", "tether_fd", type=int, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
@pass_cli
def worker(
    cli: Cli, roles: str, instances: int | None, number: int, again: bool, tether_fd: int | None, ready_fd: int | None
) -> None:
    """Run the agents: ingest (validate, profile, score), observability, mlops, health.

    Start as many as you like, on as many machines as you like: the partitions spread over them. Changed settings of a
    stream must be published first (`oddtide pipelines publish`).
    """
    chosen = _roles(roles)
    if instances is not None:
        from oddtide.config.cli.supervising import supervise

        code = supervise(cli, chosen, instances, tether_fd=tether_fd, ready_fd=ready_fd)
    else:
        composition = cli.composition()
        if not again:
            check_start(composition, chosen)
        if tether_fd is not None:
            tether(tether_fd)
        code = run_here(composition, chosen, number=number, ready_fd=ready_fd)
    if code:
        raise Exit(code)


def _roles(text: str) -> tuple[str, ...]:
    roles = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [role for role in roles if role not in ALL_ROLES]
    if unknown or not roles:
        raise UsageError(f"{text!r} names no role: {', '.join(unknown)}.", remedy=f"Roles are {', '.join(ALL_ROLES)}.")
    return roles
