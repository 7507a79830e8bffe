"""``make`` picks an interpreter that works, or says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.tree import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )  # fmt: skip


def executable(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_help_names_every_target() -> None:
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    shown = make("help").stdout

    assert [t for t in phony.split()[1:] if t not in {"help", "install"} and f"make {t} " not in shown] == []


def test_a_supported_interpreter_makes_the_environment(tmp_path: Path) -> None:
    done = make(f"VENV={tmp_path}/venv", f"PYTHON={sys.executable}", f"{tmp_path}/venv/bin/python")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "venv" / "bin" / "pip").exists()


def test_an_unsupported_interpreter_is_refused_with_the_remedy(tmp_path: Path) -> None:
    old = executable(tmp_path / "python3.9", "exit 1")

    done = make(f"VENV={tmp_path}/venv", f"PYTHON={old}", f"{tmp_path}/venv/bin/python")

    assert done.returncode == 2
    assert "No Python 3.11, 3.12 or 3.13" in done.stderr
    assert "PYTHON=" in done.stderr


def test_a_python_without_ensurepip_is_explained(tmp_path: Path) -> None:
    bare = executable(
        tmp_path / "python3", 'case "$1" in -c) exit 0;; *) echo "No module named venv" >&2; exit 1;; esac'
    )

    done = make(f"VENV={tmp_path}/venv", f"PYTHON={bare}", f"{tmp_path}/venv/bin/python")

    assert done.returncode == 2
    assert "No module named venv" in done.stderr
    assert "apt install python3-venv" in done.stderr
    assert not (tmp_path / "venv").exists()
