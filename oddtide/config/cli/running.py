"""Running the roles of a worker in this process, and what goes before it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from oddtide.config.cli.output import note
from oddtide.domain.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from oddtide.config.cli.context import Cli
    from oddtide.config.composition import Composition

__all__ = ["check_start", "check_topics", "config_arguments", "run_here"]


def check_start(composition: Composition, roles: tuple[str, ...]) -> None:
    """Refuse to start on topics that are missing or differ, and with settings that say something else than the
    pipelines in force (exit code 4, with the remedy). Not for a worker that only comes back: it goes on with what is
    in force, whatever was published meanwhile."""
    from oddtide.config.publishing import check_published

    check_topics(composition)
    if "ingest" in roles:
        check_published(composition)


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


def run_here(
    composition: Composition,
    roles: tuple[str, ...],
    *,
    number: int = 0,
    ready_fd: int | None = None,
    warmed: bool = False,
) -> int:
    """Run the roles in this process, the ``number``-th of its supervisor, until SIGTERM or SIGINT; returns the exit
    code. When it is up a byte goes to ``ready_fd``, which is closed. ``warmed``: the pipelines' kernels are loaded."""
    from oddtide.config.composition import PROJECTING
    from oddtide.config.logs import configure
    from oddtide.config.preload import warm
    from oddtide.streams.worker import run_worker

    configure(composition.settings.log)
    if "ingest" in roles and not warmed:
        warm(composition.settings)
    try:
        context = composition.worker_context(roles, number)
        parts = composition.worker_parts(roles)
        if parts.read_models is None and set(PROJECTING) & set(roles):
            note(
                "another process projects into the read models; this worker does everything else, and that when the "
                "other is gone"
            )

        def ready() -> None:
            metrics = f"; {context.metrics_url}" if context.metrics_url else ""
            note(f"worker {context.worker} is up: {', '.join(roles)}{metrics}")
            if ready_fd is not None:
                os.write(ready_fd, b"1")
                os.close(ready_fd)

        return run_worker(context, roles, parts, ready=ready)
    finally:
        composition.close()


def config_arguments(cli: Cli) -> list[str]:
    """The options that give another process the same settings."""
    file = cli.loaded().file
    return ["--config", str(file.absolute())] if file else []
