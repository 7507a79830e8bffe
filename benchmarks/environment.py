"""The environment of what the project is compared with: packages that are no dependencies of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.kit import note

__all__ = ["rivals_python"]

_PACKAGES = ("quixstreams==3.28.1", "bytewax[kafka]==0.21.1", "orjson", "rrcf==0.4.4")


def rivals_python() -> str:
    """The interpreter of the rivals' environment (``.venv-rivals``), made where missing or of other packages."""
    folder = Path(__file__).parents[1] / ".venv-rivals"
    python, holds = folder / "bin" / "python", folder / ".complete"
    if not holds.exists() or holds.read_text() != "\n".join(_PACKAGES):
        note(f"making {folder} for Quix Streams, Bytewax and rrcf")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_PACKAGES], check=True
        )
        holds.write_text("\n".join(_PACKAGES))
    return str(python)
