"""The files of the project as a fresh clone would have them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

__all__ = ["ROOT", "project_files", "python_files"]

ROOT = Path(__file__).resolve().parents[2]
_NOT_OURS = {"__pycache__", "build", "dist", "htmlcov"}


def project_files() -> list[Path]:
    """Every file that is tracked or about to be, links included, relative to the root.

    Without git (an unpacked sdist, a machine that has none) hidden folders and build output are left out instead.
    """
    if shutil.which("git") and (ROOT / ".git").exists():
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout.decode()
        names = {Path(name) for name in listing.split("\0") if name}
        return sorted(name for name in names if (ROOT / name).exists())
    return sorted(_walked(ROOT))


def python_files(folder: str) -> list[Path]:
    """The Python modules under ``folder``, relative to the root."""
    return [path for path in project_files() if path.suffix == ".py" and path.parts[0] == folder]


def _walked(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in folder.iterdir():
        hidden = path.name.startswith(".") and path.name not in {".ci", ".gitignore", ".dockerignore"}
        if hidden or path.name in _NOT_OURS or path.name.endswith(".egg-info"):
            continue
        if path.is_dir() and not path.is_symlink():
            found += _walked(path)
        else:
            found.append(path.relative_to(ROOT))
    return found
