"""``oddtide up`` and ``oddtide down``: the embedded Kafka and a worker, started and stopped."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command
from oddtide.config.cli.output import emit_one, note
from oddtide.config.cli.pipelines import publish_all
from oddtide.config.cli.running import check_topics, config_arguments, run_here
from oddtide.config.lagging import ROLES as ALL_ROLES
from oddtide.config.publishing import check_published
from oddtide.domain.errors import CheckFailedError, ConfigurationError

if TYPE_CHECKING:
    from oddtide.adapters.embedded.broker import EmbeddedBroker
    from oddtide.config.composition import Composition

__all__ = ["down", "up"]

_READY_S = 90.0


@command(
    "up",
    output=True,
    examples=[
        ("oddtide up", "Kafka, topics and a worker here, until Ctrl-C"),
        ("oddtide up --detach", "the same in the background, until `oddtide down`"),
        ("oddtide up --detach --no-worker", "only Kafka and the topics"),
    ],
)
@click.option("--detach", is_flag=True, help="Leave everything running in the background.")
@click.option("--no-worker", is_flag=True, help="Only Kafka and the topics.")
@click.option("--publish", is_flag=True, help="Publish what the settings have changed, as `oddtide pipelines publish`.")
@pass_cli
def up(cli: Cli, detach: bool, no_worker: bool, publish: bool) -> None:
    """Start the embedded Kafka (fetched on first use), create the topics, run a worker.

    Where kafka.bootstrap names a Kafka of your own, that one is used and none is started.
    """
    composition = cli.composition()
    broker = composition.embedded() if cli.settings().embedded_kafka else None
    if broker is not None:
        broker.start(note, detach=detach)
    try:
        _create_topics(composition)
        if publish:
            publish_all(composition)
        elif not no_worker:
            _check_published(composition)
        if detach:
            emit_one(_detached(cli, composition, no_worker), output=cli.output)
        elif no_worker:
            note(f"Kafka is up on {composition.bootstrap}; Ctrl-C stops it")
            _wait_for_signal()
        else:
            note(f"Kafka is up on {composition.bootstrap}; Ctrl-C stops everything")
            run_here(composition, ALL_ROLES)
    except BaseException:
        _stop(broker)
        raise
    if not detach:
        _stop(broker)


def _check_published(composition: Composition) -> None:
    try:
        check_published(composition)
    except ConfigurationError as error:
        raise ConfigurationError(
            error.problem,
            remedy="`oddtide up --publish` puts these settings in force. To look at the difference first: `oddtide up "
            "--detach --no-worker`, then `oddtide pipelines diff`.",
        ) from None


def _stop(broker: EmbeddedBroker | None) -> None:
    """Stop what this command started, and only that."""
    if broker is not None and not broker.attached:
        broker.stop(note)


def _create_topics(composition: Composition) -> None:
    from oddtide.config.topic_making import make_topics

    with composition.admin() as admin:
        created = make_topics(composition, admin)
    if created:
        note(f"{len(created)} topics made")
    check_topics(composition)


def _detached(cli: Cli, composition: Composition, no_worker: bool) -> dict[str, Any]:
    from oddtide.config.processes import BackgroundWorker, own_command

    found: dict[str, Any] = {"kafka": composition.bootstrap, "data_folder": str(cli.settings().data_folder)}
    if no_worker:
        return found
    background = BackgroundWorker(composition.folder)
    pid, running = background.start(own_command(*config_arguments(cli), "worker"), wait_s=_READY_S)
    note(f"the worker {'was running already' if running else 'is up'} (process {pid}); its log: {background.log}")
    return {**found, "worker_pid": pid, "log": str(background.log)}


def _wait_for_signal() -> None:
    """Until SIGTERM or Ctrl-C, both of which are a good end."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(1.0):
        pass


@command(
    "down",
    output=True,
    examples=[
        ("oddtide down", "stop the worker in the background, then Kafka; the data stay"),
    ],
)
@pass_cli
def down(cli: Cli) -> None:
    """Stop the worker in the background and the embedded Kafka. What they kept stays."""
    from oddtide.config.processes import BackgroundWorker

    settings = cli.settings()
    worker = BackgroundWorker(settings.data_folder).stop()
    kafka = cli.composition().embedded().stop(note) if settings.embedded_kafka else False
    note(f"worker: {'stopped' if worker else 'none ran'}; Kafka: {'stopped' if kafka else 'none ran'}")
    emit_one({"worker_stopped": worker, "kafka_stopped": kafka}, output=cli.output)
    if settings.embedded_kafka and cli.composition().embedded().status() is not None:
        raise CheckFailedError("The embedded Kafka still runs.", remedy="Look at its logs in the data folder.")
