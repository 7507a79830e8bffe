"""The shape of the repository: links, sizes, and what no file may say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.packaging.tree import ROOT, project_files, python_files

LINKS = ("streams", "domain", "adapters", "config")
LONGEST = 320
#: A kernel and what it is compiled of lie in one file: numba's cache looks at no other (statistics/kernels.py).
LONG_FOR_A_REASON = {
    "oddtide/streams/codecs/json_scan.py",
    "oddtide/domain/detection/count_laws.py",
    "oddtide/domain/detection/mahalanobis_space.py",
    "oddtide/domain/detection/past_scores.py",
    "oddtide/domain/detection/random_cut_trees.py",
    "oddtide/domain/detection/seasonal_profile.py",
    "oddtide/domain/detection/spot_tail.py",
}

#: Built from pieces, so that this file passes its own test.
_REGISTRIES = ("pypi.@org", "pythonhosted.@org", "repo1.@maven", "repo.maven.@apache", "npmjs.@org", "--index@-url")
_HOMES = ("wo@rk", "ro@ot", "ho@me", "Us@ers")
FORBIDDEN = {
    "a package registry's address": re.compile("|".join(re.escape(name.replace("@", "")) for name in _REGISTRIES)),
    "a path of somebody's machine": re.compile(rf"(?<![\w.<{{-])/(?:{'|'.join(_HOMES).replace('@', '')})/\w"),
}
EXCUSES = re.compile(r"#\s*(noqa|type: ignore|pragma: no cover|pragma: no branch|fmt: off)\b(?P<rest>.*)$")


@pytest.mark.parametrize("name", LINKS)
def test_a_root_link_shows_the_package_of_its_name(name: str) -> None:
    link = ROOT / name

    assert link.is_symlink()
    assert link.readlink() == Path("oddtide") / name
    assert (link / "__init__.py").is_file()


def test_the_package_is_marked_as_typed() -> None:
    assert (ROOT / "oddtide" / "py.typed").is_file()


def test_files_stay_small() -> None:
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in python_files("oddtide")}

    assert {str(path) for path, lines in lengths.items() if lines > LONGEST} == LONG_FOR_A_REASON


def test_every_package_opens_with_prose() -> None:
    bare = [
        str(folder)
        for folder in sorted({path.parent for path in python_files("oddtide")})
        if "migrations" not in folder.parts and not documented(ROOT / folder / "__init__.py")
    ]

    assert bare == []


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    found = [
        f"{path}: {match.group()}"
        for path in project_files()
        if not (ROOT / path).is_symlink() and (match := FORBIDDEN[what].search(text_of(path)))
    ]

    assert found == []


def test_every_exception_to_a_rule_says_why() -> None:
    """A comment that switches a rule off names the rule and goes on with the reason, or stands under it."""
    silent = [
        f"{path}:{number}: {line.strip()}"
        for folder in ("oddtide", "tests", "benchmarks", "examples")
        for path in python_files(folder)
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if (match := EXCUSES.search(line)) and not reasoned(match)
    ]

    assert silent == []


def reasoned(match: re.Match[str]) -> bool:
    rest = re.sub(r"^\s*(\[[\w, -]+\]|:\s*[A-Z]+[0-9]+(\s*,\s*[A-Z]+[0-9]+)*)", "", match["rest"])
    return bool(re.search(r"[A-Za-z]{2,}", rest))


def documented(module: Path) -> bool:
    return module.is_file() and bool(ast.get_docstring(ast.parse(module.read_text())))


def text_of(path: Path) -> str:
    return (ROOT / path).read_bytes().decode("utf-8", "replace")
