"""Wheel and sdist carry the source tree, whole and unchanged, and the wheel works where it is installed."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.packaging.tree import ROOT, project_files


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


def source(*tops: str) -> dict[str, bytes]:
    return {p.as_posix(): (ROOT / p).read_bytes() for p in project_files() if p.parts[0] in tops}


def test_the_wheel_is_the_package_to_the_byte(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {n: archive.read(n) for n in archive.namelist() if ".dist-info/" not in n}

    assert_equal_trees(packed, source("oddtide"))


def test_the_wheel_is_typed_and_brings_its_migrations(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    assert "oddtide/py.typed" in names
    assert [n for n in names if n.startswith("oddtide/adapters/storage/") and "/versions/" in n]


def test_the_sdist_holds_package_tests_and_documentation(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        packed = {
            member.name.partition("/")[2]: extracted.read()
            for member in archive.getmembers()
            if (extracted := archive.extractfile(member)) is not None
        }

    expected = source(
        "oddtide", "tests", "benchmarks", "examples", "docs", "typings", "Makefile", "CHANGELOG.md", "LICENSE",
        "README.md", "pyproject.toml", ".gitignore",
    )  # fmt: skip
    del packed["PKG-INFO"]
    assert_equal_trees(packed, expected)


def test_the_installed_wheel_answers(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own; the libraries are borrowed from this one, so that no network is needed."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    subprocess.run(
        [
            sys.executable, "-m", "pip", "--python", str(python),
            "install", "--quiet", "--no-deps", "--no-index", str(wheel),
        ],
        check=True,
        cwd=tmp_path,
    )  # fmt: skip
    (site,) = home.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    where = run(tmp_path, str(python), "-c", "import oddtide; print(oddtide.__file__)")
    version = run(tmp_path, str(home / "bin" / "oddtide"), "--version")
    usage = run(tmp_path, str(home / "bin" / "oddtide"), "--help")

    assert where.strip() == str(site / "oddtide" / "__init__.py")
    assert wheel.name.split("-")[1] in version
    assert "demo" in usage
    assert "worker" in usage


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_equal_trees(packed: Mapping[str, bytes], expected: Mapping[str, bytes]) -> None:
    assert sorted(packed) == sorted(expected)
    assert [name for name in expected if packed[name] != expected[name]] == []
