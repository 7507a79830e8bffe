"""``oddtide worker --instances N``: the supervisor and what its children do."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from oddtide.config.children import Ends, Launch, forking, spawning
from oddtide.config.cli.context import Cli
from oddtide.config.cli.errors import report
from oddtide.config.cli.output import note
from oddtide.config.cli.running import check_start, config_arguments, run_here
from oddtide.config.composition import Composition
from oddtide.config.preload import preload
from oddtide.config.processes import own_command, tether
from oddtide.config.settings import Settings
from oddtide.config.supervisor import Supervisor

__all__ = ["supervise"]

#: System libraries of macOS break in a forked child that does not exec.
CAN_FORK = sys.platform != "darwin"

_log: Any = structlog.get_logger(__name__)


def supervise(
    cli: Cli, roles: tuple[str, ...], instances: int, *, tether_fd: int | None = None, ready_fd: int | None = None
) -> int:
    """Keep ``instances`` workers running until SIGTERM or SIGINT; returns the exit code. When all are up a byte goes
    to ``ready_fd``."""
    settings = cli.settings()
    say = _teller(settings)
    if CAN_FORK:
        preload(settings, roles)
    launch = forking(_Worker(settings, roles, cli.verbose)) if CAN_FORK else _programs(cli, roles)
    supervisor = Supervisor(
        launch, instances, say, all_ready=lambda: _tell_ready(ready_fd), tether=-1 if tether_fd is None else tether_fd
    )
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, supervisor.stop)
    return supervisor.run()


@dataclass(frozen=True, slots=True)
class _Worker:
    """What a forked child does."""

    settings: Settings
    roles: tuple[str, ...]
    verbose: bool

    def __call__(self, number: int, ups: int, ends: Ends) -> int:
        tether(ends.tether)
        try:
            composition = Composition(self.settings)
            if not ups:  # what was right when it was up need not be looked at again by a worker in a hurry
                check_start(composition, self.roles)
            ready = os.dup(ends.lifeline)  # closed once it is up; the lifeline itself only with the process
            mine = _roles_of(number, self.roles)
            return run_here(composition, mine, number=number, ready_fd=ready, warmed=True)
        except (Exception, KeyboardInterrupt) as error:
            return report(error, verbose=self.verbose)


def _programs(cli: Cli, roles: tuple[str, ...]) -> Launch:
    def command(number: int, ups: int) -> list[str]:
        mine, again = ",".join(_roles_of(number, roles)), ["--again"] if ups else []
        return own_command(*config_arguments(cli), "worker", "--roles", mine, "--number", str(number), *again)

    return spawning(command)


def _roles_of(number: int, roles: tuple[str, ...]) -> tuple[str, ...]:
    return roles if number == 0 else ("ingest",)


def _tell_ready(descriptor: int | None) -> None:
    if descriptor is not None:
        os.write(descriptor, b"1")
        os.close(descriptor)


def _teller(settings: Settings) -> Callable[[str], None]:
    """How the supervisor speaks: as a person wants it, or in lines of JSON as its children do."""
    if settings.log.format == "text":
        return note
    from oddtide.config.logs import configure

    configure(settings.log)
    inform: Callable[[str], None] = _log.info
    return inform
