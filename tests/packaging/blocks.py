"""The code blocks of the documentation, checked and run.

``python -m tests.packaging.blocks`` runs those that need nothing but this package. A comment above a block says what
becomes of it:

``<!-- run -->``                  run it, compare the output (``...`` stands for anything)
``<!-- run: kafka -->``           the same, in a test that has a Kafka
``<!-- not run: <reason> -->``    shown only

Without a comment ``python`` is run, ``toml`` must be valid settings, and of ``console`` every ``$ oddtide`` command
must exist with the options that it shows. The blocks of a page run in order in one empty folder.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile, groupby
from pathlib import Path

import click

from oddtide.config.cli import cli
from oddtide.config.settings import load
from oddtide.domain.errors import OddtideError
from tests.packaging.tree import ROOT

__all__ = ["KAFKA", "Block", "blocks", "check_page", "pages", "run_page"]

#: The comment above a block that needs a Kafka.
KAFKA = "run: kafka"
#: Python without a comment is run everywhere.
PREPARED = ("python", "")

_FENCE = re.compile(r"^(?:<!-- (?P<mark>.*?) -->\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_TIMEOUT_S = 120
#: How long a command that asks agents may be asked again.
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the comment above it, where it stands."""

    page: str
    line: int
    kind: str
    body: str
    mark: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[tuple[str, str]]:
        """Of a console block: each command and the output shown below it."""
        for part in re.split(r"^\$ ", self.body, flags=re.MULTILINE)[1:]:
            command = re.match(r"(?:.*\\\n)*.*\n?", part)
            assert command is not None
            yield command[0].replace("\\\n", " ").strip(), part[command.end() :]


def pages() -> list[Path]:
    """README and everything under docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, text.count("\n", 0, found.start("kind")) + 1, found["kind"], found["body"], found["mark"] or "")
        for found in _FENCE.finditer(text)
    ]


def check_page(page: Path) -> list[str]:
    """What is wrong with the blocks of a page that need nothing but this package."""
    with tempfile.TemporaryDirectory() as folder:
        return _check_all([block for block in blocks(page) if block.mark in ("", "run")], Path(folder), {})


def run_page(page: Path, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """The same for those that need a Kafka, and those that prepare files for them; in ``folder``."""
    needed = [block for block in blocks(page) if block.mark in (KAFKA, "run") or (block.kind, block.mark) == PREPARED]
    return _check_all(needed, folder, environment)


def _check_all(chosen: Iterable[Block], folder: Path, environment: Mapping[str, str]) -> list[str]:
    return [f"{block.place}: {problem}" for block in chosen for problem in _check(block, folder, environment)]


def _check(block: Block, folder: Path, environment: Mapping[str, str]) -> list[str]:
    if block.kind == "python":
        return _run([sys.executable, "-c", block.body], folder, environment)[0]
    if block.kind == "toml":
        return _settings(block.body, folder)
    if block.kind == "console":
        return _console(block, folder, environment)
    return []


def _console(block: Block, folder: Path, environment: Mapping[str, str]) -> list[str]:
    problems = []
    for command, shown in block.commands():
        problems += _exists(command)
        if block.mark:
            problems += _repeated(command, shown, folder, environment, _PATIENCE_S if block.mark == KAFKA else 0.0)
    return problems


def _repeated(command: str, shown: str, folder: Path, environment: Mapping[str, str], patience_s: float) -> list[str]:
    """Run a command until it shows what the page says. With agents in between, what was asked for comes in a while."""
    deadline = time.monotonic() + patience_s
    while True:
        failed, output = _run(["bash", "-euo", "pipefail", "-c", command], folder, environment)
        problems = failed or _compare(command, shown, output)
        if not problems or failed or time.monotonic() >= deadline:
            return problems


def _compare(command: str, shown: str, output: str) -> list[str]:
    def lines(text: str) -> list[str]:
        return [line.rstrip() for line in text.strip("\n").splitlines()]

    expected = r"\n".join(re.escape(line).replace(r"\.\.\.", ".*?") for line in lines(shown))
    if not shown.strip() or re.fullmatch(expected, "\n".join(lines(output)), re.DOTALL):
        return []
    return [f"`{command}` printed something else:\n{output}"]


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[list[str], str]:
    scripts = sysconfig.get_path("scripts")
    outside = {k: v for k, v in os.environ.items() if not k.startswith("ODDTIDE_")}
    everywhere = {
        **outside, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "120",
        "NO_COLOR": "1", "TERM": "dumb", **environment,
    }  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, env=everywhere, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    failed = [] if done.returncode == 0 else [f"exit code {done.returncode}: {command[-1]}\n{done.stderr}"]
    return failed, done.stdout


def _settings(text: str, folder: Path) -> list[str]:
    path = folder / "checked.toml"
    path.write_text(text)
    try:
        load(path)
    except OddtideError as error:
        return [str(error)]
    finally:
        path.unlink()
    return []


def _exists(line: str) -> list[str]:
    """What is unknown in the ``oddtide`` commands of a line: a command, or an option of one."""
    tokens = shlex.shlex(re.sub(r'"\$\(.*?\)"', "VALUE", line), posix=True, punctuation_chars="|;&<>")
    tokens.whitespace_split = True
    problems = []
    for separated, group in groupby(tokens, lambda token: not set(token) - set("|;&<>")):
        words = list(dropwhile(lambda word: "=" in word and not word.startswith("-"), [] if separated else group))
        if words[:1] == ["oddtide"]:
            problems += _unknown(words[1:])
    return problems


def _unknown(words: list[str]) -> list[str]:
    command: click.Command = cli
    context, path, known = click.Context(cli), ["oddtide"], _options(cli)
    for word in words:
        if re.match(r"--?[a-z]", word):
            if word.partition("=")[0] not in known:
                return [f"`{' '.join(path)}` has no option {word}"]
        elif isinstance(command, click.Group) and word in command.list_commands(context):
            command = _command(command, context, word)
            context = click.Context(command, parent=context)
            path.append(word)
            known |= _options(command)
    if isinstance(command, click.Group) and not {"--help", "--version"} & set(words):
        return [f"`{' '.join(path)}` needs a command, not {' '.join(words)!r}"]
    return []


def _command(group: click.Group, context: click.Context, name: str) -> click.Command:
    found = group.resolve_command(context, [name])[1]
    assert found is not None
    return found


def _options(command: click.Command) -> set[str]:
    options = {o for p in command.get_params(click.Context(command)) for o in [*p.opts, *p.secondary_opts]}
    return {option for option in options if option.startswith("-")}


def main() -> int:
    problems = [problem for page in pages() for problem in check_page(page)]
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
