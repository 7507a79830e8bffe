"""The root group: lazy commands, panels, and the turning of errors into exit codes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import rich_click as click
from click.exceptions import Exit

from oddtide.config.cli.context import Cli
from oddtide.config.cli.errors import report
from oddtide.config.cli.help import ExampleGroup
from oddtide.config.cli.options import common_options

__all__ = ["Entry", "LazyGroup", "root_group"]

_ROOT_HELP = "Event-sourced anomaly detection for streams, on Kafka."
_ROOT_EXAMPLES = (
    ("oddtide demo", "Kafka, a worker and real data in one command"),
    ("oddtide detect readings.csv", "no Kafka: a file in, detections out"),
    ("oddtide up --detach", "Kafka and a worker in the background"),
    ("oddtide produce readings.csv", "push readings"),
    ("oddtide tail detections", "watch what is found"),
)


class Entry(NamedTuple):
    """One line of the table of commands: ``module:attribute``, a summary and a panel."""

    target: str
    summary: str
    panel: str


class LazyGroup(ExampleGroup):
    """A group whose commands are stubs until one is run; then its module is imported."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = dict(entries)
        for name, entry in entries.items():
            stub = click.RichCommand(name=name, help=entry.summary, short_help=entry.summary, panel=entry.panel)
            self.add_command(stub, name, panel=entry.panel)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the table's order."""
        return list(self.entries)

    def load(self, name: str) -> click.Command:
        """The real command ``name``."""
        module, _, attribute = self.entries[name].target.partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.entries[name].target} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of ``args`` and import it."""
        name, stub, rest = super().resolve_command(ctx, args)
        return (name, stub, rest) if name not in self.entries else (name, self.load(name), rest)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error becomes one line on stderr and its exit code."""
        try:
            return super().invoke(ctx)
        except (Exit, click.ClickException):
            raise
        except (Exception, KeyboardInterrupt) as error:
            code = report(error, verbose=ctx.find_root().ensure_object(Cli).verbose)
            raise Exit(code) from None


def root_group(entries: Mapping[str, Entry]) -> LazyGroup:
    """The command ``oddtide`` over a table of commands."""

    @click.command("oddtide", cls=LazyGroup, entries=entries, help=_ROOT_HELP, examples=_ROOT_EXAMPLES)
    @click.version_option(package_name="oddtide", message="%(prog)s %(version)s")
    @common_options
    def oddtide() -> None:
        pass

    assert isinstance(oddtide, LazyGroup)
    return oddtide
