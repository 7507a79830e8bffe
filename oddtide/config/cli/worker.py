"""``oddtide worker``: run a worker, or several."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import note
from oddtide.config.lagging import ROLES as ALL_ROLES
from oddtide.domain.errors import ConfigurationError, NotFoundError, UsageError

if TYPE_CHECKING:
    from oddtide.config.composition import Composition

__all__ = ["ALL_ROLES", "check_topics", "config_arguments", "run_here", "worker"]


@command(
    "worker",
    examples=[
        ("oddtide worker", "one process with every role; Ctrl-C or SIGTERM ends it in order"),
        ("oddtide worker --instances 4", "four processes here; the other roles run in the first"),
        ("oddtide worker --roles ingest", "on further machines: partitions spread by themselves"),
    ],
)
@click.option("--roles", default=",".join(ALL_ROLES), show_default=True, metavar="A,B,...", help="What it does.")
@click.option(
    "--instances", type=click.IntRange(1, 256), default=1, show_default=True,
    help="So many processes, restarted when they die. Only the first has roles other than ingest.",
)  # fmt: skip
@click.option("--tether", "tether_fd", type=int, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
@pass_cli
def worker(cli: Cli, roles: str, instances: int, tether_fd: int | None, ready_fd: int | None) -> None:
    """Run the agents: ingest (validate, profile, score), observability, mlops, health.

    Start as many as you like, on as many machines as you like: the partitions spread over them.
    """
    chosen = _roles(roles)
    composition = cli.composition()
    check_topics(composition)
    if instances > 1:
        code = _supervise(cli, chosen, instances)
    else:
        if tether_fd is not None:
            from oddtide.config.processes import tether

            tether(tether_fd)
        code = run_here(composition, chosen, ready_fd=ready_fd)
    if code:
        raise Exit(code)


def _roles(text: str) -> tuple[str, ...]:
    roles = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [role for role in roles if role not in ALL_ROLES]
    if unknown or not roles:
        raise UsageError(f"{text!r} names no role: {', '.join(unknown)}.", remedy=f"Roles are {', '.join(ALL_ROLES)}.")
    return roles


def check_topics(composition: Composition) -> None:
    """Refuse to go on where a topic is missing (exit code 3) or differs from its declaration (4)."""
    with composition.admin() as admin:
        wrong = admin.mismatches(composition.catalogue().all())
    missing = [each.topic for each in wrong if each.kind == "missing"]
    if missing:
        more = f" and {len(missing) - 1} more topics are" if len(missing) > 1 else " is"
        raise NotFoundError(f"The topic {missing[0]}{more} missing.", remedy="Make them with `oddtide topics create`.")
    if wrong:
        raise ConfigurationError("; ".join(each.problem for each in wrong) + ".", remedy=wrong[0].remedy)


def run_here(composition: Composition, roles: tuple[str, ...], *, ready_fd: int | None = None) -> int:
    """Run the roles in this process until SIGTERM or SIGINT; returns the exit code."""
    from oddtide.config.composition import PROJECTING
    from oddtide.config.logs import configure
    from oddtide.streams.worker import run_worker

    configure(composition.settings.log)
    try:
        context = composition.worker_context(roles)
        parts = composition.worker_parts(roles)
        if parts.read_models is None and set(PROJECTING) & set(roles):
            note("another process projects into the read models; this worker does everything else")

        def ready() -> None:
            metrics = f"; {context.metrics_url}" if context.metrics_url else ""
            note(f"worker {context.worker} is up: {', '.join(roles)}{metrics}")
            if ready_fd is not None:
                os.write(ready_fd, b"1")
                os.close(ready_fd)

        return run_worker(context, roles, parts, ready=ready)
    finally:
        composition.close()


def _supervise(cli: Cli, roles: tuple[str, ...], instances: int) -> int:
    from oddtide.config.processes import Supervisor, own_command

    supervisor = Supervisor(report=note)
    for number in range(instances):
        mine = roles if number == 0 else ("ingest",)
        environment = dict(os.environ)
        if number:
            environment["ODDTIDE_WORKER__METRICS_PORT"] = "0"
        supervisor.add(own_command(*config_arguments(cli), "worker", "--roles", ",".join(mine)), environment)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: supervisor.stop())
    return supervisor.run()


def config_arguments(cli: Cli) -> list[str]:
    """The options that give another process the same settings."""
    file = cli.loaded().file
    return ["--config", str(file.absolute())] if file else []
