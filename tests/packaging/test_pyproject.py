"""Dependencies are declared with their reason, and the domain's list of forbidden libraries is complete."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tests.packaging.tree import ROOT

#: What the domain may import besides the standard library.
DOMAIN_MAY = {"numpy", "numba", "orjson", "msgspec"}
IMPORT_NAMES = {"faust-streaming": "faust", "mode-streaming": "mode", "kafka-python": "kafka"}


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "pyproject.toml").read_text()


@pytest.fixture(scope="module")
def pyproject(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def test_every_dependency_says_what_it_is_for(text: str, pyproject: dict[str, Any]) -> None:
    declared = [
        *pyproject["project"]["dependencies"],
        *(d for extra in pyproject["project"]["optional-dependencies"].values() for d in extra),
        *(d for group in pyproject["dependency-groups"].values() for d in group),
    ]
    lines = {d: next(line for line in text.splitlines() if f'"{d}"' in line) for d in declared}

    assert [d for d, line in lines.items() if not re.search(r"#\s+\S.*\w", line)] == []


def test_the_domain_may_import_nothing_else_that_is_declared(pyproject: dict[str, Any]) -> None:
    names = {re.split(r"[\[<>=]", d)[0].lower() for d in pyproject["project"]["dependencies"]}
    modules = {IMPORT_NAMES.get(name, name).replace("-", "_") for name in names}
    (contract,) = [c for c in pyproject["tool"]["importlinter"]["contracts"] if c["name"].startswith("domain is pure")]

    assert modules - DOMAIN_MAY - set(contract["forbidden_modules"]) == set()


def test_warnings_are_errors_with_named_exceptions(pyproject: dict[str, Any]) -> None:
    first, *exceptions = pyproject["tool"]["pytest"]["ini_options"]["filterwarnings"]

    assert first == "error"
    assert [e for e in exceptions if len(e.split(":")) < 4 or not e.split(":")[3]] == []


def test_every_extra_that_a_text_names_exists(pyproject: dict[str, Any]) -> None:
    texts = [*(ROOT / "oddtide").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    named = {name for path in texts for name in re.findall(r"oddtide\[(\w+)\]", path.read_text(encoding="utf-8"))}

    assert {"deep", "postgres"} <= named
    assert named <= set(pyproject["project"]["optional-dependencies"])
