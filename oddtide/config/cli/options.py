"""Options that every command takes, wherever on the line a person writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from oddtide.config.cli.context import Cli

__all__ = ["common_options", "output_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.find_root().ensure_object(Cli), name, value)

    return keep


def common_options(command: _Command, *, config: bool = True) -> _Command:
    """``--config`` and ``--verbose``; read through the :class:`Cli` that ``pass_cli`` hands over. Without ``config``
    the command has an option of that name that means something else."""
    command = click.option(
        "--verbose", is_flag=True, expose_value=False, callback=_keep("verbose"), help="Show the traceback of an error."
    )(command)
    if not config:
        return command
    return click.option(
        "--config", metavar="FILE", type=click.Path(path_type=Path), expose_value=False, callback=_keep("config"),
        help="The settings file (default: oddtide.toml here, or $ODDTIDE_CONFIG).",
    )(command)  # fmt: skip


def output_option(command: _Command) -> _Command:
    """``--output table|json|jsonl``, kept in ``Cli.output``."""
    return click.option(
        "--output", type=click.Choice(["table", "json", "jsonl"]), expose_value=False, callback=_keep("output"),
        help="For people (table), as one JSON document, or one JSON object a line.  [default: table]",
    )(command)  # fmt: skip
