"""What every command gets: where its settings come from and how it prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from oddtide.config.composition import Composition
    from oddtide.config.settings import Loaded, Settings

__all__ = ["Cli", "pass_cli"]


@dataclass
class Cli:
    """One invocation. Settings are read when first asked for, so that ``--help`` reads none."""

    config: Path | None = None
    verbose: bool = False
    output: str = "table"
    _loaded: Loaded | None = None

    def loaded(self) -> Loaded:
        """The settings with where each value came from."""
        if self._loaded is None:
            from oddtide.config.settings import load

            self._loaded = load(self.config)
        return self._loaded

    def settings(self) -> Settings:
        """The settings in force."""
        return self.loaded().settings

    def composition(self) -> Composition:
        """The parts, wired as the settings say."""
        from oddtide.config.composition import Composition
        from oddtide.config.logs import keep_quiet

        keep_quiet()
        return Composition(self.settings())


pass_cli = click.make_pass_decorator(Cli, ensure=True)
