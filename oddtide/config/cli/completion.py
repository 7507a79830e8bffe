"""``oddtide completion``: the shell's completion script."""

from __future__ import annotations

import rich_click as click

from oddtide.config.cli.help import command

__all__ = ["completion"]


@command(
    "completion",
    examples=[
        ('eval "$(oddtide completion bash)"', "for this shell; put it into ~/.bashrc to keep it"),
        ("oddtide completion zsh > ~/.zfunc/_oddtide", "for zsh, with ~/.zfunc in fpath"),
        ("oddtide completion fish > ~/.config/fish/completions/oddtide.fish", "for fish"),
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL."""
    from click.shell_completion import get_completion_class

    from oddtide.config.cli import cli

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(made(cli, {}, "oddtide", "_ODDTIDE_COMPLETE").source())
