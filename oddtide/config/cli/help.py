"""Commands whose help ends with examples, and that take the common options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import rich_click as click

from oddtide.config.cli.options import common_options, output_option

__all__ = ["ExampleCommand", "ExampleGroup", "Examples", "command", "group"]

#: (command line, what it does)
Examples = Sequence[tuple[str, str]]


def _write_examples(examples: Examples, formatter: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    if not examples:
        return
    formatter.write(Text(" Examples"))
    if _widest(examples) <= formatter.console.width:
        grid = Table.grid(padding=(0, 2))
        for line, meaning in examples:
            grid.add_row(Text(f"  {line}", style="bold", no_wrap=True), Text(meaning, style="dim"))
        formatter.write(grid)
    else:  # beside each other they would be cut: one below the other, each command whole
        for line, meaning in examples:
            formatter.write(Text(f"  # {meaning}", style="dim"))
            formatter.write(Text(f"  {line}", style="bold", overflow="fold"))
    formatter.write(Text(""))


def _widest(examples: Examples) -> int:
    """Columns that the examples take side by side."""
    return 2 + max(len(line) for line, _ in examples) + 2 + max(len(meaning) for _, meaning in examples)


class ExampleCommand(click.RichCommand):
    """A command with examples below its help."""

    def __init__(self, *args: Any, examples: Examples = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples."""
        _write_examples(self.examples, formatter)


class ExampleGroup(click.RichGroup):
    """A group with examples below its help."""

    def __init__(self, *args: Any, examples: Examples = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples."""
        _write_examples(self.examples, formatter)


def command(
    name: str,
    *,
    examples: Examples,
    output: bool = False,
    parent: ExampleGroup | None = None,
    config: bool = True,
) -> Callable[[Callable[..., Any]], ExampleCommand]:
    """Make a function a command with examples and the common options, ``--output`` too where asked for; without
    ``config`` the function brings an option of that name itself."""

    def decorate(function: Callable[..., Any]) -> ExampleCommand:
        dressed = common_options(output_option(function) if output else function, config=config)
        made = click.command(name, cls=ExampleCommand, examples=examples)(dressed)
        if parent is not None:
            parent.add_command(made)
        return made

    return decorate


def group(name: str, *, examples: Examples = ()) -> Callable[[Callable[..., Any]], ExampleGroup]:
    """Make a function a group with examples and the common options."""

    def decorate(function: Callable[..., Any]) -> ExampleGroup:
        return click.group(name, cls=ExampleGroup, examples=examples)(common_options(function))

    return decorate
